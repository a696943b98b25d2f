"""Clip the gradient of every unit's weights relative to those weights (adaptive gradient clipping)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.core.scaled import ldexp, log2_of
from gradlab.learning.clipping._base import NOTHING, AbstractClip, Array, Given, registry
from gradlab.learning.scaled_gradient import ScaledGradient, scaled_squares


@registry.register
@dataclass(frozen=True)
class Unitwise(AbstractClip):
    """``g_i *= c max(|w_i|, floor) / |g_i|`` for every unit whose ``|g_i|`` is larger than that bound.

    ``w_i`` are all weights that a pre-activation is made with, its bias included: a row of ``[W U b]``, of
    ``[V b]`` or of an embedding table; a parameter that multiplies elementwise stands by itself. For
    cells that tie or mask weights ``W`` is the matrix of the parameters.

    Parameters
    ----------
    threshold : float
        Largest norm `c` of a unit's gradient, in units of the norm of its weights; above 0.
    floor : float
        Norm that weights count with at least, so that those which start at zero can grow; above 0.

    References
    ----------
    Brock, De, Smith and Simonyan (2021), High-performance large-scale image recognition without
    normalization, section 4.1; there biases stand by themselves.
    """

    name: ClassVar[str] = "unitwise"
    scope: ClassVar[Literal["parameters"]] = "parameters"
    bounds: ClassVar[str] = "gradient norm of every unit"
    keeps_direction: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("weights",)

    threshold: float
    floor: float = 1e-3

    def __post_init__(self) -> None:
        hint = 'To switch clipping off use name = "off".'
        together(
            lambda: number("threshold", self.threshold, above=0, hint=hint),
            lambda: number("floor", self.floor, above=0),
        )

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the gradient with the rows shortened that are too long for their weights."""
        assert given.weights is not None, "the rule needs the weights"
        blocks = zip(gradient.blocks(), given.weights, strict=True)
        clipped = [self._clip_rows(*block, weights) for block, weights in blocks]
        if all(block is None for block in clipped):
            return gradient
        return ScaledGradient.of(own or same for own, same in zip(clipped, gradient.blocks(), strict=True))

    def _clip_rows(self, mantissa: Array, exponent: Array, weights: Array) -> tuple[Array, Array] | None:
        """Return a block with its rows shortened and its powers of two; None if no row was too long.

        What is left of a case's block is as large as its bounds are, so that it takes their power of two.
        """
        own = log2_row_norms(mantissa, exponent)
        bound = np.log2(self.threshold) + np.maximum(
            log2_row_norms(weights, np.zeros_like(exponent)), np.log2(self.floor)
        )
        log2_factor = np.where(own > bound, bound - np.where(own > bound, own, 0.0), 0.0)
        changed = log2_factor.any(axis=1)
        if not changed.any():
            return None
        top = np.ceil((own + log2_factor).max(axis=1, initial=-np.inf, where=np.isfinite(own)))
        power = np.where(changed, np.where(changed, top, 0.0).astype(exponent.dtype), exponent)
        whole = np.floor(log2_factor)
        fraction = np.exp2(log2_factor - whole).astype(mantissa.dtype)
        shift = whole.astype(np.int64) + (exponent - power)[:, None]
        return ldexp(mantissa * fraction[..., None], shift[..., None]), power


def log2_row_norms(mantissa: Array, exponent: Array) -> Array:
    """Return log2 of the norm of every row of (case, rows, columns), whatever its size; -inf for zero.

    The same bits however a number is divided between mantissa and power of two, (case,).
    """
    cases, rows, columns = mantissa.shape
    flat = mantissa.reshape(cases * rows, columns, 1)
    return log2_of(*scaled_squares(flat, np.repeat(exponent, rows))).reshape(cases, rows)
