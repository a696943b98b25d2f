"""A learning rate that falls in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.core.checks import integer, number
from gradlab.core.gaps import together
from gradlab.learning.schedules._base import AbstractSchedule, registry


@registry.register
@dataclass(frozen=True)
class Step(AbstractSchedule):
    """The learning rate times `decay` after every so many updates.

    Parameters
    ----------
    every : int
        Updates from one step to the next, at least 1.
    decay : float
        Factor of each step, above 0 and below 1.
    """

    name: ClassVar[str] = "step"

    every: int
    decay: float = 0.1

    def __post_init__(self) -> None:
        together(
            lambda: integer("every", self.every, at_least=1),
            lambda: number("decay", self.decay, above=0, below=1),
        )

    def factor(self, update: int, updates: int) -> float:
        """Return ``decay ** (update // every)``."""
        return float(self.decay ** (update // self.every))
