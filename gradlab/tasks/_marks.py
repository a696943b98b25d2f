"""Sequences of numbers two of which are marked: what adding and multiplication share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import one_of
from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import Array
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractGenerator, counted_sum

VARIANTS = ("hochreiter", "unit", "mean")
SHORTEST = {"hochreiter": 22, "unit": 2, "mean": 10}  # so that there is a place for every mark
TOLERANCE = 0.04  # of an answer that counts as right


@dataclass(frozen=True, kw_only=True)
class AbstractMarked(AbstractGenerator):
    """Two features a time step, a number and a marker; the answer is due at a sequence's own last step.

    What the variants share is told at the task `adding`.
    """

    learnt: ClassVar[str] = "mse"
    metric: ClassVar[str] = "error_rate"
    criterion: ClassVar[str] = "fewer than 1 % of the sequences wrong, that is off by 0.04 or more"

    outputs: int | None = field(init=False, default=1)
    loss: str = "mse"
    variant: str = "hochreiter"

    def check(self) -> None:
        """Check the variant and that all its marks find a place."""
        one_of("variant", self.variant, VARIANTS, 'the name of a variant, "hochreiter", "unit" or "mean"')
        shortest = SHORTEST[self.variant]
        if self.length < shortest:
            expected = f"an integer of at least {shortest} for the variant {self.variant!r}"
            hint = "The protocol has no place for its marks in a shorter sequence."
            raise UserMistake(Problem("length", expected, str(self.length), hint))

    def sizes(self) -> tuple[int, int]:
        """Return two features, a number and a marker, and one output."""
        return 2, 1

    @property
    def steps(self) -> int:
        """The longest sequence's length."""
        if self.variant == "hochreiter":
            return self.length + self.length // 10
        return self.length if self.variant == "unit" else -(-11 * self.length // 10) - 1

    def looks(self) -> range | tuple[int, ...]:
        """Return where sequences end, the shortest first."""
        return range(self.length - 1, self.steps)

    @abstractmethod
    def span(self) -> tuple[float, float]:
        """Return between which bounds numbers are drawn."""

    @abstractmethod
    def answer(self, one: Array, other: Array, first_step: Array) -> Array:
        """Return what marked numbers make; `first_step` (2, batch) says which mark is on the first step."""

    def first_step_share(self) -> float:
        """Return the probability that a mark is on the first step and thus hidden by its -1."""
        return 0.1 + 0.9 / (self.length // 2 - 1) if self.variant == "hochreiter" else 0.0

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return sequences with two marks each."""
        steps, everyone = self.steps, np.arange(samples)
        ends = stream.randint(self.length, steps + 1, size=samples) - 1
        values = stream.uniform(*self.span(), size=(steps, samples))
        places = self._places(stream, samples)
        inputs = np.zeros((steps, 2, samples))
        inputs[:, 0] = np.where(np.arange(steps)[:, None] <= ends, values, 0.0)
        inputs[places, 1, everyone] = 1.0
        hidden = np.zeros((2, samples), dtype=bool)
        if self.variant == "hochreiter":
            hidden = places == 0
            inputs[0, 1] = inputs[ends, 1, everyone] = -1.0
        targets, weight = np.zeros((steps, 1, samples)), np.zeros((steps, samples))
        one, other = values[places, everyone]
        targets[ends, 0, everyone] = self.answer(one, other, hidden)
        weight[ends, everyone] = 1.0
        return Examples(inputs, targets, weight)

    def _places(self, stream: np.random.RandomState, samples: int) -> NDArray[np.int64]:
        """Return the marked time steps, shape (2, samples)."""
        length = self.length
        if self.variant == "hochreiter":
            first = stream.randint(10, size=samples)
            second = stream.randint(length // 2 - 1, size=samples)
            return np.stack([first, second + (second >= first)])  # among those still unmarked
        middle, last = (length // 2, length) if self.variant == "unit" else (length // 10, length // 2)
        return np.stack([stream.randint(middle, size=samples), stream.randint(middle, last, size=samples)])

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return how many answers are off by 0.04 or more; see the base class."""
        targets, counted = examples.looked_at(self.looks())
        wrong = ~(np.abs(outputs[:, :, 0] - targets[:, None, 0]) < TOLERANCE)  # NaN is wrong, too
        return counted_sum(wrong, counted)
