"""Numbers far outside floating point: mantissas beside integer powers of two.

The backward recursion is linear in the adjoint, so multiplying it by a power of two is exact. An
adjoint is carried as ``mantissa * 2 ** exponent`` with one exponent for every lane, case and
sample, and is brought back into the middle of the range before it can leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scratch import scratch

Array = NDArray[Any]
LOG10_2 = float(np.log10(2.0))

#: The exponent of what is exactly zero: below every other, so that it never sets a common scale.
DEAD = -(2**31)

_FAR = 2**14  # no number times this power of two, or its inverse, is in range


@dataclass(frozen=True)
class Window:
    """How far a mantissa may wander, as powers of two, before it is renormalised.

    The distance to the end of the floating-point range is what one time step may multiply a
    mantissa with, and what the products and squares formed from it need.

    Parameters
    ----------
    adjoint : int
        Largest absolute log2 of a sample's adjoint norm.
    accumulate : int
        How far above its own power of two a sum of contributions may grow.
    state : int
        Largest log2 of a state that is multiplied as it is.
    product : int
        Largest log2 of an adjoint times a local derivative.
    square : int
        Largest absolute log2 of a sum of squares that is multiplied with another one.
    """

    adjoint: int
    accumulate: int
    state: int
    product: int
    square: int


_WINDOWS = {
    np.dtype("float64"): Window(64, 64, 150, 400, 400),
    np.dtype("float32"): Window(14, 12, 16, 40, 40),
}


def window(dtype: Any) -> Window:
    """Return the window of a floating-point type."""
    return _WINDOWS[np.dtype(dtype)]


def largest_of(array: Array) -> float:
    """Return the largest absolute value of an array, which may be empty; NaN where it has one."""
    return float(max(array.max(initial=0.0), -array.min(initial=0.0)))


def ldexp(array: Array | float, power: Array, out: Array | None = None) -> Array:
    """Return ``array * 2 ** power``, whatever the integer `power`.

    NumPy's own is ten times as fast for powers of 32 bits, of which none is too large to do the same.
    """
    small = np.maximum(np.minimum(power, _FAR), -_FAR).astype(np.int32)
    return np.asarray(np.ldexp(array, small, out=out))


def at_power(array: Array, power: Array, top: Array, out: Array | None = None) -> Array:
    """Return ``array * 2 ** power`` as mantissas of ``2 ** top``; what is `DEAD` is zero and stays.

    `array` is (..., hidden, batch), `power` and `top` are (..., batch).
    """
    return ldexp(array, np.where(power > DEAD, power - top, 0)[..., None, :], out=out)


def add_scaled(parts: Sequence[Array], power: Array, values: Array, size: Array) -> None:
    """Add ``values * 2 ** size`` to the first of `parts`, which stand at ``2 ** power``, all in place.

    Powers of two move only where the two are far apart; what is exactly zero then does not set them.

    Parameters
    ----------
    parts : sequence of arrays of shape (..., hidden, batch)
        Mantissas that share one exponent for each sample.
    power : integer array of shape (..., batch)
        Their powers of two.
    values : array of shape (..., hidden, batch)
    size : integer array of shape (..., batch)
    """
    gap = size - power
    apart = max(int(gap.max()), -int(gap.min()))
    if apart == 0:
        np.add(parts[0], values, out=parts[0])
        return
    if apart <= 2 * window(values.dtype).adjoint:
        factor = np.ldexp(values.dtype.type(1.0), gap.astype(np.int32))
        moved = np.multiply(values, factor[..., None, :], out=scratch("moved", values.shape, values.dtype))
        np.add(parts[0], moved, out=parts[0])
        return
    held = np.logical_or.reduce([part.any(axis=-2) for part in parts])
    own, others = np.where(held, power, DEAD), np.where(values.any(axis=-2), size, DEAD)
    top = np.maximum(own, others)
    for part in parts:
        at_power(part, own, top, out=part)
    np.add(parts[0], at_power(values, others, top), out=parts[0])
    power[...] = top


def renormalise(parts: Sequence[Array], exponent: Array, where: Array) -> list[Array]:
    """Bring mantissas back to the middle of the range, in place and without rounding.

    Parameters
    ----------
    parts : sequence of arrays of shape (lane, case, hidden, batch)
        Mantissas that share one exponent for each sample.
    exponent : integer array of shape (lane, case, batch)
        Their powers of two.
    where : boolean array of shape (lane, case)
        The cases to bring back; zero samples stay zero.

    Returns
    -------
    list of arrays of shape (cases brought back, hidden, batch)
        The parts of those cases as they are now.
    """
    lane, case = np.nonzero(where)
    chosen = [part[lane, case] for part in parts]
    peak = np.maximum.reduce([np.abs(part).max(axis=-2) for part in chosen])
    shift = np.where(peak > 0, np.frexp(peak)[1], 0).astype(exponent.dtype)
    for part, values in zip(parts, chosen, strict=True):
        part[lane, case] = ldexp(values, -shift[:, None, :], out=values)
    exponent[lane, case] += shift
    return chosen


def log2_of(squares: Array, exponent: Array | int) -> Array:
    """Return ``log2(sqrt(squares) * 2 ** exponent)``; -inf for zero.

    The logarithm is taken of the one mantissa in [1/2, 1), so that the result does not depend on how a
    number is divided between mantissa and exponent.
    """
    mantissa, power = np.frexp(squares)
    with np.errstate(divide="ignore"):
        return np.asarray(0.5 * (np.log2(mantissa) + (power + 2 * exponent)))


def log2_total(squares: Array, exponent: Array) -> Array:
    """Return ``log2 sqrt(sum squares * 4 ** exponent)`` over the last axis; -inf for zero."""
    if not exponent.any():  # nothing has been near the end of the range
        return log2_of(squares.sum(axis=-1), 0)
    alive = squares > 0
    top = np.where(alive, exponent, DEAD).max(axis=-1)
    with np.errstate(under="ignore"):
        total = ldexp(squares, 2 * np.where(alive, exponent - top[..., None], 0)).sum(axis=-1)
    return log2_of(total, top)
