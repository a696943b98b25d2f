"""A learning rate that falls as half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gradlab.core.checks import integer, number, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.learning.schedules._base import AbstractSchedule, registry


@registry.register
@dataclass(frozen=True)
class Cosine(AbstractSchedule):
    """Half a cosine from the learning rate down to `floor` times it, over the run or `span` updates.

    Parameters
    ----------
    floor : float
        What is left at the end, as a share of the learning rate; at least 0 and below 1.
    span : int, optional
        Updates the fall takes, at least those of the run; default: those of the run.

    References
    ----------
    Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, without restarts.
    """

    name: ClassVar[str] = "cosine"
    depends_on_length: ClassVar[bool] = True

    floor: float = 0.0
    span: int | None = None

    def __post_init__(self) -> None:
        together(
            lambda: number("floor", self.floor, at_least=0, below=1),
            lambda: self.span is None or integer("span", self.span, at_least=1),
        )

    def factor(self, update: int, updates: int) -> float:
        """Return ``floor + (1 - floor) * (1 + cos(pi * update / span)) / 2``."""
        share = update / (updates if self.span is None else self.span)
        return self.floor + (1.0 - self.floor) * (1.0 + math.cos(math.pi * share)) / 2.0

    def check_updates(self, updates: int, where: str) -> None:
        """Raise UserMistake if the span is over before the run: the cosine would rise again."""
        if self.span is not None and self.span < updates:
            hint = f"Leave span out, or make at most {self.span} updates."
            expected = f"at least the {updates} updates of the run"
            raise UserMistake(Problem(f"{where}.span", expected, shown(self.span), hint))
        super().check_updates(updates, where)
