"""Gradient descent on minibatches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.learning.optimisers._base import AbstractOptimiser, Array, registry


@registry.register
@dataclass(frozen=True)
class Sgd(AbstractOptimiser):
    """``p -= rate * g``.

    Parameters
    ----------
    rate : float
        Learning rate, above 0.

    References
    ----------
    Robbins and Monro (1951), A stochastic approximation method.
    """

    name: ClassVar[str] = "sgd"
    slots: ClassVar[tuple[str, ...]] = ()

    rate: float

    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Write the gradient."""
        np.copyto(out, gradient)

    def update(
        self,
        parameter: Array,
        gradient: Array,
        slots: Sequence[Array],
        rate: Array | float,
        update: int,
        scratch: Array | None = None,
    ) -> None:
        """Change a parameter in place; as `AbstractOptimiser.update`, without a copy of the gradient."""
        np.subtract(parameter, np.multiply(gradient, rate, out=scratch), out=parameter)
