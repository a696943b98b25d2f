"""Clip every entry of the parameter gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.learning.clipping._base import AbstractClip, registry
from gradlab.learning.gradient import ScaledGradient


@registry.register
@dataclass(frozen=True)
class Value(AbstractClip):
    """Each entry of the gradient to ``[-c, c]`` (Mikolov 2012); the direction may change.

    Parameters
    ----------
    threshold : float
        Largest absolute entry `c`, above 0.
    """

    name: ClassVar[str] = "value"
    scope: ClassVar[Literal["parameters"]] = "parameters"
    bounds: ClassVar[str] = "gradient entries"
    keeps_direction: ClassVar[bool] = False

    threshold: float

    def __post_init__(self) -> None:
        number("threshold", self.threshold, above=0, hint='To switch clipping off use name = "off".')

    def clip_gradient(self, gradient: ScaledGradient) -> ScaledGradient:
        """Return the gradient with its entries bounded.

        A large gradient is brought to exponent 0 first: what overflows there is above every
        threshold. A small one stays scaled, where the threshold may become infinite.
        """

        def clipped(mantissa: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with np.errstate(over="ignore", under="ignore"):
                large = np.maximum(exponent, 0)
                bound = np.ldexp(self.threshold, large - exponent).astype(mantissa.dtype)[:, None, None]
                entries = np.ldexp(mantissa, large[:, None, None]) if large.any() else mantissa
            return np.clip(entries, -bound, bound), exponent - large

        return gradient.map(clipped)
