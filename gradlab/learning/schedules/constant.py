"""A learning rate that stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.learning.schedules._base import AbstractSchedule, registry


@registry.register
@dataclass(frozen=True)
class Constant(AbstractSchedule):
    """The same learning rate at every update."""

    name: ClassVar[str] = "constant"

    def factor(self, update: int, updates: int) -> float:
        """Return 1."""
        return 1.0
