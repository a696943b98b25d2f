"""Sums of outer products far outside the range of floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import window

Array = NDArray[Any]


class Accumulator:
    """``sum_t left_t right_t`` over the way back, as mantissas with a power of two for each case.

    Parameters
    ----------
    total : array of shape ([block,] case, rows, columns)
        Where the sum is formed; set to zero here.
    product : array of the same shape
        Scratch for one product.
    """

    def __init__(self, total: Array, product: Array):
        self.total = total
        self.total[...] = 0.0
        self._product = product
        cases = total.shape[-3]
        self.exponent = np.zeros(cases, dtype=np.int64)
        self._started = np.zeros(cases, dtype=bool)
        self._all_started = False
        self._slack = window(total.dtype).accumulate

    def add(self, left: Array, right: Array, shift: Array | None, factor: Array | None) -> None:
        """Add ``left * factor * 2 ** shift @ right``.

        Parameters
        ----------
        left : array of shape ([block,] case, rows, batch)
        right : array of shape (case, batch, columns)
        shift : integer array of shape (case, batch), or None
            None stands for zeros.
        factor : array of shape (case, batch), or None
            None stands for ones.
        """
        if shift is not None:
            shift = self._rebased(shift)
        elif self.exponent.any():
            shift = self._rebased(np.zeros((len(self.exponent), left.shape[-1]), dtype=np.int64))
        if shift is not None or factor is not None:
            scale = np.ones(1) if factor is None else factor
            if shift is not None:
                scale = np.ldexp(scale, shift)
            left = left * scale.astype(left.dtype)[:, None, :]
        np.matmul(left, right, out=self._product)
        np.add(self.total, self._product, out=self.total)
        if not self._all_started:
            alive = self.total.any(axis=(-1, -2))
            self._started |= alive.any(axis=0) if alive.ndim > 1 else alive
            self._all_started = bool(self._started.all())

    def _rebased(self, shift: Array) -> Array:
        """Move the sum's power of two where the new terms need it; return `shift` relative to it."""
        top = shift.max(axis=-1)
        moved = np.where(self._started & (top <= self.exponent + self._slack), self.exponent, top)
        if (moved != self.exponent).any():
            np.ldexp(self.total, (self.exponent - moved)[:, None, None], out=self.total)
            self.exponent = moved
        return np.asarray(shift - self.exponent[:, None])

    def by_case(self) -> Array:
        """Return the sum with the case in front, shape (case, rows of all blocks, columns)."""
        if self.total.ndim == 3:
            return self.total
        cases = len(self.exponent)
        return np.ascontiguousarray(self.total.transpose(1, 0, 2, 3)).reshape(cases, -1, self.total.shape[-1])
