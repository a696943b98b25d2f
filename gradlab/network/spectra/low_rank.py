"""Low-rank matrices, plus noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradlab.core.checks import integer, number
from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry


@registry.register
@dataclass(frozen=True)
class LowRank(AbstractSpectrum):
    """``W = gain (A B^T/sqrt(rank) + noise G)/sqrt(size (1 + noise^2))``, with A, B, G standard normal.

    The entries have standard deviation gain/sqrt(size) whatever the rank and the noise.

    Parameters
    ----------
    rank : int, optional
        Columns of A and of B, at least 1 and at most the size. Default 1.
    noise : float, optional
        Entry standard deviation of the full-rank part relative to the low-rank one, at least 0.
        Default 0.1.

    References
    ----------
    Mastrogiuseppe and Ostojic (2018), Linking connectivity, dynamics, and computations in low-rank
    recurrent neural networks.
    """

    rank: int = 1
    noise: float = 0.1

    name: ClassVar[str] = "low_rank"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "All three fix the one scale of the entries."
    checks: ClassVar[Mapping[str, Check]] = {
        "rank": partial(integer, at_least=1),
        "noise": partial(number, at_least=0.0),
    }

    def check_size(self, size: int) -> None:
        """Raise UserMistake if the rank exceeds the size."""
        integer("rank", self.rank, at_most=size, hint=f"There are {size} hidden units.")

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return the sum of both parts, entries of variance 1/size."""
        left, right = stream.standard_normal((2, size, self.rank))
        full = stream.standard_normal((size, size))
        low = left @ right.T / np.sqrt(self.rank)
        return np.asarray((low + self.noise * full) / np.sqrt(size * (1.0 + self.noise**2)))
