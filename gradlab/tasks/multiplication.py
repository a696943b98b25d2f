"""The multiplication problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.tasks._base import Array, registry
from gradlab.tasks._marks import TOLERANCE, AbstractMarked


@registry.register
@dataclass(frozen=True, kw_only=True)
class Multiplication(AbstractMarked):
    """Multiply the two marked ones among many random numbers of [0, 1].

    Parameters
    ----------
    variant : str
        Where marks are and how long sequences, as in `adding`: "hochreiter" (a marked number on the first
        step counts as 1), "unit" or "mean". The target is the product in each.
    length : int
        The protocol's T.

    References
    ----------
    Hochreiter & Schmidhuber (1997), Long short-term memory.
    """

    name: ClassVar[str] = "multiplication"

    def span(self) -> tuple[float, float]:
        """Return the bounds of the numbers."""
        return 0.0, 1.0

    def answer(self, one: Array, other: Array, first_step: Array) -> Array:
        """Return the product; a number on the first step counts as 1."""
        return np.asarray(np.where(first_step[0], 1.0, one) * np.where(first_step[1], 1.0, other))

    def chance(self) -> float:
        """Return the target's variance."""
        hidden = self.first_step_share()  # then the product is one uniform number
        mean, square = (1 - hidden) / 4 + hidden / 2, (1 - hidden) / 9 + hidden / 3
        return square - mean**2

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of wrong answers of the constant that is right most often.

        Small products are the most frequent ones, so it is the smallest number for which all that is below
        it counts as right; a product of two uniform numbers is below z with probability z - z ln z.
        """
        hidden, within = self.first_step_share(), 2 * TOLERANCE
        return {"constant": 1 - (1 - hidden) * (within - within * math.log(within)) - hidden * within}
