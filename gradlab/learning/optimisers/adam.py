"""Adam: momentum over a running root mean square, both corrected for their start at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.learning.optimisers._base import (
    AbstractOptimiser,
    Array,
    accumulate,
    accumulate_square,
    registry,
)


@registry.register
@dataclass(frozen=True)
class Adam(AbstractOptimiser):
    """``p -= rate * (m / (1 - beta1^k)) / (sqrt(s / (1 - beta2^k)) + epsilon)`` at the k-th update.

    ``m = beta1 * m + (1 - beta1) * g`` and ``s = beta2 * s + (1 - beta2) * g^2``, from zero.

    Parameters
    ----------
    rate : float
        Learning rate, above 0.
    beta1, beta2 : float
        Shares of the last mean and of the last mean square that are kept, at least 0 and below 1.
    epsilon : float
        Added to the root mean square, above 0.

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization, algorithm 1.
    """

    name: ClassVar[str] = "adam"
    slots: ClassVar[tuple[str, ...]] = ("mean", "mean_square")
    scale_free: ClassVar[bool] = True

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        together(
            super().__post_init__,
            lambda: number("beta1", self.beta1, at_least=0, below=1),
            lambda: number("beta2", self.beta2, at_least=0, below=1),
            lambda: number("epsilon", self.epsilon, above=0),
        )

    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Advance both averages and write their corrected quotient."""
        mean, mean_square = slots
        accumulate(mean, gradient, self.beta1, out)
        accumulate_square(mean_square, gradient, self.beta2, out)
        np.sqrt(mean_square, out=out)
        np.divide(out, math.sqrt(1.0 - self.beta2 ** (update + 1)), out=out)
        np.add(out, self.epsilon, out=out)
        np.divide(mean, out, out=out)
        np.divide(out, 1.0 - self.beta1 ** (update + 1), out=out)
