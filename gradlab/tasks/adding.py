"""The adding problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.tasks._base import Array, registry
from gradlab.tasks._marks import TOLERANCE, AbstractMarked


@registry.register
@dataclass(frozen=True, kw_only=True)
class Adding(AbstractMarked):
    """Add the two marked ones among many random numbers.

    Losses of different variants are not comparable.

    Parameters
    ----------
    variant : str
        "hochreiter": numbers of [-1, 1], one of the first ten steps marked and one of the first T/2 - 1
        others, -1 as the marker of the first and the last step, lengths of T to T + T/10, target
        0.5 + (X1 + X2) / 4, where whichever of the two is on the first step counts as 0. "unit": numbers
        of [0, 1], one mark in each half, length T, target the sum. "mean": numbers of [0, 1], lengths
        of [T, 1.1 T), marks in [0, 0.1 T) and [0.1 T, 0.5 T), rounded down, target the
        mean.
    length : int
        The protocol's T.

    References
    ----------
    Hochreiter & Schmidhuber (1997), Long short-term memory; Le, Jaitly & Hinton (2015), A simple way to
    initialize recurrent networks of rectified linear units; Arjovsky, Shah & Bengio (2016), Unitary
    evolution recurrent neural networks; Pascanu, Mikolov & Bengio (2013), On the difficulty of training
    recurrent neural networks.
    """

    name: ClassVar[str] = "adding"

    def span(self) -> tuple[float, float]:
        """Return the bounds of the numbers."""
        return (-1.0, 1.0) if self.variant == "hochreiter" else (0.0, 1.0)

    def answer(self, one: Array, other: Array, first_step: Array) -> Array:
        """Return the target; a number on the first step counts as 0."""
        total = np.where(first_step[0], 0.0, one) + np.where(first_step[1], 0.0, other)
        if self.variant == "hochreiter":
            return np.asarray(0.5 + total / 4)
        return np.asarray(total if self.variant == "unit" else total / 2)

    def chance(self) -> float:
        """Return the target's variance.

        For "hochreiter" the first step's mark takes a little off the 1/24 that is often told.
        """
        if self.variant == "hochreiter":
            return (2 - self.first_step_share()) / 48
        return 1 / 6 if self.variant == "unit" else 1 / 24

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of wrong answers of the best constant, which is the target's mean."""
        hidden = self.first_step_share()
        scale = {"hochreiter": 4.0, "unit": 1.0, "mean": 2.0}[self.variant]
        within, width = TOLERANCE * scale, self.span()[1] - self.span()[0]
        # sum of two uniform numbers: a triangle; of one alone: a rectangle
        both = 1 - (1 - within / width) ** 2
        return {"constant": 1 - (1 - hidden) * both - hidden * 2 * within / width}
