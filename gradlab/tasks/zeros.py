"""No input at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Zeros(AbstractTask):
    """Inputs are zero at every time step: the network runs on its biases alone."""

    name: ClassVar[str] = "zeros"

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return zeros."""
        return np.zeros((stop - start, self.features, self.batch))
