"""A learning rate that falls as the inverse of the number of updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.core.checks import number
from gradlab.learning.schedules._base import AbstractSchedule, registry


@registry.register
@dataclass(frozen=True)
class InverseTime(AbstractSchedule):
    """``rate / (1 + update / half_life)``: half the rate after `half_life` updates, a third after two.

    The sum of the rates is infinite and that of their squares is not, which is what gradient descent
    needs to converge under noise (Robbins and Monro 1951).

    Parameters
    ----------
    half_life : float
        Updates after which the learning rate is halved, above 0.
    """

    name: ClassVar[str] = "inverse_time"

    half_life: float

    def __post_init__(self) -> None:
        number("half_life", self.half_life, above=0)

    def factor(self, update: int, updates: int) -> float:
        """Return ``1 / (1 + update / half_life)``."""
        return 1.0 / (1.0 + update / self.half_life)
