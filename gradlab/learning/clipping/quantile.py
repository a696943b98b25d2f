"""Clip the norm of the gradient to a percentile of those it has had (AutoClip)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import integer, number
from gradlab.core.gaps import together
from gradlab.learning.clipping._base import NOTHING, AbstractClip, Array, Given, registry, shortened
from gradlab.learning.scaled_gradient import ScaledGradient


@registry.register
@dataclass(frozen=True)
class Quantile(AbstractClip):
    """``g *= c / |g|`` where ``|g| > c``, with ``c`` a percentile of all norms so far, this one included.

    Between two norms the percentile is interpolated linearly. The norms that count are those before
    clipping. At the first update, and so in a probe, the only norm is the gradient's own and nothing
    is clipped.

    Parameters
    ----------
    percentile : float
        Which percentile, above 0 and at most 100; at 100 nothing is ever clipped.
    window : int, optional
        How many of the latest norms count, this one included; default: all.

    References
    ----------
    Seetharaman, Wichern, Pardo and Le Roux (2020), AutoClip: adaptive gradient clipping for source
    separation networks.
    """

    name: ClassVar[str] = "quantile"
    scope: ClassVar[Literal["parameters"]] = "parameters"
    bounds: ClassVar[str] = "gradient norm"
    keeps_direction: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("history",)

    percentile: float = 10.0
    window: int | None = None

    def __post_init__(self) -> None:
        hint = "With a window of 1 the only norm is the gradient's own."
        together(
            lambda: number("percentile", self.percentile, above=0, at_most=100),
            lambda: self.window is None or integer("window", self.window, at_least=2, hint=hint),
        )

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the gradient scaled down to the percentile where it is longer."""
        assert given.history is not None, "the rule needs the history"
        own = gradient.log2_norm()
        history = given.history if self.window is None else given.history[:, -(self.window - 1) :]
        if not history.shape[1]:
            return gradient
        bound = log2_percentile(np.concatenate([history, own[:, None]], axis=1), self.percentile)
        longer = own > bound
        return shortened(gradient, np.where(longer, bound - np.where(longer, own, 0.0), 0.0))


def log2_percentile(log2_norms: Array, percentile: float) -> Array:
    """Return log2 of a percentile of norms, interpolated linearly between neighbours, shape (case,).

    Parameters
    ----------
    log2_norms : array of shape (case, norms)
        log2 of the norms; -inf for zero.
    percentile : float
        From 0 to 100.
    """
    place = percentile / 100.0 * (log2_norms.shape[1] - 1)
    low = int(np.floor(place))
    high, share = min(low + 1, log2_norms.shape[1] - 1), place - np.floor(place)
    ordered = np.partition(log2_norms, (low, high), axis=1)
    a, b = ordered[:, low], ordered[:, high]
    if share == 0:
        return np.asarray(a)
    # (1 - share) 2^a + share 2^b with a <= b, whatever their size.
    finite = np.isfinite(b)
    ratio = np.exp2(np.where(finite, a, 0.0) - np.where(finite, b, 0.0))
    return np.asarray(np.where(finite, b + np.log2((1.0 - share) * ratio + share), a))
