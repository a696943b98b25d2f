"""Initialisers of input weights, biases and readout weights: one file each; `registry` knows them by name."""

from gradlab.network.initialisers._base import AbstractInitialiser, registry

__all__ = ["AbstractInitialiser", "registry"]
