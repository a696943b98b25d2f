"""No input, and a level at which the output is to stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Level(AbstractTask):
    """Inputs are zero; every target value is one and the same number.

    With one unit, ``x_t = w s(x_{t-1}) + b`` and a level of 0.7, its error surface has the walls of
    Pascanu, Mikolov and Bengio (2013), section 2.3.

    Parameters
    ----------
    level : float
        The target of every output.
    """

    name: ClassVar[str] = "level"

    features: int = 1
    batch: int = 1
    level: float = 0.7

    def __post_init__(self) -> None:
        together(lambda: number("level", self.level), super().__post_init__)

    def chance(self) -> float:
        """Return 0: whoever knows the level needs no input."""
        return 0.0 if self.loss == "mse" else super().chance()

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return zeros."""
        return np.zeros((stop - start, self.features, self.batch))

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the level."""
        return np.full((stop - start, self.n_outputs, self.batch), self.level)
