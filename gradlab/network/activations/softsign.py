"""Softsign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class Softsign(AbstractActivation):
    """``phi(z) = z/(1 + |z|)``, ``phi'(z) = 1/(1 + |z|)^2``: saturates like a power, not exponentially.

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.
    """

    name: ClassVar[str] = "softsign"
    bounded: ClassVar[bool] = True
    analytic: ClassVar[bool] = False

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, at 0."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return ``z/(1 + |z|)``, and its limit at infinity."""
        largest = np.finfo(z.dtype).max  # infinity is taken for it: its quotient is 1 as well
        finite = np.clip(z, -largest, largest)
        value: Array = finite / (1.0 + np.abs(finite))
        return value

    def derivative(self, z: Array) -> Array:
        """Return ``1/(1 + |z|)^2``."""
        return (1.0 / (1.0 + np.abs(z))) ** 2

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One quotient for both."""
        shrink = np.abs(z)
        np.add(shrink, 1.0, out=shrink)
        if not shrink.max(initial=0.0) < np.inf:
            super().evaluate(z, value, derivative)
            return
        np.divide(z, shrink, out=value)
        np.divide(1.0, shrink, out=shrink)
        np.multiply(shrink, shrink, out=derivative)
