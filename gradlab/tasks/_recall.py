"""Symbols are shown, then blanks; then the symbols are to be told again."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np

from gradlab.tasks._base import Array
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified, wrong_classes


@dataclass(frozen=True, kw_only=True)
class AbstractRecall(AbstractClassified):
    """One-hot symbols, a blank and a marker in; a class for each symbol and the blank out.

    The loss looks at every step; weighted by 1 / steps it is the mean over them.
    """

    at: str | tuple[int, ...] = field(init=False, default="every")

    @abstractmethod
    def shown(self) -> tuple[int, int]:
        """Return how many symbols are shown, and of how many kinds."""

    @abstractmethod
    def marker(self) -> int:
        """Return the time step of the marker."""

    def sizes(self) -> tuple[int, int]:
        """Return symbols, blank and marker in; symbols and blank out."""
        kinds = self.shown()[1]
        return kinds + 2, kinds + 1

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return sequences with the symbols at their beginning, and classes with them at the end."""
        count, kinds = self.shown()
        symbols = stream.randint(kinds, size=(count, samples))
        seen = np.full((self.steps, samples), kinds)
        seen[:count], seen[self.marker()] = symbols, kinds + 1
        classes = np.full((self.steps, samples), kinds)
        classes[-count:] = symbols
        weight = np.full((self.steps, samples), 1 / self.steps)
        return Examples(np.eye(kinds + 2)[seen].transpose(0, 2, 1), classes, weight)

    def chance(self) -> float:
        """Return the mean loss of one who knows when to answer, and nothing of what was shown."""
        count, kinds = self.shown()
        return count * math.log(kinds) / self.steps

    def wrong(self, outputs: Array, examples: Examples) -> Array:
        """Return which of the symbols to be told again are wrong, (symbol, case, batch)."""
        count = self.shown()[0]
        return wrong_classes(outputs[-count:], examples.targets[-count:])
