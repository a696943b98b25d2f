"""The contract of a learning-rate schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import Registry


class AbstractSchedule(ABC):
    """A factor of the learning rate for every update.

    Claims: `depends_on_length` says that the factors of a run of more updates do not begin with those
    of a shorter one.
    """

    name: ClassVar[str]
    depends_on_length: ClassVar[bool] = False

    @abstractmethod
    def factor(self, update: int, updates: int) -> float:
        """Return what multiplies the learning rate: 1 at update 0, never negative.

        Parameters
        ----------
        update : int
            The number of the update, from 0.
        updates : int
            How many the run has.
        """

    def check_updates(self, updates: int, where: str) -> None:
        """Raise UserMistake if the schedule is at zero before a run of `updates` ends."""
        if not self.factor(updates - 1, updates) > 0:
            dead = self._first_zero(updates)
            raise UserMistake(
                Problem(
                    where,
                    f"a schedule that lasts for all {updates} updates",
                    f"{self.name!r}, whose learning rate is zero from update {dead} on",
                    "Let the rate fall more slowly, or make fewer updates.",
                )
            )

    def _first_zero(self, updates: int) -> int:
        """Return the first update whose factor is zero, where the last one's is; factors only fall."""
        low, high = 0, updates - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.factor(middle, updates) == 0 else (middle + 1, high)
        return low


registry: Registry[AbstractSchedule] = Registry("schedule", "gradlab.learning.schedules")
