"""The logistic function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry
from gradlab.network.activations._exponential import exponential


@registry.register
@dataclass(frozen=True)
class Logistic(AbstractActivation):
    """``phi(z) = 1/(1 + exp(-z))``, ``phi'(z) = e/(1 + e)^2`` with ``e = exp(-|z|)``.

    The derivative is even and is right at both ends, where ``phi (1 - phi)`` is 0 beyond z = 37.

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long short-term memory, equation 3.
    """

    name: ClassVar[str] = "logistic"
    bounded: ClassVar[bool] = True
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1/4, at 0."""
        return 0.25

    def value(self, z: Array) -> Array:
        """Return ``1/(1 + exp(-z))``, without overflow at either end."""
        positive = z.real > 0
        e = np.exp(np.where(positive, -z, z))
        return np.where(positive, 1.0, e) / (1.0 + e)

    def derivative(self, z: Array) -> Array:
        """Return ``e/(1 + e)^2`` with ``e = exp(-|z|)``."""
        e = np.exp(-np.abs(z))
        return e / (1.0 + e) ** 2

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. With e = exp(z): q = e/(1+e) and q' = q/(1+e)."""
        _, total, far, beyond = exponential(z, value)
        np.divide(value, total, out=derivative)
        if far is not None:
            value[far], derivative[far] = 1.0, np.exp(-beyond)

    def gate(self, z: Array, value: Array, complement: Array, derivative: Array) -> None:
        """Write value, ``1 - value`` and derivative, all with full relative precision; see `evaluate`.

        ``1 - q = 1/(1+e)`` does not cancel where the gate is open.
        """
        _, total, far, beyond = exponential(z, value)
        np.divide(1.0, total, out=complement)
        if far is not None:
            value[far], complement[far] = 1.0, np.exp(-beyond)
        np.multiply(value, complement, out=derivative)
