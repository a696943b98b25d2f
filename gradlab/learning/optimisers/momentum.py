"""Gradient descent with momentum (the heavy ball)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.learning.optimisers._base import AbstractOptimiser, Array, registry


@registry.register
@dataclass(frozen=True)
class Momentum(AbstractOptimiser):
    """``v = momentum * v + g; p -= rate * v``.

    Not to be confused with the form that keeps ``rate * v``: under a schedule the two differ.

    Parameters
    ----------
    rate : float
        Learning rate, above 0.
    momentum : float
        Share of the last step that is kept, at least 0 and below 1; at 0 it is gradient descent.

    References
    ----------
    Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """

    name: ClassVar[str] = "momentum"
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    rate: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        together(super().__post_init__, lambda: number("momentum", self.momentum, at_least=0, below=1))

    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Advance the velocity and write it."""
        (velocity,) = slots
        np.multiply(velocity, self.momentum, out=velocity)
        np.add(velocity, gradient, out=velocity)
        np.copyto(out, velocity)
