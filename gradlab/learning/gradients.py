"""How the parameter gradients of all views are formed while a backward pass goes back in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scratch import scratch
from gradlab.learning.accumulate import Sums
from gradlab.learning.gradient import ScaledGradient
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

REFRESH = 8  # time steps between looks at which sums no longer change


class Gradients:
    """The gradients of ``[W U b]`` by view, and of the readout ``[V b]`` by lane.

    Parameters
    ----------
    trajectory : Trajectory
        The forward pass; it keeps its states.
    readouts : sequence of arrays of shape (case, outputs, hidden + 1), or None
        For every lane its readout.
    views : Views
        The views of the lanes.
    workspace : Workspace
        Where the sums live.
    """

    def __init__(
        self, trajectory: Trajectory, readouts: Sequence[Array | None], views: Views, workspace: Workspace
    ):
        stack = trajectory.stack
        cases, rows, width = stack.affine.shape
        dtype = stack.affine.dtype
        self._trajectory, self._views = trajectory, views
        self._right = workspace.take("affine input", (cases, stack.batch, width), dtype)
        shape = (views.count, rows // stack.hidden, cases, stack.hidden, width)
        self._affine = Sums(workspace.take("gradients", shape, dtype))
        self._readouts = [None if r is None else Sums(np.empty((1, 1, *r.shape), dtype)) for r in readouts]

    def add_readout(self, lane: int, t: int, slope: Array, state: Array, size: Array) -> None:
        """Add ``slope * 2 ** size [h; 1]^T`` at time `t`; all views of a lane share it."""
        sums = self._readouts[lane]
        if sums is None:
            return
        right = np.concatenate([state, np.ones_like(state[:, :1])], axis=1).transpose(0, 2, 1)
        right, shift = self._in_range(right, t + 1, size[None] if size.any() else None)
        scale = sums.scales(shift, None)
        if scale is not None:
            slope = slope * scale[0].astype(slope.dtype)[:, None, :]
        sums.add(0, slope[None], right)

    def add(self, t: int, dz: Array, exponent: Array | None, squares: tuple[Array, Array] | None) -> None:
        """Add the share of time step `t`, ``dz * 2 ** exponent [h; x; 1]^T``, for every active view.

        Parameters
        ----------
        t : int
        dz : array of shape (block, lane, case, hidden, batch)
            Of the active lanes.
        exponent : integer array of shape (lane, case, batch), or None
            None stands for zeros.
        squares : pair of arrays of shape (lane, case, batch), or None
            The sums of squares of `dz` with their powers of two, where they are known.
        """
        sums, views, lanes = self._affine, self._views, dz.shape[1]
        np.copyto(self._right, self._trajectory.affine_input(t).transpose(0, 2, 1))
        count = views.active(lanes)
        right, shift = self._in_range(self._right, t, views.shifts(exponent, lanes))
        factor = None if views.mantissa is None else views.mantissa[:count]
        scale = sums.scales(None if shift is None else shift[:count], factor)
        scale = None if scale is None else scale.astype(dz.dtype, copy=False)
        spared = np.zeros(count, dtype=bool)
        if squares is not None:
            spared = sums.unmoved_by(views.log2_norms(*squares) + self._log2_size(), t % REFRESH == 0)
        for v in np.flatnonzero(~spared).tolist():
            left = dz[:, views.lane[v]]
            # A raw view in range needs no pass: its scale is one throughout.
            if scale is not None and (shift is not None or sums.moved or views.rescaled[v]):
                out = scratch("scaled dz", left.shape, left.dtype)
                left = np.multiply(left, scale[v][:, None, :], out=out)
            sums.add(v, left, right)

    def collect(self) -> list[list[ScaledGradient]]:
        """Return for every lane the gradients of its views; summed over samples."""
        collected = []
        for i, readout in enumerate(self._readouts):
            shared = [] if readout is None else [(readout.by_case(0), readout.exponent[0])]
            own = []
            for v in self._views.of(i):
                parts = [(self._affine.by_case(v), self._affine.exponent[v]), *shared]
                own.append(ScaledGradient(tuple(m for m, _ in parts), tuple(e for _, e in parts)))
            collected.append(own)
        return collected

    def _in_range(self, right: Array, t: int, shift: Array | None) -> tuple[Array, Array | None]:
        """Scale the state at `t` down where it is very large, and the terms' powers of two up."""
        size = self._trajectory.state_exponent.get(t)
        if size is None:
            return right, shift
        if shift is None:
            shift = np.zeros((self._views.count, 1, 1), dtype=np.int64)
        return np.ldexp(right, -size[:, None, None]), shift + size[:, None]

    def _log2_size(self) -> Array:
        """Return log2 of a bound on the norm over the batch of every row of ``[h; x; 1]``, by case."""
        largest = np.maximum(self._right.max(axis=(1, 2)), -self._right.min(axis=(1, 2)))
        return np.asarray(np.log2(largest.astype(np.float64)) + 0.5 * np.log2(self._right.shape[1]))
