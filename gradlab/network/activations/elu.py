"""Exponential linear unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class Elu(AbstractActivation):
    """``phi(z) = z`` above 0 and ``alpha (exp(z) - 1)`` below; the derivative at 0 is `alpha`.

    Parameters
    ----------
    alpha : float, optional
        Minus the value at minus infinity, at least 0. Default 1, the only smooth choice.

    References
    ----------
    Clevert, Unterthiner and Hochreiter (2016), Fast and accurate deep network learning by
    exponential linear units.
    """

    alpha: float = 1.0

    name: ClassVar[str] = "elu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", number("alpha", self.alpha, at_least=0.0))

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: max(1, alpha)."""
        return max(1.0, self.alpha)

    def value(self, z: Array) -> Array:
        """Return `z` above 0, ``alpha expm1(z)`` below."""
        return self.alpha * np.expm1(np.minimum(z, 0.0)) + np.maximum(z, 0.0)

    def derivative(self, z: Array) -> Array:
        """Return 1 above 0, else ``alpha exp(z)``."""
        return np.where(z > 0, z.dtype.type(1.0), self.alpha * np.exp(np.minimum(z, 0.0)))

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. The branches are summed: nothing is selected where alpha is 1."""
        low = np.minimum(z, 0.0)
        linear = None if self.alpha == 1.0 else z > 0
        np.maximum(z, 0.0, out=derivative)
        np.expm1(low, out=value)
        if linear is not None:
            np.multiply(value, self.alpha, out=value)
        np.add(value, derivative, out=value)
        np.exp(low, out=derivative)  # exactly 1 above 0
        if linear is not None:
            np.multiply(derivative, self.alpha, out=derivative)
            np.copyto(derivative, 1.0, where=linear)
