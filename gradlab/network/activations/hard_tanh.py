"""Hard hyperbolic tangent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class HardTanh(AbstractActivation):
    """``phi(z)`` is z clipped to [-1, 1]; the derivative is 1 inside and 0 at and beyond the ends.

    References
    ----------
    Collobert (2004), Large scale machine learning, doctoral thesis.
    """

    name: ClassVar[str] = "hard_tanh"
    bounded: ClassVar[bool] = True
    analytic: ClassVar[bool] = False

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, inside (-1, 1)."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return `z` clipped to [-1, 1]."""
        return np.clip(z, -1.0, 1.0)

    def derivative(self, z: Array) -> Array:
        """Return 1 where ``|z| < 1``, else 0."""
        return (np.abs(z) < 1.0).astype(z.dtype)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One clip and one comparison."""
        np.clip(z, -1.0, 1.0, out=value)
        np.abs(z, out=derivative)
        np.copyto(derivative, derivative < 1.0)
