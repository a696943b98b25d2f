"""Leaky rectified linear unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class LeakyRelu(AbstractActivation):
    """``phi(z) = z`` above 0 and ``slope z`` below; the derivative at 0 is `slope`.

    Parameters
    ----------
    slope : float, optional
        The derivative below 0, at least 0. Default 0.01.

    References
    ----------
    Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic models.
    """

    slope: float = 0.01

    name: ClassVar[str] = "leaky_relu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", number("slope", self.slope, at_least=0.0))

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: max(1, slope)."""
        return max(1.0, self.slope)

    def value(self, z: Array) -> Array:
        """Return `z` above 0, ``slope z`` below."""
        return z * self.derivative(z)

    def derivative(self, z: Array) -> Array:
        """Return 1 above 0, else `slope`."""
        slopes = np.full_like(z, self.slope)
        np.copyto(slopes, 1.0, where=z > 0)
        return slopes

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. The derivative is also the factor of the value."""
        slopes = np.array([self.slope, 1.0], dtype=z.dtype).take((z > 0).view(np.int8), mode="clip")
        np.multiply(z, slopes, out=value)
        np.copyto(derivative, slopes)
