"""A parameter gradient far outside the range of floating point: mantissas with a power of two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import ldexp, log2_total, window

Array = NDArray[Any]


@dataclass(frozen=True)
class ScaledGradient:
    """Gradients of a stack of cases, ``mantissa * 2 ** exponent``, by parameter block.

    Parameters
    ----------
    mantissas : tuple of arrays of shape (case, rows, columns)
        One for each parameter block.
    exponents : tuple of integer arrays of shape (case,)
        The power of two of each block.
    """

    mantissas: tuple[Array, ...]
    exponents: tuple[Array, ...]

    @classmethod
    def of(cls, blocks: Iterable[tuple[Array, Array]]) -> ScaledGradient:
        """Return the gradient of these blocks, each a mantissa with its power of two."""
        pairs = list(blocks)
        return cls(tuple(m for m, _ in pairs), tuple(e for _, e in pairs))

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """Return the blocks, each a mantissa with its power of two."""
        return zip(self.mantissas, self.exponents, strict=True)

    def map(self, change: Callable[[Array, Array], tuple[Array, Array]]) -> ScaledGradient:
        """Return the gradient with `change(mantissa, exponent)` applied to every block."""
        return ScaledGradient.of(change(*block) for block in self.blocks())

    def times(self, factor: float) -> ScaledGradient:
        """Return the gradient times a moderate number."""
        return self.map(lambda m, e: (m * m.dtype.type(factor), e))

    def plus(self, other: ScaledGradient) -> ScaledGradient:
        """Return the sum of two gradients by the same parameters."""
        both = zip(self.blocks(), other.blocks(), strict=True)
        return ScaledGradient.of(_sum(*own, *its) for own, its in both)

    def log2_norm(self) -> Array:
        """Return log2 of the joint Frobenius norm, shape (case,); -inf for a zero gradient."""
        parts = [scaled_squares(*block) for block in self.blocks()]
        return log2_total(np.stack([p[0] for p in parts], axis=-1), np.stack([p[1] for p in parts], axis=-1))

    def values(self) -> tuple[Array, ...]:
        """Return the gradients as plain arrays; out of range they become 0 or inf."""
        with np.errstate(over="ignore", under="ignore"):
            return tuple(ldexp(m, e[:, None, None]) for m, e in self.blocks())


def _sum(a: Array, power_a: Array, b: Array, power_b: Array) -> tuple[Array, Array]:
    """Return ``a * 2 ** power_a + b * 2 ** power_b``; a zero summand leaves the other as it is."""
    none_a, none_b = ~a.any(axis=(1, 2)), ~b.any(axis=(1, 2))
    top = np.where(none_a, power_b, np.where(none_b, power_a, np.maximum(power_a, power_b)))
    with np.errstate(under="ignore"):
        first = ldexp(a, np.where(none_a, 0, power_a - top)[:, None, None])
        second = ldexp(b, np.where(none_b, 0, power_b - top)[:, None, None])
    return first + second, top


def scaled_squares(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
    """Return every case's sum of squares with its power of two, whatever the size of the mantissas."""
    peak = np.abs(mantissa).max(axis=(1, 2), initial=0.0)
    shift = np.where(peak > 0, np.frexp(peak)[1], 0).astype(np.int64)
    shift[np.abs(shift) < window(mantissa.dtype).square // 4] = 0
    if shift.any():
        mantissa = ldexp(mantissa, -shift[:, None, None])
    return squares(mantissa), exponent + shift


def squares(x: Array) -> Array:
    """Return the sum of squares of every case, shape (case,)."""
    flat = x.reshape(x.shape[0], -1)
    return np.asarray(np.vecdot(flat, flat), dtype=np.float64)


def angle(a: ScaledGradient, b: ScaledGradient) -> Array:
    """Return the angle between two gradients in radians, accurate also where it is tiny.

    Uses ``2 atan2(|u - v|, |u + v|)`` of the unit vectors (Kahan 2006); shape (case,). The angle
    with a zero gradient is 0: there is no direction to change.
    """
    norms = a.log2_norm(), b.log2_norm()
    zero = ~np.isfinite(norms[0]) | ~np.isfinite(norms[1])
    minus, plus = np.zeros(len(zero)), np.zeros(len(zero))
    for one, other in zip(a.blocks(), b.blocks(), strict=True):
        u = _over_norm(*one, np.where(zero, 0.0, norms[0]))
        v = _over_norm(*other, np.where(zero, 0.0, norms[1]))
        minus += squares(u - v)
        plus += squares(u + v)
    return np.where(zero, 0.0, 2.0 * np.arctan2(np.sqrt(minus), np.sqrt(plus)))


def _over_norm(mantissa: Array, exponent: Array, log2_norm: Array) -> Array:
    """Return a block divided by a norm, the same bits however the block is split into the two parts."""
    peak, power = np.frexp(np.abs(mantissa).max(axis=(1, 2)).astype(np.float64))
    whole = exponent + power
    factor = np.where(peak > 0, np.exp2(np.where(peak > 0, whole - log2_norm, 0.0)), 0.0)
    return np.asarray(ldexp(mantissa.astype(np.float64), -power[:, None, None]) * factor[:, None, None])
