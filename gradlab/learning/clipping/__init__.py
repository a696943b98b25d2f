"""Clip rules: one file each; `registry` knows them by name."""

from gradlab.learning.clipping._base import AbstractClip, registry

__all__ = ["AbstractClip", "registry"]
