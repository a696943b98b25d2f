"""Sums of outer products far outside the range of floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.products import product
from gradlab.core.scaled import ldexp, window
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
        # log2 of the size below which a term leaves every entry as it is, and whether that is known.
        self._floor = np.full((views, cases), -np.inf)
        self._stale = np.ones(views, dtype=bool)
        self._grain = np.finfo(total.dtype).nmant + 4
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
                ldexp(self.total[v], (exponent[v] - moved[v])[:, None, None], out=self.total[v])
            self.exponent[:views] = moved
            self.moved = True
            self._stale[:] = True
        return ldexp(1.0 if factor is None else factor, shift - moved[..., None])

    def unmoved_by(self, size: Array, refresh: bool) -> NDArray[np.bool_]:
        """Return which of the first views a term would leave as they are, bit for bit.

        A number does not change when something below an eighth of its unit in the last place is added.
        Where adjoints vanish that holds for every entry of a sum from some lag on, and forming the
        term can be spared without changing any result.

        Parameters
        ----------
        size : array of shape (view, case)
            log2 of a bound on every entry of the term.
        refresh : bool
            Whether to look at the entries of sums that have changed since they were last looked at.

        Returns
        -------
        boolean array of shape (view,)
            True where that is so for all cases.
        """
        views = len(size)
        if refresh:
            small = (size <= self.exponent[:views] - self._grain).all(axis=-1)
            for v in np.flatnonzero(self._stale[:views] & small):
                least = np.abs(self.total[v]).min(axis=(0, 2, 3)).astype(np.float64)
                with np.errstate(divide="ignore"):
                    self._floor[v] = np.log2(least) + self.exponent[v] - self._grain
                self._stale[v] = False
        return np.asarray(~self._stale[:views] & (size <= self._floor[:views]).all(axis=-1))

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
        product(left, right, self._product)
        np.add(total, self._product, out=total)
        self._stale[view] = True
        if self._waiting[view]:
            self._started[view] |= total.any(axis=(0, 2, 3))
            self._waiting[view] = not self._started[view].all()

    def by_case(self, view: int) -> Array:
        """Return a view's sum with the case in front, shape (case, rows of all blocks, columns)."""
        total = self.total[view]
        if len(total) == 1:
            return np.asarray(total[0])
        return np.ascontiguousarray(total.swapaxes(0, 1)).reshape(total.shape[1], -1, total.shape[-1])
