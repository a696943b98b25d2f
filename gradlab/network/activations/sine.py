"""Sine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class Sine(AbstractActivation):
    """``phi(z) = sin z``: bounded, yet it never saturates. It has no value at infinity (NaN).

    References
    ----------
    Sitzmann, Martel, Bergman, Lindell and Wetzstein (2020), Implicit neural representations with
    periodic activation functions.
    """

    name: ClassVar[str] = "sine"
    bounded: ClassVar[bool] = True
    analytic: ClassVar[bool] = True

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, at multiples of pi."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return ``sin z``."""
        return np.sin(z)

    def derivative(self, z: Array) -> Array:
        """Return ``cos z``."""
        return np.cos(z)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One sine, one cosine."""
        np.sin(z, out=value)
        np.cos(z, out=derivative)
