"""Sigmoid-weighted linear unit (swish)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.scratch import scratch
from gradlab.network.activations._base import AbstractActivation, Array, registry
from gradlab.network.activations._exponential import exponential


@registry.register
@dataclass(frozen=True)
class Silu(AbstractActivation):
    """``phi(z) = z s(z)`` with the logistic s; ``phi'(z) = s(z) (1 + z s(-z))``.

    The derivative is largest where ``z tanh(z/2) = 2``, at z = 2.3993572805..., and there equals
    ``1/2 + z/4``; it crosses 0 at z = -1.278.

    References
    ----------
    Elfwing, Uchibe and Doya (2018), Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning.
    """

    name: ClassVar[str] = "silu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1.0998..., at z = 2.399...."""
        return 0.5 + 2.3993572805154677 / 4.0

    def value(self, z: Array) -> Array:
        """Return ``z s(z)``, without overflow at either end."""
        positive = z.real > 0
        e = np.exp(np.where(positive, -z, z))
        return z * (np.where(positive, 1.0, e) / (1.0 + e))

    def derivative(self, z: Array) -> Array:
        """Return ``s(z) (1 + z s(-z))``."""
        e = np.exp(-np.abs(z))
        one = z.dtype.type(1.0)
        s, complement = np.where(z > 0, one, e) / (1.0 + e), np.where(z > 0, e, one) / (1.0 + e)
        return s * (1.0 + z * complement)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One exponential for both: s(-z) = 1/(1+e)."""
        s = scratch("share", z.shape, z.dtype)
        _, total, far, beyond = exponential(z, s)
        np.multiply(z, s, out=value)
        np.divide(z, total, out=derivative)
        np.add(derivative, 1.0, out=derivative)
        np.multiply(derivative, s, out=derivative)
        if far is not None:
            value[far], derivative[far] = beyond, 1.0
