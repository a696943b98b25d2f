"""What learners that go forward in time share: a time step's derivatives, and sums of what they add.

Every cell gives them without a contract of its own: its backward pass, given the unit vectors of the
new state as adjoints, is its Jacobian. Units that do not see each other's old states elementwise (see
`AbstractCell.partners`) share one such adjoint.

Arrays stand as (case, batch, unit): what is multiplied with a matrix has the same shape whatever other
cases are computed with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradlab.core.scaled import ldexp, window
from gradlab.learning.gradients import to_parameters
from gradlab.learning.learners._base import Array, Work
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.stack import Feedback, Stack
from gradlab.network.settings import NetworkSettings


def parameter_count(network: NetworkSettings, task: Any) -> int:
    """Return how many parameters the state of a network of one layer depends on."""
    cell, n, features = network.cell, network.hidden, network.embedding or task.features
    fed_back = n if cell.feeds_back == "state" else task.n_outputs
    each = len(cell.recurrent_blocks) * fed_back + sum(cell.fed_blocks) * features
    each += len(cell.row_blocks) + len(cell.diagonals)
    return n * each + (0 if cell.feeds_back == "state" else fed_back * (n + 1))


def shifted(array: Array, shift: Array) -> Array:
    """Return ``array * 2 ** shift``; `shift` has the leading axes of `array`."""
    if not shift.any():
        return array
    return ldexp(array, shift.reshape(shift.shape + (1,) * (array.ndim - shift.ndim)))


class Entries:
    """The parameters of a layer as one vector: unit after unit, and a readout that is fed back last.

    A parameter of a unit moves the state of that unit alone within its time step.

    Parameters
    ----------
    stack : Stack
        The layer.

    Attributes
    ----------
    each, own, size : int
        Parameters of one unit, of all units, and of all units and the readout.
    columns : list of (slice, index array)
        For every row block where it stands among the parameters of a unit, and which columns of
        ``[W U b]`` it has.
    """

    def __init__(self, stack: Stack):
        self.stack = stack
        cell, n, m, width = stack.cell, stack.hidden, stack.fed_back, stack.affine.shape[2]
        self.columns: list[tuple[slice, Array]] = []
        at = 0
        for block, fed in enumerate(cell.fed_blocks):
            seen = np.r_[
                : m if block < stack.recurrent else 0, m if fed else width - 1 : width - 1, width - 1
            ]
            self.columns.append((slice(at, at + len(seen)), seen))
            at += len(seen)
        self.diagonals = range(at, at + len(cell.diagonals))
        self.each = at + len(cell.diagonals)
        self.own = n * self.each
        self.outputs = m if stack.feedback is not None else 0
        self.size = self.own + self.outputs * (n + 1)

    def gradient(self, vector: Array, exponent: Array) -> ScaledGradient:
        """Return a gradient by the parameters, given as a vector (case, size) with powers of two (case,)."""
        stack, cases = self.stack, len(vector)
        blocks, n = len(self.columns), stack.hidden
        by_unit = vector[:, : self.own].reshape(cases, n, self.each)
        affine = np.zeros((cases, blocks, n, stack.affine.shape[2]), vector.dtype)
        for block, (place, seen) in enumerate(self.columns):
            affine[:, block, :, seen] = by_unit[:, :, place].transpose(2, 0, 1)
        parts = [to_parameters(stack.cell, affine.reshape(stack.affine.shape), stack.fed_back)]
        if self.diagonals:
            own = by_unit[:, :, self.diagonals.start :].transpose(0, 2, 1)
            parts.append(np.ascontiguousarray(own).reshape(cases, -1, 1))
        if self.outputs:
            parts.append(vector[:, self.own :].reshape(cases, self.outputs, n + 1))
        return ScaledGradient(tuple(parts), (exponent,) * len(parts))


@dataclass
class Local:
    """The derivatives of one time step.

    Attributes
    ----------
    by_z : array of shape (part, block, case, batch, hidden)
        Of every state part of a unit by the unit's pre-activations.
    by_old : array of shape (part, member, part, case, batch, hidden)
        ``[p, k, q, ..., j]``: of part `p` of the k-th partner of unit `j` by the old part `q` of unit
        `j`, past the matrix.
    immediate : array of shape (part, case, batch, hidden, each)
        Of every state part of a unit by the unit's own parameters.
    by_output : array of shape (block, case, batch, hidden, outputs), or None
        Where an output was fed back: of the pre-activations by the readout's sums before that step.
    seen : array of shape (case, batch, hidden + 1), or None
        ``[h; 1]`` from which those were formed, with the powers of two of `immediate`.
    exponent, immediate_exponent : integer arrays of shape (case,)
        Powers of two of `by_z` and `by_old`, and of `immediate` and what `by_readout` returns.
    """

    by_z: Array
    by_old: Array
    immediate: Array
    by_output: Array | None
    seen: Array | None
    exponent: Array
    immediate_exponent: Array

    def by_readout(self) -> Array | None:
        """Return the immediate derivatives by a readout that is fed back.

        Of every unit's state by the readout's entries, (case, batch, hidden, outputs, hidden + 1); None
        where nothing was fed back.
        """
        if self.by_output is None or self.seen is None:
            return None
        outputs = (self.by_z[0][..., None] * self.by_output).sum(axis=0)
        return np.asarray(outputs[..., None] * self.seen[:, :, None, None, :])

    def through_weights(self, recurrent: Array, feedback: Feedback | None) -> Array:
        """Return the derivatives of the pre-activations by the old state.

        `recurrent` is (block, case, hidden, fed back); the result (block, case, batch or 1, hidden, hidden).
        """
        if feedback is None:
            return recurrent[:, :, None]
        if self.by_output is None:
            return np.zeros(
                (*recurrent.shape[:2], 1, recurrent.shape[2], recurrent.shape[2]), recurrent.dtype
            )
        return np.asarray(np.matmul(self.by_output, feedback.readout[:, None, :, :-1]))


class Walk:
    """The time steps of a trajectory in order, with their derivatives.

    Parameters
    ----------
    work : Work
        A network of one layer and direction.
    """

    def __init__(self, work: Work):
        self.work = work
        (self.trajectory,) = work.layers.top
        self.stack = stack = self.trajectory.stack
        self.entries = Entries(stack)
        self.parts = len(stack.cell.state_parts)
        cases, n, batch, self.dtype = len(stack.affine), stack.hidden, stack.batch, stack.affine.dtype
        self.shape = cases, batch, n
        #: Groups of units, and for every unit where it stands in its own.
        self.partners = stack.cell.partners(n)
        members = self.partners.shape[1]
        self.member = np.empty(n, dtype=np.int64)
        self.member[self.partners] = np.arange(members)
        #: For every unit all members of its group, itself among them; (hidden, members).
        self.group = np.empty((n, members), dtype=np.int64)
        self.group[self.partners] = self.partners[:, None]
        lanes = self.parts * members
        self._units = np.zeros((self.parts, self.parts, members, 1, n, 1), self.dtype)
        for p in range(self.parts):
            for k in range(members):
                self._units[p, p, k, :, self.partners[:, k]] = 1.0
        self._units = self._units.reshape(self.parts, lanes, 1, n, 1)
        blocks, width = stack.affine.shape[1] // n, stack.affine.shape[2]
        self._adjoint = np.empty((self.parts, lanes, cases, n, batch), self.dtype)
        self._dz = np.empty((blocks, lanes, cases, n, batch), self.dtype)
        self._immediate = np.empty((self.parts, *self.shape, self.entries.each), self.dtype)
        by_block = stack.affine.reshape(cases, blocks, n, width)[:, : stack.recurrent, :, : stack.fed_back]
        #: Recurrent weights, (block, case, hidden, fed back).
        self.recurrent = np.ascontiguousarray(by_block.transpose(1, 0, 2, 3))
        #: Which recurrent weights there are, (hidden, fed back); None: all.
        self._mask = stack.cell.mask(n) if stack.recurrent else None

    def __iter__(self) -> Iterator[tuple[int, Local]]:
        """Yield every time step up to the last one where the loss looks."""
        last = self.work.lane.looks[-1]
        for start, stop in self.work.layers.segments(0, last, forward=True):
            for t in range(start, min(stop, last + 1)):
                yield t, self._local(t)

    def _local(self, t: int) -> Local:
        """Return the derivatives of time step `t`, whose stretch is held."""
        stack, trajectory, parts = self.stack, self.trajectory, self.parts
        cell, local, dz = stack.cell, trajectory.local(t), self._dz
        np.copyto(self._adjoint, self._units)
        room = self._room(t)
        if room.any():  # very large derivatives are met by small adjoints
            ldexp(self._adjoint, -room[:, None, None], out=self._adjoint)
        adjoint = list(self._adjoint)
        cell.complete(stack.diagonal, local, adjoint)
        cell.backward(t, stack.diagonal, local, adjoint, dz)
        if not cell.direct:
            adjoint[0][...] = 0.0
        members, blocks = self.partners.shape[1], len(dz)
        by_z = self._sorted(dz).sum(axis=1) if members > 1 else self._sorted(dz)[:, 0]
        by_old = self._sorted(self._adjoint).reshape(parts, members, parts, *self.shape)
        right, right_exponent = self._right(t)
        immediate = self._immediate
        for block in range(blocks):
            place, seen = self.entries.columns[block]
            own = immediate[..., place]
            np.multiply(by_z[:, block, ..., None], right[:, :, None, seen], out=own)
            if self._mask is not None and block < stack.recurrent:
                own[..., : stack.fed_back] *= self._mask
        if cell.diagonals:
            terms = np.empty((len(cell.diagonals), *dz.shape[1:]), self.dtype)
            cell.diagonal_gradient(local, dz, terms)
            by_diagonal = self._sorted(terms).sum(axis=1)
            if right_exponent.any():
                by_diagonal = ldexp(by_diagonal, -right_exponent[:, None, None])
            immediate[..., self.entries.diagonals.start :] = np.moveaxis(by_diagonal, 1, -1)
        by_output, state = self._through_output(t, right_exponent)
        found = Local(by_z, by_old, immediate, by_output, state, room, room + right_exponent)
        return self._in_range(found) if room.any() else found

    def _room(self, t: int) -> Array:
        """Return the powers of two by which adjoints must be scaled down before they meet a time step."""
        size = self.trajectory.local_exponent.get(t)
        if size is None:
            return np.zeros(len(self.stack.affine), dtype=np.int64)
        room = np.maximum(size - window(self.dtype).product, 0)
        if self.stack.cell.diagonals:  # whose gradient is a derivative times a state, both of that size
            reach = np.finfo(self.dtype).maxexp - 24
            room = np.maximum(room, np.minimum(2 * size - reach, reach))
        return np.asarray(room)

    def _in_range(self, local: Local) -> Local:
        """Bring the derivatives by pre-activations and old states back to the middle of the range."""
        axes = (0, 1, 3, 4), (0, 1, 2, 4, 5)
        peaks = [np.abs(a).max(axis=x) for a, x in zip((local.by_z, local.by_old), axes, strict=True)]
        peak = np.maximum(*peaks)
        power = np.where(peak > 0, np.frexp(peak)[1], 0)
        return replace(
            local,
            by_z=ldexp(local.by_z, -power[:, None, None]),
            by_old=ldexp(local.by_old, -power[:, None, None]),
            exponent=local.exponent + power,
        )

    def _sorted(self, lanes: Array) -> Array:
        """Bring (x, part and member, case, hidden, batch) to (part, member, x, case, batch, hidden)."""
        ordered = lanes.transpose(1, 0, 2, 4, 3)
        return np.ascontiguousarray(ordered).reshape(self.parts, -1, len(lanes), *self.shape)

    def _right(self, t: int) -> tuple[Array, Array]:
        """Return ``[h; x; 1]`` before time step `t`, (case, batch, width), with its powers of two."""
        right = np.ascontiguousarray(self.trajectory.affine_input(t).transpose(0, 2, 1))
        size = self.trajectory.state_exponent.get(t)
        if size is None:
            return right, np.zeros(len(right), dtype=np.int64)
        return ldexp(right, -size[:, None, None]), size

    def _through_output(self, t: int, exponent: Array) -> tuple[Array | None, Array | None]:
        """Return what time step `t` sees of the readout's sums, and the state that these are of."""
        feedback = self.stack.feedback
        if feedback is None or t == 0:  # before the first time step nothing was fed back
            return None, None
        state = self.trajectory.state(t - 1)
        # Rows of W as adjoints of the output: (block, hidden, case, outputs, 1).
        rows = self.recurrent.transpose(0, 2, 1, 3)[..., None]
        shape = (*rows.shape[:-1], self.stack.batch)
        pulled = feedback.output.pull(feedback.before(state), np.broadcast_to(rows, shape))
        seen = np.concatenate([state, np.ones_like(state[:, :1])], axis=1).transpose(0, 2, 1)
        return np.ascontiguousarray(pulled.transpose(0, 2, 4, 1, 3)), shifted(seen, -exponent)
