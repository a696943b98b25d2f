"""What activations with one exponential share: it, and where it leaves the range."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradlab.core.scratch import scratch
from gradlab.network.activations._base import Array


class Exponential(NamedTuple):
    """``e = exp(z)`` and ``1 + e`` in temporary arrays; e is 1 where it would be infinite.

    `far` is a mask of where that is, or None for nowhere, and `z` has the arguments there.
    """

    e: Array
    total: Array
    far: Array | None
    z: Array


def exponential(z: Array, share: Array) -> Exponential:
    """Write the logistic function, ``e/(1 + e)`` with e = exp(z), to `share`; return e and what is far.

    The processor notes by itself that a number left the range, so that no pass over `z` has to look:
    an overflow for finite arguments, an invalid quotient for infinite ones.

    Parameters
    ----------
    z : array
        Real, of any shape.
    share : array of that shape
        Other memory than `z`; 1/2 where `far`.
    """
    e, total = (scratch(name, z.shape, z.dtype) for name in ("exponential", "one and exponential"))
    try:
        with np.errstate(over="raise", invalid="raise"):
            _divide(np.exp(z, out=e), total, share)
        return Exponential(e, total, None, z[:0])
    except FloatingPointError:
        with np.errstate(over="ignore"):
            np.exp(z, out=e)
    far = np.isinf(e)
    e[far] = 1.0
    _divide(e, total, share)
    return Exponential(e, total, far, z[far])


def _divide(e: Array, total: Array, share: Array) -> None:
    np.add(e, 1.0, out=total)
    np.divide(e, total, out=share)
