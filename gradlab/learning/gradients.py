"""How the parameter gradients of all views are formed while a backward pass goes back in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import ldexp
from gradlab.core.scratch import scratch
from gradlab.learning.accumulate import Sums
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace
from gradlab.network.cells import AbstractCell

Array = NDArray[Any]

REFRESH = 8  # time steps between looks at which sums no longer change
SPARING = 1 << 20  # multiplications below which forming a term takes less time than finding it spared


class Gradients:
    """The gradients of ``[W U b]``, and of the cell's elementwise parameters, by view.

    Parameters
    ----------
    trajectory : Trajectory
        The forward pass; it keeps its states.
    views : Views
        The views of the lanes.
    workspace : Workspace
        Where the sums live.
    samples : bool
        Keep every sample's gradient for itself: the sums then have as many cases as there are samples,
        those of the first case first, and the views no factors.
    """

    def __init__(self, trajectory: Trajectory, views: Views, workspace: Workspace, samples: bool = False):
        stack = trajectory.stack
        cases, rows, width = stack.affine.shape
        dtype = stack.affine.dtype
        self._trajectory, self._views, self._stack = trajectory, views, stack
        self._samples = samples
        self._right = workspace.take("affine input", (cases, stack.batch, width), dtype)
        cases, batch = (cases * stack.batch, 1) if samples else (cases, stack.batch)
        shape = (views.count, rows // stack.hidden, cases, stack.hidden, width)
        self._affine = Sums(workspace.take("gradients", shape, dtype))
        self._large = self._affine.total.size * batch > SPARING
        self._sparing = False
        self._diagonal: Sums | None = None
        if diagonals := len(stack.cell.diagonals):
            own = (views.count, diagonals, cases, stack.hidden, 1)
            self._diagonal = Sums(workspace.take("diagonal gradients", own, dtype))
            self._ones = np.ones((cases, batch, 1), dtype=dtype)

    def seeks_spared(self, t: int) -> bool:
        """Whether to find terms of time step `t` that change no sum: they are large, and there may be some.

        Between the time steps when sums are looked at, a view that was added to is added to.
        """
        return self._large and (self._sparing or t % REFRESH == 0)

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
            The sums of squares of `dz` with their powers of two, where they are known and `seeks_spared`.
        """
        sums, views, lanes = self._affine, self._views, dz.shape[1]
        # The tape comes from memory in one sweep; across its rows that would take twice as long.
        inputs = self._trajectory.affine_input(t)
        seen = scratch("affine input", inputs.shape, inputs.dtype)
        np.copyto(seen, inputs)
        np.copyto(self._right, seen.transpose(0, 2, 1))
        count = views.active(lanes)
        shift = views.shifts(exponent, lanes)
        if self._diagonal is not None:
            terms = np.empty((self._diagonal.total.shape[1], *dz.shape[1:]), dz.dtype)
            small, power = self._lowered(dz, self._trajectory.local_exponent.get(t), shift)
            self._stack.cell.diagonal_gradient(self._trajectory.local(t), small, terms)
            if self._samples:
                terms, power = by_sample(terms), samples_as_cases(power, terms)
            scale = self._scale(self._diagonal, power, count)
            self._add(self._diagonal, terms, self._ones, scale, np.zeros(count, dtype=bool))
        right, shift = self._lowered(self._right, self._trajectory.state_exponent.get(t), shift)
        if self._samples:
            shift, squares = samples_as_cases(shift, dz), None
            dz, right = by_sample(dz), right.reshape(-1, 1, right.shape[-1])
        spared = np.zeros(count, dtype=bool)
        scale = self._scale(sums, shift, count)
        if squares is not None and self.seeks_spared(t):
            spared = sums.unmoved_by(views.log2_norms(*squares) + self._log2_size(), t % REFRESH == 0)
            self._sparing = bool(spared.any())
        self._add(sums, dz, right, scale, spared)

    def _lowered(self, factor: Array, size: Array | None, shift: Array | None) -> tuple[Array, Array | None]:
        """Scale a factor of the terms down by the powers of two `size`, (case,), and that of the terms up."""
        if size is None:
            return factor, shift
        if shift is None:
            shift = np.zeros((self._views.count, 1, 1), dtype=np.int64)
        return ldexp(factor, -size[:, None, None]), shift + size[:, None]

    def _scale(self, sums: Sums, shift: Array | None, count: int) -> Array | None:
        mantissa = self._views.mantissa
        factor = None if mantissa is None else mantissa[:count]
        scale = sums.scales(None if shift is None else shift[:count], factor)
        return None if scale is None else scale.astype(sums.total.dtype, copy=False)

    def _add(
        self,
        sums: Sums,
        terms: Array,
        right: Array,
        scale: Array | None,
        spared: Array,
    ) -> None:
        # What has not been near the end of the range needs no pass: its scale is one throughout.
        plain = np.ones(len(spared), dtype=bool) if scale is None else (scale == 1.0).all(axis=(1, 2))
        for v in np.flatnonzero(~spared).tolist():
            left = terms[:, self._views.lane[v]]
            if scale is not None and not plain[v]:
                out = scratch("scaled dz", left.shape, left.dtype)
                left = np.multiply(left, scale[v][:, None, :], out=out)
            sums.add(v, left, right)

    def collect_view(self, view: int) -> ScaledGradient:
        """Return a view's gradient by ``[W U b]`` and by the elementwise parameters; summed over samples."""
        stack = self._stack
        blocks = [(to_parameters(stack.cell, self._affine.by_case(view), stack.fed_back), self._affine)]
        if self._diagonal is not None:
            blocks.append((self._diagonal.by_case(view), self._diagonal))
        return ScaledGradient.of((mantissa, sums.exponent[view]) for mantissa, sums in blocks)

    def _log2_size(self) -> Array:
        """Return log2 of a bound on the norm over the batch of every row of ``[h; x; 1]``, by case."""
        largest = np.maximum(self._right.max(axis=(1, 2)), -self._right.min(axis=(1, 2)))
        return np.asarray(np.log2(largest.astype(np.float64)) + 0.5 * np.log2(self._right.shape[1]))


