"""Gaussian error linear unit, exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry

SPLITTER = 2.0**27 + 1.0  # Veltkamp's constant: cuts a double into two halves whose squares are exact
VANISHED = 40.0  # exp(-z^2/2) is 0 in double precision from here on


def _normal(z: Array) -> tuple[Array, Array]:
    """Return cumulative distribution and density of the standard normal at real `z`, in float64.

    Both keep their relative precision in the tails: ``exp(-z^2/2)`` is taken with the square split
    into an exact part and a small rest, and ``erfcx`` is ``erfc`` without that factor.
    """
    from scipy.special import erfcx  # imported late: only this entry needs SciPy

    x = np.minimum(np.abs(z, dtype=np.float64), VANISHED)
    head = SPLITTER * x
    head -= head - x
    bell = np.exp(-0.5 * head * head) * np.exp(-0.5 * (x - head) * (x + head))
    tail = 0.5 * bell * erfcx(x * math.sqrt(0.5))
    return np.where(z < 0, tail, 1.0 - tail), bell * (1.0 / math.sqrt(2.0 * math.pi))


@registry.register
@dataclass(frozen=True)
class Gelu(AbstractActivation):
    """``phi(z) = z P(z)``, ``phi'(z) = P(z) + z p(z)`` with the standard normal distribution P and density p.

    The derivative is largest at ``z = sqrt(2)`` and crosses 0 at z = -0.7518.

    References
    ----------
    Hendrycks and Gimpel (2016), Gaussian error linear units. The exact form, with erf.
    """

    name: ClassVar[str] = "gelu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1.1289..., at ``sqrt(2)``."""
        return 0.5 * (1.0 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi)

    def value(self, z: Array) -> Array:
        """Return ``z P(z)``; complex `z` by the complex error function."""
        if np.iscomplexobj(z):
            from scipy.special import erfc

            return np.asarray(0.5 * z * erfc(-z * math.sqrt(0.5)))
        value: Array = (z * _normal(z)[0]).astype(z.dtype)
        return value

    def derivative(self, z: Array) -> Array:
        """Return ``P(z) + z p(z)``."""
        cumulative, density = _normal(z)
        slope: Array = (cumulative + z * density).astype(z.dtype)
        return slope

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One scaled complementary error function for both."""
        cumulative, density = _normal(z)
        np.multiply(z, cumulative, out=value, casting="same_kind")
        density *= z
        np.add(cumulative, density, out=derivative, casting="same_kind")
