"""What the losses of single time steps add to a gradient that is gathered forward in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradlab.core.scaled import DEAD, LOG10_2, ldexp, log2_of, window
from gradlab.learning.learners._base import Array, Made, Work
from gradlab.learning.online import Entries
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.sources import Losses


class Sum:
    """The gradient that grows from look to look.

    Parameters
    ----------
    work : Work
    entries : Entries
        How the vectors stand for parameters.
    """

    def __init__(self, work: Work, entries: Entries):
        self._work, self._entries = work, entries
        self._batch = work.layers.networks.batch
        self._total: ScaledGradient | None = None
        self.online = np.full((work.layers.networks.cases, work.length), -np.inf)

    def add(self, t: int, vector: Array, exponent: Array, losses: Losses) -> None:
        """Add what the loss of time step `t` adds by way of the state, and its readout's own gradient.

        `vector` is (case, size), its powers of two are (case,).
        """
        through = self._entries.gradient(vector, exponent)
        mantissas, exponents = list(through.mantissas), list(through.exponents)
        own = losses.readouts[0]
        if own is not None:
            readout = ScaledGradient((own.by_case(0),), (own.exponent[0],))
            if self._entries.outputs:
                readout = readout.plus(ScaledGradient((mantissas.pop(),), (exponents.pop(),)))
            mantissas += readout.mantissas
            exponents += readout.exponents
        share = ScaledGradient(tuple(mantissas), tuple(exponents))
        change = self._work.to_parameters
        by_parameters = share if change is None else change(share)
        self.online[:, t] = by_parameters.log2_norm() * LOG10_2 - np.log10(self._batch)
        self._total = share if self._total is None else self._total.plus(share)

    def made(self) -> Made:
        """Return the gradient and its shares."""
        assert self._total is not None, "a loss looks somewhere"
        return Made(self._total, online=self.online)


def arriving(work: Work, t: int) -> tuple[Array, Array, Losses]:
    """Return what the loss of time step `t` sends to the state, with its powers of two, and its readout.

    Shapes (case, batch, hidden) and (case, batch); the readout's own gradient stands in the losses.
    """
    losses = Losses(work.layers, [replace(work.lane, looks=(t,), earliest=t)], gradients=True)
    adjoint, size = losses.arriving(0, t, 0)
    return np.ascontiguousarray(adjoint.transpose(0, 2, 1)), size, losses


def over_samples(values: Array, exponent: Array) -> tuple[Array, Array]:
    """Return the sum over samples of ``values * 2 ** exponent``, and its powers of two.

    Parameters
    ----------
    values : array of shape (case, batch, size)
    exponent : integer array of shape (case, batch)
    """
    alive = values.any(axis=-1)
    top = np.where(alive, exponent, DEAD).max(axis=-1)
    top = np.where(alive.any(axis=-1), top, 0)
    factor = np.where(alive, np.ldexp(1.0, np.where(alive, exponent - top[:, None], 0)), 0.0)
    return np.matmul(factor[:, None, :].astype(values.dtype), values)[:, 0], top


def log2_peaks(array: Array) -> Array:
    """Return the power of two above the largest entry of every sample, (case, batch); `DEAD` for zero."""
    flat = array.reshape(*array.shape[:2], -1)
    peak = np.maximum(flat.max(axis=-1), -flat.min(axis=-1))
    return np.where(peak > 0, np.frexp(peak)[1], DEAD).astype(np.int64)


def settle(held: Array, moved: Array, fresh: Array, dtype: Any) -> Array:
    """Return the powers of two that a sum of two terms is to have: the ones held while they will do.

    Parameters
    ----------
    held : integer array
        The powers of two now.
    moved, fresh : integer arrays of the same shape
        log2 of the size of the two terms.
    dtype : dtype
        Of the terms.
    """
    top = np.maximum(moved, fresh)
    near = np.abs(top - held) <= window(dtype).adjoint
    return np.where(near | (top <= DEAD // 2), held, top)


def log2_norms(array: Array) -> Array:
    """Return log2 of the norm over the last axis, whatever the size of the entries; -inf for zero."""
    squares = np.asarray(np.vecdot(array, array), dtype=np.float64)
    bound = np.ldexp(1.0, window(array.dtype).square)
    odd = ~((squares >= 1.0 / bound) & (squares <= bound))
    shift = np.zeros(squares.shape, dtype=np.int64)
    if odd.any():
        chosen = array[odd]
        peak = np.abs(chosen).max(axis=-1)
        power = np.where(peak > 0, np.frexp(peak)[1], 0)
        chosen = ldexp(chosen, -power[:, None])
        squares[odd], shift[odd] = np.vecdot(chosen, chosen), power
    return log2_of(squares, shift)
