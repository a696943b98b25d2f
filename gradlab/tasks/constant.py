"""The same input at every time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Constant(AbstractTask):
    """Every feature of every sample has one value at every time step.

    Parameters
    ----------
    value : float
        That value.
    """

    name: ClassVar[str] = "constant"

    value: float = 1.0

    def __post_init__(self) -> None:
        together(lambda: number("value", self.value), super().__post_init__)

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the constant."""
        return np.full((stop - start, self.features, self.batch), self.value)
