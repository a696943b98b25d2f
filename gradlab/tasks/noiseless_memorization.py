"""The noiseless memorization problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import integer
from gradlab.core.gaps import together
from gradlab.tasks._base import Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._recall import AbstractRecall


@registry.register
@dataclass(frozen=True, kw_only=True)
class NoiselessMemorization(AbstractRecall):
    """Symbols, then blanks; from the marker on, all symbols are to be told in their order.

    A sequence is right only if all of its symbols are.

    Parameters
    ----------
    n_pos, n_values : int
        How many symbols are shown, and of how many kinds.
    length : int
        How many blanks follow; there are ``length + 2 n_pos`` time steps.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks.
    """

    name: ClassVar[str] = "noiseless_memorization"
    criterion: ClassVar[str] = "fewer than 1 % of the sequences wrong"

    n_pos: int = 5
    n_values: int = 2

    def check(self) -> None:
        """Check the numbers of symbols and of their kinds."""
        together(
            lambda: integer("n_pos", self.n_pos, at_least=1),
            lambda: integer("n_values", self.n_values, at_least=2),
        )

    @property
    def steps(self) -> int:
        """Symbols, blanks, and as many steps as symbols to tell them."""
        return self.length + 2 * self.n_pos

    def shown(self) -> tuple[int, int]:
        """Return how many symbols are shown, and of how many kinds."""
        return self.n_pos, self.n_values

    def marker(self) -> int:
        """Return the first step of the answer."""
        return self.length + self.n_pos

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of sequences a guess gets wrong."""
        return {"constant": 1 - float(self.n_values) ** -self.n_pos}

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return how many sequences are not told right to the last symbol; see the base class."""
        wrong = self.wrong(outputs, examples).any(axis=0)
        return wrong.sum(axis=-1, dtype=np.float64), wrong.shape[-1]
