"""The random permutation problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified

SYMBOLS = 100


@registry.register
@dataclass(frozen=True, kw_only=True)
class RandomPermutation(AbstractClassified):
    """Repeat at the end the first of a hundred symbols, which was 0 or 1; all between are distractors 2..99.

    Parameters
    ----------
    length : int
        How many symbols are shown; the answer is due with the last.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks.
    """

    name: ClassVar[str] = "random_permutation"
    criterion: ClassVar[str] = "fewer than 1 % of the sequences wrong"

    def check(self) -> None:
        """Check that there is something to remember the symbol over."""
        if self.length < 2:
            raise UserMistake(Problem("length", "an integer of at least 2", str(self.length)))

    def sizes(self) -> tuple[int, int]:
        """Return a hundred symbols in, a hundred out."""
        return SYMBOLS, SYMBOLS

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return sequences of symbols and the first of each as the last's class."""
        symbols = stream.randint(2, SYMBOLS, size=(self.length, samples))
        symbols[0] = stream.randint(2, size=samples)
        classes = np.zeros((self.length, samples), dtype=np.int64)
        classes[-1] = symbols[0]
        return Examples(np.eye(SYMBOLS)[symbols].transpose(0, 2, 1), classes)

    def chance(self) -> float:
        """Return log 2: it is one of two."""
        return math.log(2)

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of wrong answers of one who always says 0."""
        return {"constant": 0.5}
