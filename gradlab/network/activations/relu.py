"""Rectified linear unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class Relu(AbstractActivation):
    """``phi(z) = max(z, 0)``; the derivative at 0 is 0.

    References
    ----------
    Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of rectified linear
    units.
    """

    name: ClassVar[str] = "relu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = False

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, above 0."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return ``max(z, 0)``; NaN stays NaN."""
        return np.maximum(z, 0.0)

    def derivative(self, z: Array) -> Array:
        """Return 1 above 0, else 0."""
        return (z > 0).astype(z.dtype)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One maximum and one comparison."""
        np.maximum(z, 0.0, out=value)
        np.copyto(derivative, z > 0)
