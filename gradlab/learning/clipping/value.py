"""Clip every entry of the parameter gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.core.scaled import ldexp
from gradlab.learning.clipping._base import NOTHING, AbstractClip, Array, Given, registry
from gradlab.learning.scaled_gradient import ScaledGradient


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

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the gradient with its entries bounded.

        A large gradient is brought to exponent 0 first: what overflows there is above every
        threshold. A small one stays scaled, where the threshold may become infinite. The result
        carries the threshold's own power of two, so that its squares stay in range as well.
        """

        def clipped(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
            peak = np.abs(mantissa).max(axis=(1, 2)).astype(np.float64)
            large = np.maximum(exponent, 0)
            with np.errstate(over="ignore", under="ignore"):
                bound = np.ldexp(self.threshold, large - exponent)
                over = np.ldexp(peak, large) > bound
                if not over.any():
                    return mantissa, exponent
                power = np.where(over, np.frexp(bound)[1], 0)
                bound = np.where(over, bound, np.inf)[:, None, None]
                entries = ldexp(mantissa.astype(np.float64), np.where(over, large, 0)[:, None, None])
                entries = ldexp(np.clip(entries, -bound, bound), -power[:, None, None])
            return entries.astype(mantissa.dtype), exponent - np.where(over, large, 0) + power

        return gradient.map(clipped)
