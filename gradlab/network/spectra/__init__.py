"""Spectra: families of recurrent weight matrices, one file each; `registry` knows them by name."""

from gradlab.network.spectra._base import AbstractSpectrum, Drawn, registry

__all__ = ["AbstractSpectrum", "Drawn", "registry"]
