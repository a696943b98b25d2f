"""Losses: one file each; `registry` knows them by name."""

from gradlab.tasks.losses._base import AbstractLoss, registry

__all__ = ["AbstractLoss", "registry"]
