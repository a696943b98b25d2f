"""Tasks: inputs, targets and where the loss looks; one file each, `registry` knows them by name."""

from gradlab.tasks._base import AbstractTask, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractGenerator

__all__ = ["AbstractGenerator", "AbstractTask", "Examples", "registry"]
