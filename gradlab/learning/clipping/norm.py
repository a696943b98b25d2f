"""Clip the parameter gradient by its joint norm (Pascanu, Mikolov and Bengio 2013, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.learning.clipping._base import NOTHING, AbstractClip, Given, registry, shortened
from gradlab.learning.scaled_gradient import ScaledGradient


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

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the gradient scaled down to the threshold where it is longer."""
        return shortened(gradient, np.minimum(np.log2(self.threshold) - gradient.log2_norm(), 0.0))
