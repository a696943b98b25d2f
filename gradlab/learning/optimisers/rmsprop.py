"""Steps divided by a running root mean square of the gradient (RMSProp)."""

from __future__ import annotations

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
class Rmsprop(AbstractOptimiser):
    """``s = alpha * s + (1 - alpha) * g^2; p -= rate * g / (sqrt(s) + epsilon)``.

    Centred, ``s - m^2`` stands for ``s``, with ``m`` the running mean of the gradient; it is taken as
    zero where rounding makes it negative, which is at gradients that do not change. With momentum,
    ``v = momentum * v + g / (sqrt(s) + epsilon); p -= rate * v``.

    Parameters
    ----------
    rate : float
        Learning rate, above 0.
    alpha : float
        Share of the last mean square that is kept, at least 0 and below 1.
    epsilon : float
        Added to the root mean square, above 0.
    momentum : float
        Share of the last step that is kept, at least 0 and below 1.
    centered : bool
        Divide by the standard deviation of the gradient in place of its root mean square.

    References
    ----------
    Tieleman and Hinton (2012), Neural networks for machine learning, lecture 6.5. Graves (2013),
    Generating sequences with recurrent neural networks, for the centred form.
    """

    name: ClassVar[str] = "rmsprop"
    slots: ClassVar[tuple[str, ...]] = ("mean_square", "mean", "velocity")
    scale_free: ClassVar[bool] = True

    rate: float
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        together(
            super().__post_init__,
            lambda: number("alpha", self.alpha, at_least=0, below=1),
            lambda: number("epsilon", self.epsilon, above=0),
            lambda: number("momentum", self.momentum, at_least=0, below=1),
        )

    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Advance the averages and write the scaled gradient, or the velocity made of it."""
        mean_square, mean, velocity = slots
        accumulate_square(mean_square, gradient, self.alpha, out)
        if self.centered:
            accumulate(mean, gradient, self.alpha, out)
            np.multiply(mean, mean, out=out)
            np.subtract(mean_square, out, out=out)
            np.maximum(out, 0.0, out=out)
            np.sqrt(out, out=out)
        else:
            np.sqrt(mean_square, out=out)
        np.add(out, self.epsilon, out=out)
        np.divide(gradient, out, out=out)
        if self.momentum:
            np.multiply(velocity, self.momentum, out=velocity)
            np.add(velocity, out, out=velocity)
            np.copyto(out, velocity)
