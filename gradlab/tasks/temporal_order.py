"""The temporal order problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified

WINDOWS = {2: (1, 5), 3: (1, 3, 6)}  # where the tenths of the length begin that hold a symbol that counts


@registry.register
@dataclass(frozen=True, kw_only=True)
class TemporalOrder(AbstractClassified):
    """Tell in which order symbols A and B came, among distractors, when the sequence ends.

    Six symbols, one-hot: A, B, and four distractors. With two bits a symbol of {A, B} stands at a random
    place of [0.1 L, 0.2 L) and another one of [0.5 L, 0.6 L); with three bits in the tenths that begin at
    0.1 L, 0.3 L and 0.6 L, all rounded down. The answer is one of 4 or 8 classes.

    Parameters
    ----------
    bits : int
        How many symbols count, 2 or 3.
    length : int
        The sequence's length L.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks, as its
    authors ran it; Hochreiter & Schmidhuber (1997), Long short-term memory.
    """

    name: ClassVar[str] = "temporal_order"
    criterion: ClassVar[str] = "fewer than 1 % of the sequences wrong"

    bits: int = 2

    def check(self) -> None:
        """Check the number of symbols that count and that each has a place."""
        together(self._check_bits, self._check_length)

    def _check_bits(self) -> None:
        if self.bits not in WINDOWS or isinstance(self.bits, bool):
            raise UserMistake(Problem("bits", "2 or 3", shown(self.bits)))

    def _check_length(self) -> None:
        if self.length < 10:
            hint = "A tenth of the length holds a symbol that counts."
            raise UserMistake(Problem("length", "an integer of at least 10", str(self.length), hint))

    def sizes(self) -> tuple[int, int]:
        """Return six symbols and a class for each order."""
        return 6, 2**self.bits

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return sequences of symbols and the order of those that count."""
        everyone = np.arange(samples)
        symbols = stream.randint(2, 6, size=(self.length, samples))
        classes = np.zeros((self.length, samples), dtype=np.int64)
        for tenth in WINDOWS[self.bits]:
            place = stream.randint(tenth * self.length // 10, (tenth + 1) * self.length // 10, size=samples)
            which = stream.randint(2, size=samples)
            symbols[place, everyone] = which
            classes[-1] = 2 * classes[-1] + which
        return Examples(np.eye(6)[symbols].transpose(0, 2, 1), classes)

    def chance(self) -> float:
        """Return the logarithm of the number of classes."""
        return self.bits * math.log(2)

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of wrong answers of a guess."""
        return {"constant": 1 - 0.5**self.bits}
