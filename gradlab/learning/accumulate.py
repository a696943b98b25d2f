"""Sums of outer products far outside the range of floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import window
from gradlab.core.scratch import scratch

Array = NDArray[Any]


class Sums:
    """``sum_t left_t right_t`` over the way back, for several views at once.

    Every view and case has a power of two of its own, which moves with the terms: a sum that grows
    is brought down before it overflows, and one that is still zero takes the power of its terms.

    Parameters
    ----------
    total : array of shape (view, block, case, rows, columns)
        Where the sums are formed; set to zero here.
    """

    def __init__(self, total: Array):
        self.total = total
        self.total[...] = 0.0
        views, _, cases = total.shape[:3]
        self.exponent = np.zeros((views, cases), dtype=np.int64)
        self._started = np.zeros((views, cases), dtype=bool)
        self.moved = False  # whether any power of two differs from zero
        self._slack = window(total.dtype).accumulate
        self._product = scratch("outer product", total.shape[1:], total.dtype)
        self._waiting = [True] * views  # whether some case of a view is still exactly zero

    def scales(self, shift: Array | None, factor: Array | None) -> Array | None:
        """Return what the left factors of the first views are to be multiplied with.

        Parameters
        ----------
        shift : integer array of shape (view, case, batch), or None
            Powers of two of the terms to come; None stands for zeros.
        factor : array of shape (view, case, batch), or None
            Further factors; None stands for ones.

        Returns
        -------
        array of shape (view, case, batch), or None for ones
        """
        if shift is None and not self.moved:
            return factor
        if shift is None:
            shift = np.zeros((*self.exponent.shape, 1), dtype=np.int64)
        views = len(shift)
        exponent, started = self.exponent[:views], self._started[:views]
        top = shift.max(axis=-1)
        moved = np.where(started & (top <= exponent + self._slack), exponent, top)
        changed = moved != exponent
        if changed.any():
            for v in np.flatnonzero(changed.any(axis=-1)):
                np.ldexp(self.total[v], (exponent[v] - moved[v])[:, None, None], out=self.total[v])
            self.exponent[:views] = moved
            self.moved = True
        return np.asarray(np.ldexp(1.0 if factor is None else factor, shift - moved[..., None]))

    def add(self, view: int, left: Array, right: Array) -> None:
        """Add ``left @ right`` to a view.

        Parameters
        ----------
        view : int
        left : array of shape (block, case, rows, batch)
            Already multiplied with the view's scale.
        right : array of shape (case, batch, columns)
        """
        total = self.total[view]
        np.matmul(left, right, out=self._product)
        np.add(total, self._product, out=total)
        if self._waiting[view]:
            self._started[view] |= total.any(axis=(0, 2, 3))
            self._waiting[view] = not self._started[view].all()

    def by_case(self, view: int) -> Array:
        """Return a view's sum with the case in front, shape (case, rows of all blocks, columns)."""
        total = self.total[view]
        if len(total) == 1:
            return np.asarray(total[0])
        return np.ascontiguousarray(total.swapaxes(0, 1)).reshape(total.shape[1], -1, total.shape[-1])
