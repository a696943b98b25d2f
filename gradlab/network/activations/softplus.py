"""Softplus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.scratch import scratch
from gradlab.network.activations._base import AbstractActivation, Array, registry
from gradlab.network.activations._exponential import exponential


def _log1p(e: Array) -> Array:
    """Return ``log(1 + e)`` without cancellation; NumPy's complex version cancels in the real part."""
    if not np.iscomplexobj(e):
        return np.log1p(e)
    real = 0.5 * np.log1p(e.real * (2.0 + e.real) + e.imag**2)
    result: Array = real + 1j * np.arctan2(e.imag, 1.0 + e.real)
    return result


@registry.register
@dataclass(frozen=True)
class Softplus(AbstractActivation):
    """``phi(z) = log(1 + exp(z))``, ``phi'(z)`` the logistic function.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia (2001), Incorporating second-order functional
    knowledge for better option pricing.
    """

    name: ClassVar[str] = "softplus"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, in the limit of large arguments."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return ``max(z, 0) + log1p(exp(-|z|))``."""
        positive = z.real > 0
        e = np.exp(np.where(positive, -z, z))
        return np.where(positive, z, 0.0) + _log1p(e)

    def derivative(self, z: Array) -> Array:
        """Return the logistic function, without overflow at either end."""
        e = np.exp(-np.abs(z))
        return np.where(z > 0, z.dtype.type(1.0), e) / (1.0 + e)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One exponential for both."""
        s = scratch("share", z.shape, z.dtype)
        e, _, far, beyond = exponential(z, s)
        np.log1p(e, out=value)
        np.copyto(derivative, s)
        if far is not None:
            value[far], derivative[far] = beyond, 1.0
