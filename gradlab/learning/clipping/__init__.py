"""Clip rules: one file each; `registry` knows them by name."""

from gradlab.learning.clipping._base import NOTHING, AbstractClip, Given, registry

__all__ = ["NOTHING", "AbstractClip", "Given", "registry"]
