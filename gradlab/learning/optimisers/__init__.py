"""Optimisers: one file each; `registry` knows them by name."""

from gradlab.learning.optimisers._base import AbstractOptimiser, registry

__all__ = ["AbstractOptimiser", "registry"]
