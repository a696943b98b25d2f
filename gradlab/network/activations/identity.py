"""The identity: a linear network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class Identity(AbstractActivation):
    """``phi(z) = z``: the linear network, whose Jacobians are powers of the recurrent matrix.

    References
    ----------
    Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks.
    """

    name: ClassVar[str] = "identity"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1 everywhere."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return `z` itself (a copy)."""
        return z.copy()

    def derivative(self, z: Array) -> Array:
        """Return ones."""
        return np.ones_like(z)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. Copy, and fill with ones."""
        np.copyto(value, z)
        derivative.fill(1.0)
