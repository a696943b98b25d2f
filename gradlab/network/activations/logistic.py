"""The logistic function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.scratch import scratch
from gradlab.network.activations._base import AbstractActivation, Array, exp_limit, registry


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
        """Write both; see the base class. One exponential for both."""
        limit = exp_limit(z)
        if z.max(initial=0.0) <= limit:
            self._within(z, value, derivative)
            return
        far = z > limit
        complement = np.exp(-z[far])
        self._within(np.minimum(z, limit), value, derivative)
        value[far] = 1.0 - complement
        derivative[far] = complement

    def _within(self, z: Array, value: Array, derivative: Array) -> None:
        """Evaluate where ``exp(z)`` is finite: with e = exp(z), q = e/(1+e) and q' = q/(1+e)."""
        e = np.exp(z, out=scratch("exponential", z.shape, z.dtype))
        np.add(e, 1.0, out=derivative)
        np.divide(e, derivative, out=value)
        np.divide(value, derivative, out=derivative)

    def gate(self, z: Array, value: Array, complement: Array, derivative: Array) -> None:
        """Write value, ``1 - value`` and derivative, all with full relative precision; see `evaluate`.

        ``1 - q = 1/(1+e)`` does not cancel where the gate is open.
        """
        limit = exp_limit(z)
        if z.max(initial=0.0) <= limit:
            self._gate_within(z, value, complement, derivative)
            return
        far = z > limit
        rest = np.exp(-z[far])
        self._gate_within(np.minimum(z, limit), value, complement, derivative)
        value[far], complement[far], derivative[far] = 1.0, rest, rest

    def _gate_within(self, z: Array, value: Array, complement: Array, derivative: Array) -> None:
        """Write all three where ``exp(z)`` is finite."""
        e = np.exp(z, out=scratch("exponential", z.shape, z.dtype))
        np.add(e, 1.0, out=derivative)
        np.divide(e, derivative, out=value)
        np.divide(1.0, derivative, out=complement)
        np.multiply(value, complement, out=derivative)
