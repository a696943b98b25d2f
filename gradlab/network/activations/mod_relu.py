"""Rectified linear unit of the modulus, for real arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.activations._base import AbstractActivation, Array, registry


@registry.register
@dataclass(frozen=True)
class ModRelu(AbstractActivation):
    """``phi(z) = sign(z) max(|z| + bias, 0)``, bias at most 0: the sign stays, the modulus shrinks.

    The derivative is 1 where ``|z| > -bias``, and 0 elsewhere. For real numbers it is soft shrinkage.

    Parameters
    ----------
    bias : float, optional
        What is added to the modulus, at most 0: above, the value would jump at 0. Default -1/8, which
        either precision has exactly.

    References
    ----------
    Arjovsky, Shah and Bengio (2016), Unitary evolution recurrent neural networks.
    """

    bias: float = -0.125

    name: ClassVar[str] = "mod_relu"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", number("bias", self.bias, at_most=0.0))

    @property
    def derivative_bound(self) -> float:
        """Supremum of the derivative: 1, where the modulus exceeds ``-bias``."""
        return 1.0

    def value(self, z: Array) -> Array:
        """Return `z` moved towards 0 by ``-bias``, and 0 where it is nearer than that."""
        return z - np.clip(z, self.bias, -self.bias)  # type: ignore[no-any-return]  # clip is declared to return anything

    def derivative(self, z: Array) -> Array:
        """Return 1 where ``|z| > -bias``, else 0."""
        return (np.abs(z) > -self.bias).astype(z.dtype)

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write both; see the base class. One clip, one difference and one comparison."""
        np.clip(z, self.bias, -self.bias, out=value)
        np.subtract(z, value, out=value)
        np.abs(z, out=derivative)
        np.copyto(derivative, derivative > -self.bias)
