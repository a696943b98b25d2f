"""Hyperbolic tangent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.indices import indices_of
from gradlab.core.scratch import scratch
from gradlab.network.activations._base import AbstractActivation, Array, registry

# Where 1 - tanh^2 falls below this, the subtraction has cancelled six bits: sech^2 is taken from z.
CANCELLED = 1.0 / 64.0


def _sech_squared(z: Array) -> Array:
    """Return ``1/cosh(z)^2 = 4 e/(1 + e)^2`` with ``e = exp(-2|z|)``, which neither cancels nor overflows."""
    e = np.abs(z)
    e *= -2.0
    np.exp(e, out=e)
    below = np.square(e + 1.0)
    e *= 4.0
    e /= below
    return np.asarray(e)


@registry.register
@dataclass(frozen=True)
class Tanh(AbstractActivation):
    """``phi(z) = tanh z``, ``phi'(z) = sech(z)^2``.

    ``1 - tanh(z)^2`` is exactly 0 at z = 20, where the truth is 1.7e-17: it is used only where it
    is good to some sixty units in the last place (1.4e-14).

    References
    ----------
    LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp, section 4.4.
    """

    name: ClassVar[str] = "tanh"
    bounded: ClassVar[bool] = True
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, at 0."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return ``tanh z``."""
        return np.tanh(z)

    def derivative(self, z: Array) -> Array:
        """Return ``sech(z)^2`` from `z`."""
        return _sech_squared(z)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. ``1 - value^2``, and ``sech(z)^2`` only where that cancels."""
        np.tanh(z, out=value)
        square = np.multiply(value, value, out=scratch("square", z.shape, z.dtype))
        mask = np.greater(square, 1.0 - CANCELLED, out=scratch("saturated", z.shape, np.bool_))
        saturated = indices_of(mask.reshape(-1))
        exact = _sech_squared(z.take(saturated)) if saturated.size else None
        np.subtract(1.0, square, out=derivative)
        if exact is None:
            return
        if derivative.flags.c_contiguous:
            derivative.reshape(-1)[saturated] = exact
        else:
            derivative.put(saturated, exact)
