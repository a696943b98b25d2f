"""Activations: one file each; `registry` knows them by name."""

from gradlab.network.activations._base import AbstractActivation, registry

__all__ = ["AbstractActivation", "registry"]
