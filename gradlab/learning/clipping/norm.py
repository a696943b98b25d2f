"""Clip the parameter gradient by its joint norm (Pascanu, Mikolov and Bengio 2013, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.learning.clipping._base import AbstractClip, Array, registry
from gradlab.learning.gradient import ScaledGradient


@registry.register
@dataclass(frozen=True)
class Norm(AbstractClip):
    """``g *= c / |g|`` where ``|g| > c``; the norm runs over all parameters jointly.

    Parameters
    ----------
    threshold : float
        Largest norm `c` of the clipped gradient, above 0.
    """

    name: ClassVar[str] = "norm"
    scope: ClassVar[Literal["parameters"]] = "parameters"
    bounds: ClassVar[str] = "gradient norm"
    keeps_direction: ClassVar[bool] = True

    threshold: float

    def __post_init__(self) -> None:
        number("threshold", self.threshold, above=0, hint='To switch clipping off use name = "off".')

    def clip_gradient(self, gradient: ScaledGradient) -> ScaledGradient:
        """Return the gradient scaled down to the threshold where it is longer."""
        log2_factor = np.minimum(np.log2(self.threshold) - gradient.log2_norm(), 0.0)
        whole = np.floor(log2_factor)
        fraction = np.exp2(log2_factor - whole)

        def scaled(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
            factor = fraction.astype(mantissa.dtype)[:, None, None]
            return mantissa * factor, exponent + whole.astype(exponent.dtype)

        return gradient if not log2_factor.any() else gradient.map(scaled)