def by_sample(terms: Array) -> Array:
    """Return (block, lane, case, hidden, batch) with every sample as a case of its own."""
    block, lane, case, hidden, batch = terms.shape
    return terms.swapaxes(-1, -2).reshape(block, lane, case * batch, hidden, 1)


def samples_as_cases(shift: Array | None, terms: Array) -> Array | None:
    """Return powers of two that broadcast to (view, case, batch) with every sample as a case of its own.

    `terms` are (..., case, hidden, batch).
    """
    if shift is None:
        return None
    case, batch = terms.shape[-3], terms.shape[-1]
    return np.broadcast_to(shift, (len(shift), case, batch)).reshape(len(shift), case * batch, 1)


def to_parameters(cell: AbstractCell, gradient: Array, fed_back: int) -> Array:
    """Return the gradient by the parameters of a cell, given that by all entries of ``[W U b]``.

    Parameters
    ----------
    cell : AbstractCell
        What it says of its blocks, its mask and its ties.
    gradient : array of shape (..., rows, fed back + features + 1)
        By every entry of the matrix that is multiplied; changed in place.
    fed_back : int
        Columns of recurrent weights.
    """
    blocks, first, fed = len(cell.row_blocks), len(cell.recurrent_blocks), cell.fed_blocks
    n = gradient.shape[-2] // blocks
    rows = [slice(block * n, (block + 1) * n) for block in range(blocks)]
    mask = cell.mask(n) if first else None
    for block in range(blocks):
        if not fed[block]:
            gradient[..., rows[block], fed_back:-1] = 0.0
        recurrent = gradient[..., rows[block], :fed_back]
        if block >= first:
            recurrent[...] = 0.0
        else:
            recurrent[...] = tied(cell, mask, recurrent)
    return gradient


def tied(cell: AbstractCell, mask: Array | None, gradient: Array) -> Array:
    """Return the gradient by the matrix drawn, (..., hidden, fed back), given that by what multiplies."""
    own = cell.tie(gradient)
    return own if mask is None else own * mask


def is_structured(cell: AbstractCell, hidden: int) -> bool:
    """Whether some entries of a recurrent matrix are no parameters of their own."""
    return type(cell).tie is not AbstractCell.tie or cell.mask(hidden) is not None
