"""Cells: one file of elementwise algebra each; `registry` knows them by name."""

from gradlab.network.cells._base import AbstractCell, registry

__all__ = ["AbstractCell", "registry"]
