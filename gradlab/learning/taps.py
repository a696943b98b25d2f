"""Taps on the stream of adjoints: what is recorded at every time step, for every lane and view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2, ldexp, log2_of, log2_total, window
from gradlab.learning.gradients import is_structured, tied
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

ADJOINTS = ("state", "memory", "preactivation")
PATHS = ("memory", "rest", "total")  # of an adjoint: through the memory alone, the others, and all
AT_ONCE = 1 << 14  # squares turned into logarithms together: the temporaries stay in the cache
_ZERO = np.zeros(1, dtype=np.int64)  # for powers of two of which there are none


class Taps:
    """Squared norms of every sample, gathered over a stretch of time and reduced to records.

    Parameters
    ----------
    names : iterable of str
        Which taps are open: "state", "memory", "preactivation", "weight", "path" for the ways to the
        memory, and "sample" for the mean and spread over samples.
    last : sequence of int
        For each lane the last time step where its loss looks.
    views : sequence of int
        For each lane its number of views.
    cases, batch, segment : int
        Sizes.
    workspace : Workspace
        Where what is gathered lives.

    Attributes
    ----------
    records : dict
        By name: a list over lanes of arrays (view, case, lag). "state", "memory",
        "preactivation" and "weight" are log10 norms over the whole batch, of the gradient of the
        batch's mean loss; "mean" and "std" are over samples, of the log10 norm of each sample's own.
    """

    def __init__(
        self,
        names: Iterable[str],
        last: Sequence[int],
        views: Sequence[int],
        cases: int,
        batch: int,
        segment: int,
        workspace: Workspace,
    ):
        self._names = frozenset(names)
        if "path" in self._names:
            self._names |= {f"path {which}" for which in PATHS}
        self._last, self._views, self._batch = list(last), list(views), batch
        lanes = len(self._last)
        along = [*ADJOINTS, *(f"path {which}" for which in PATHS)]
        recorded: list[str] = [n for n in (*along, "weight") if n in self._names]
        if "sample" in self._names:
            recorded += ["mean", "std"]
        self.records: dict[str, list[Array]] = {
            name: [np.full((v, cases, t + 1), -np.inf) for t, v in zip(self._last, self._views, strict=True)]
            for name in recorded
        }
        self._segment = segment
        gathered = set(along) & self._names | ({"state"} if "sample" in self._names else set())
        self._workspace, self._shape = workspace, (segment, lanes, cases, batch)
        self._squares = {n: self._zeros(f"squares {n}", np.float64) for n in gathered}
        self._exponents: dict[str, Array] = {}  # of taps that have seen any
        self._factors: tuple[Array, Array] | None = None
        self._first_view = np.concatenate([[0], np.cumsum(self._views)])
        self._rescaled = np.zeros(sum(self._views), dtype=bool)
        self._cases = cases
        shape = (segment if "weight" in self._names else 0, sum(self._views), cases)
        self._shares = np.zeros(shape), np.zeros(shape, dtype=np.int64)

    def _zeros(self, name: str, dtype: Any) -> Array:
        array = self._workspace.take(name, self._shape, dtype)
        array[...] = 0
        return array

    def wants(self, name: str) -> bool:
        """Whether a tap is open."""
        return name in self._names

    def put(self, name: str, t: int, squares: Array, exponent: Array | None, views: Views) -> None:
        """Take each sample's sum of squares, ``squares * 4 ** exponent``, (lane, case, batch), at `t`.

        An `exponent` of None stands for zeros.
        """
        active, slot = len(squares), t % self._segment
        if name == "state" and views.mantissa is not None and views.exponent is not None:
            if self._factors is None:
                shape = (self._segment, *views.mantissa.shape)
                self._factors = np.ones(shape), np.zeros(shape, dtype=np.int64)
                self._rescaled = views.rescaled
            self._factors[0][slot], self._factors[1][slot] = views.mantissa, views.exponent
        if name not in self._squares:
            return
        self._squares[name][slot, :active] = squares
        if exponent is not None:
            if name not in self._exponents:
                self._exponents[name] = self._zeros(f"exponents {name}", np.int64)
            self._exponents[name][slot, :active] = exponent[:active]
        elif name in self._exponents:  # of another stretch of time
            self._exponents[name][slot, :active] = 0

    def put_weight(
        self, t: int, dz: Array, trajectory: Trajectory, exponent: Array | None, views: Views
    ) -> None:
        """Record the norm of this step's share of the recurrent weights' gradient, ``dz h'^T``.

        With fewer samples than units the matrix is never formed: its squared norm is the sum of
        the entrywise product of the two Gram matrices over samples (the Gram trick). It is formed
        where only some of its entries are weights. A cell without recurrent matrices has its
        elementwise parameters instead.
        """
        stack = trajectory.stack
        weight, top = self._weights(dz.shape[1], exponent, views)
        slot = t % self._segment
        if stack.recurrent == 0:
            terms = np.empty((len(stack.cell.diagonals), *dz.shape[1:]), dz.dtype)
            stack.cell.diagonal_gradient(trajectory.local(t), dz, terms)
            old = np.ones((len(stack.affine), 1, stack.batch), dz.dtype)
            state_exponent = np.zeros(len(old), dtype=np.int64)
            dz = terms
        else:
            old, state_exponent = self._old(t, trajectory, dz.dtype)
            dz = dz[: stack.recurrent]
        structure = stack.cell if stack.recurrent and is_structured(stack.cell, stack.hidden) else None
        gram = None
        if structure is None and self._batch < old.shape[1]:
            gram = np.matmul(old.transpose(0, 2, 1), old)
        for v in range(views.active(dz.shape[1])):
            lane, first = views.lane[v], v == 0 or views.lane[v] != views.lane[v - 1]
            own, w = dz[:, lane], weight[v] if len(weight) > 1 else weight[0]
            if gram is None:
                share = np.matmul(own * w[:, None, :].astype(dz.dtype), old.transpose(0, 2, 1))
                if structure is not None:
                    share = tied(structure, structure.mask(stack.hidden), share)
                flat = share.reshape(*share.shape[:2], -1)
                squares = np.vecdot(flat, flat).sum(axis=0)
            else:
                if first:  # the views of a lane share its Gram matrices
                    product = np.matmul(own.swapaxes(-1, -2), own).sum(axis=0) * gram
                squares = np.vecdot(np.matmul(product, w[..., None])[..., 0], w)
            self._shares[0][slot, v] = np.maximum(squares, 0.0)
        self._shares[1][slot, : len(top)] = top + state_exponent
        if len(top) == 1:
            self._shares[1][slot] = top + state_exponent

    def _old(self, t: int, trajectory: Trajectory, dtype: Any) -> tuple[Array, Array]:
        """Return what the recurrent weights saw at time `t`, in range, with its powers of two."""
        old = trajectory.affine_input(t)[:, : trajectory.stack.fed_back]
        state_exponent = trajectory.state_exponent.get(t, np.zeros(len(old), dtype=np.int64))
        flat = old.reshape(len(old), -1)
        small = np.vecdot(flat, flat) < np.ldexp(1.0, -window(dtype).square)
        if small.any():  # squares of so small a state would underflow
            peak = np.frexp(np.abs(old).max(axis=(1, 2)))[1].astype(np.int64)
            state_exponent = np.where(small, peak, state_exponent)
        if state_exponent.any():
            old = ldexp(old, -state_exponent[:, None, None])
        return old, state_exponent

    def _weights(self, lanes: int, exponent: Array | None, views: Views) -> tuple[Array, Array]:
        """Return each view's factor for every sample and its power of two; one row stands for all."""
        if exponent is None and views.exponent is None:
            return np.ones((1, self._cases, self._batch)), np.zeros((1, self._cases), dtype=np.int64)
        power = views.shifts(exponent, lanes)
        assert power is not None
        count = len(power)
        top = power.max(axis=-1)
        mantissa = 1.0 if views.mantissa is None else views.mantissa[:count]
        return ldexp(mantissa, power - top[..., None]), top

    def reduce(self, start: int, stop: int, active: int) -> None:
        """Turn what was gathered over the time steps `start` to `stop` into records."""
        together = max(1, AT_ONCE // (self._cases * self._batch))
        for i in range(active):
            end = min(stop, self._last[i] + 1)
            for first in range(start, end, together):
                times = range(first, min(first + together, end))
                for v in range(self._views[i]):
                    self._reduce_view(i, v, times)

    def _reduce_view(self, i: int, v: int, times: range) -> None:
        """Turn a few neighbouring time steps of one view into records; lags count back in time."""
        first = times.start % self._segment
        slots = slice(first, first + len(times))
        lags = slice(self._last[i] - times.stop + 1, self._last[i] - times.start + 1)
        for name in self._squares:
            self._reduce_one(name, i, v, slots, lags)
        if "weight" in self._names:
            squares, exponent = (kept[slots, int(self._first_view[i]) + v] for kept in self._shares)
            log10 = LOG10_2 * log2_of(squares, exponent) - np.log10(self._batch)
            self.records["weight"][i][v, :, lags] = log10[::-1].T

    def _reduce_one(self, name: str, i: int, v: int, slots: slice, lags: slice) -> None:
        squares = self._squares[name][slots, i]
        view = int(self._first_view[i]) + v
        exponent = self._exponents[name][slots, i] if name in self._exponents else _ZERO
        if self._factors is not None and self._rescaled[view]:
            mantissa, power = (kept[slots, view] for kept in self._factors)
            squares, exponent = squares * mantissa * mantissa, exponent + power
        if name in self.records:
            total = LOG10_2 * log2_total(squares, exponent) - np.log10(self._batch)
            self.records[name][i][v, :, lags] = total[::-1].T
        if name == "state" and "mean" in self.records:
            each = LOG10_2 * log2_of(squares, exponent)
            self.records["mean"][i][v, :, lags] = each.mean(axis=-1)[::-1].T
            self.records["std"][i][v, :, lags] = _spread(each)[::-1].T


def _spread(logs: Array) -> Array:
    """Return the standard deviation over the last axis; infinite where only some are zero gradients."""
    dead = np.isneginf(logs)
    spread = np.where(dead, 0.0, logs).std(axis=-1)
    return np.where(dead.all(axis=-1), 0.0, np.where(dead.any(axis=-1), np.inf, spread))
