"""Tasks: inputs, targets and where the loss looks; one file each, `registry` knows them by name."""

from gradlab.tasks._base import AbstractTask, registry

__all__ = ["AbstractTask", "registry"]
