"""Backpropagation through time: the engine that drives every cell.

Notation
    ``dh`` adjoint of the hidden state, ``dz`` of the pre-activations, ``W`` recurrent weights;
    adjoints are per sample (of that sample's own loss) and stand as ``mantissa * 2 ** exponent``.

At every time step, from the last one where the loss looks down to the first::

    dh += V^T dloss/do            where the loss looks
    clip entries of dh            lanes whose rule says so
    tap |dh|, rescale samples     views whose rule says so
    dz  = cell.backward(dh)
    dA += dz [h; x; 1]^T          the gradient of A = [W U b]
    dh  = W^T dz

Lanes are backward passes over one forward pass; the views of a lane differ from it only by a
factor for each sample (see `AbstractClip.rescales_samples`), so they share its matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import DEAD, renormalise, window
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.gradient import ScaledGradient
from gradlab.learning.gradients import Gradients
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

#: ``look(t, h)`` gives each sample's loss (case, batch) and its slope by the output (case, outputs, batch).
Look = Callable[[int, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Lane:
    """One backward pass.

    Parameters
    ----------
    looks : sequence of int
        Time steps where the loss looks, ascending.
    look : callable
        The loss and its slope there.
    readout : array of shape (case, outputs, hidden + 1), or None
        ``[V b]``; None where the slope is that by the hidden state itself.
    clip : AbstractClip
        Rule applied to the entries of the adjoint.
    views : tuple of AbstractClip
        Rules that rescale samples; a lane that looks more than once has exactly one.
    """

    looks: Sequence[int]
    look: Look
    readout: Array | None
    clip: AbstractClip
    views: tuple[AbstractClip, ...]


@dataclass
class Backward:
    """What one backward pass over all lanes gives.

    Attributes
    ----------
    loss : array of shape (lane, case, batch)
        Loss of every sample, summed over the steps where it looks.
    gradients : list of list of ScaledGradient
        For every lane and view the gradient of [W U b] and [V b]; summed over samples. Empty where
        gradients were not asked for.
    overflow : integer array of shape (lane, case)
        First time step at which the loss itself was not finite, or -1.
    """

    loss: Array
    overflow: Array
    gradients: list[list[ScaledGradient]] = field(default_factory=list)


class _Pass:
    """The state of a backward pass: adjoints of the active lanes and what is summed on the way."""

    def __init__(
        self, trajectory: Trajectory, lanes: Sequence[Lane], taps: Taps, gradients: bool, workspace: Workspace
    ):
        stack = trajectory.stack
        cases, rows, _ = stack.affine.shape
        n, batch, dtype = stack.hidden, stack.batch, stack.affine.dtype
        count = len(lanes)
        self.trajectory, self.stack, self.lanes, self.taps = trajectory, stack, lanes, taps
        shape = (count, cases, n, batch)
        self.adjoint = [workspace.take(f"adjoint {p}", shape, dtype) for p in stack.cell.state_parts]
        blocks = rows // n
        self._dz = workspace.take("dz", (count * blocks, cases, n, batch), dtype)
        self._handed = workspace.take(
            "handed back", (count * blocks if blocks > 1 else 0, cases, n, batch), dtype
        )
        self._squared = workspace.take("squared", shape, dtype)
        self.blocks = blocks
        self.exponent = np.zeros((count, cases, batch), dtype=np.int64)
        self.dead = np.zeros(self.exponent.shape, dtype=bool)  # samples whose adjoint is exactly zero
        self.shifted = False  # whether any exponent of an active lane differs from zero
        self.views = Views([lane.views for lane in lanes], cases, batch)
        weights = stack.affine[:, :, :n].reshape(cases, blocks, n, n)
        self.transposed = np.ascontiguousarray(weights.transpose(1, 0, 3, 2))[:, None]
        self.ones = np.ones((1, n), dtype=dtype)
        self.entry_lanes = [i for i, lane in enumerate(lanes) if lane.clip.changes_entries]
        self.result = Backward(np.zeros((count, cases, batch)), np.full((count, cases), -1, dtype=np.int64))
        self.range = window(dtype).adjoint
        self.low, self.high = np.ldexp(1.0, -2 * self.range), np.ldexp(1.0, 2 * self.range)
        readouts = [lane.readout for lane in lanes]
        self.gradients = Gradients(trajectory, readouts, self.views, workspace) if gradients else None

    def look(self, i: int, t: int) -> None:
        """Add to lane `i` what its loss sends back at time `t`."""
        lane = self.lanes[i]
        state = self.trajectory.state(t)
        loss, slope = lane.look(t, state)
        finite = np.asarray(np.isfinite(loss).all(axis=-1) & np.isfinite(slope).all(axis=(1, 2)))
        self.result.overflow[i][~finite & (self.result.overflow[i] < 0)] = t
        slope = np.where(finite[:, None, None], slope, 0.0).astype(self.stack.affine.dtype)
        self.result.loss[i] += loss
        peak = np.abs(slope).max(axis=1)
        size = np.frexp(peak)[1].astype(np.int64)
        size[np.abs(size) < self.range // 2] = 0
        size[peak == 0] = DEAD
        if size.any():
            slope = np.where(slope == 0, slope, np.ldexp(slope, -size[:, None, :]))
        if lane.readout is None:
            injection = slope
        else:
            n = self.stack.hidden
            injection = np.matmul(lane.readout[:, :, :n].transpose(0, 2, 1), slope)
            if self.gradients is not None:
                self.gradients.add_readout(i, t, slope, state, size)
        if t == lane.looks[-1]:
            for part in self.adjoint:
                part[i] = 0.0
            self.adjoint[0][i] = injection
            self.exponent[i] = size
        else:
            self._inject(i, injection, size)
        self.dead[i] = False
        self.shifted = self.shifted or bool(self.exponent[i].any())

    def _inject(self, i: int, injection: Array, size: Array) -> None:
        """Add an injection to an adjoint already under way, its view's factor folded in first."""
        self.views.fold(i, [part[i] for part in self.adjoint], self.exponent[i])
        if self.exponent[i].any() or size.any():
            arriving = np.where((injection != 0).any(axis=1), size, DEAD)
            present = np.logical_or.reduce([(part[i] != 0).any(axis=1) for part in self.adjoint])
            under_way = np.where(present, self.exponent[i], DEAD)
            top = np.maximum(arriving, under_way)
            for part in self.adjoint:
                part[i] = np.ldexp(part[i], np.where(present, self.exponent[i] - top, 0)[:, None, :])
            injection = np.ldexp(injection, np.where(arriving > DEAD, size - top, 0)[:, None, :])
            self.exponent[i] = top
        self.adjoint[0][i] += injection

    def sample_squares(self, array: Array) -> Array:
        """Return the sum of squares of every sample: (lane, case, hidden, batch) to (lane, case, batch)."""
        squared = np.multiply(array, array, out=self._squared[: len(array)])
        return np.asarray(np.matmul(self.ones, squared)[..., 0, :])

    def adjoint_squares(self, active: int) -> Array:
        """Return the sum of squares of dh, renormalising whatever nears the end of the range."""
        parts = [part[:active] for part in self.adjoint]
        squares = [self.sample_squares(part) for part in parts]
        total = squares[0] if len(squares) == 1 else squares[0] + squares[1]
        flat = total.reshape(-1)
        if np.minimum.reduce(flat) >= self.low and np.maximum.reduce(flat) <= self.high:
            return squares[0]
        astray = (~((total >= self.low) & (total <= self.high)) & ~self.dead[:active]).any(axis=-1)
        if not astray.any():
            return squares[0]
        renormalise(parts, self.exponent[:active], astray)
        self.shifted = True
        squares = [self.sample_squares(part) for part in parts]
        dead = np.logical_and.reduce([values == 0 for values in squares])
        self.dead[:active] = dead
        self.exponent[:active][dead] = DEAD
        return squares[0]

    def make_room(self, t: int, active: int) -> Array:
        """Scale the adjoints of cases down before they meet very large local derivatives."""
        size = self.trajectory.local_exponent[t] - window(self.stack.affine.dtype).product
        room = np.maximum(size, 0)
        parts = [part[:active] for part in self.adjoint]
        renormalise(
            parts, self.exponent[:active], np.broadcast_to(room > 0, self.exponent.shape[:2])[:active]
        )
        for part in parts:
            np.ldexp(part, -room[:, None, None], out=part)
        self.exponent[:active] += room[:, None]
        self.shifted = True
        return self.exponent

    def rescale(self, active: int, squares: Array) -> None:
        """Let the views' rules look at the norms of the adjoint."""
        total = squares
        for part in self.adjoint[1:]:
            total = total + self.sample_squares(part[:active])
        self.views.update(total, self.exponent[:active])

    def step(self, t: int, active: int) -> None:
        """Go back over time step `t`."""
        taps, cell = self.taps, self.stack.cell
        for i in self.entry_lanes:
            if i < active:
                for part in self.adjoint:
                    self.lanes[i].clip.clip_entries(part[i], self.exponent[i])
        squares = self.adjoint_squares(active)
        if self.views.mantissa is not None:
            self.rescale(active, squares)
        exponent = self.exponent if self.shifted else None
        taps.put("state", t, squares, exponent, self.views)
        local = self.trajectory.local(t)
        exponent = self.make_room(t, active) if t in self.trajectory.local_exponent else exponent
        adjoint = [part[:active] for part in self.adjoint]
        dz = self._dz[: active * self.blocks].reshape(self.blocks, *adjoint[0].shape)
        cell.complete(local, adjoint)
        if taps.wants("memory") and len(adjoint) > 1:
            taps.put("memory", t, self.sample_squares(adjoint[1]), exponent, self.views)
        cell.backward(local, adjoint, dz)
        known = None
        if taps.wants("preactivation") or taps.wants("weight") or (self.gradients and self.shifted):
            seen, squares, power = self.presentable(dz, exponent, active)
            taps.put("preactivation", t, squares, power, self.views)
            if taps.wants("weight"):
                taps.put_weight(t, seen, self.trajectory, power, self.views)
            known = (squares, power[:active]) if self.shifted and power is not None else None
        if self.gradients is not None:
            self.gradients.add(t, dz, self.exponent[:active] if self.shifted else None, known)
        if t > 0:
            self.hand_back(dz, adjoint[0])

    def presentable(
        self, dz: Array, exponent: Array | None, active: int
    ) -> tuple[Array, Array, Array | None]:
        """Return `dz` as the taps can square it: its sums of squares, and its powers of two.

        Local derivatives may be so small, or large, that squares of `dz` leave the range although
        `dz` itself does not; such cases are shown to the taps on another scale.
        """
        squares = self.sample_squares(dz[0])
        for block in dz[1:]:
            squares = squares + self.sample_squares(block)
        bound = window(dz.dtype).square
        low, high = np.ldexp(1.0, -bound), np.ldexp(1.0, bound)
        flat = squares.reshape(-1)
        if np.minimum.reduce(flat) >= low and np.maximum.reduce(flat) <= high:
            return dz, squares, exponent
        odd = (~((squares >= low) & (squares <= high)) & ~self.dead[:active]).any(axis=-1)
        if not odd.any():
            return dz, squares, exponent
        lane, case = np.nonzero(odd)
        chosen = dz[:, lane, case]
        peak, power = np.abs(chosen).max(axis=(0, 2)), self.exponent[:active].copy()
        shift = np.where(peak > 0, np.frexp(peak)[1], 0)
        seen = dz.copy()
        seen[:, lane, case] = np.ldexp(chosen, -shift[None, :, None, :])
        power[lane, case] = np.where(peak > 0, power[lane, case] + shift, DEAD)
        squares = np.add.reduce([self.sample_squares(block) for block in seen])
        return seen, squares, power

    def hand_back(self, dz: Array, out: Array) -> None:
        """``dh = W^T dz``, summed over the row blocks."""
        if self.blocks == 1:
            np.matmul(self.transposed[0], dz[0], out=out)
            return
        parts = self._handed[: len(self._handed) * len(out) // len(self.lanes)].reshape(dz.shape)
        np.matmul(self.transposed, dz, out=parts)
        np.add(parts[0], parts[1], out=out)
        for part in parts[2:]:
            np.add(out, part, out=out)

    def finish(self) -> Backward:
        """Collect the gradients."""
        if self.gradients is not None:
            self.result.gradients = self.gradients.collect()
        return self.result


def backpropagate(
    trajectory: Trajectory, lanes: Sequence[Lane], taps: Taps, *, gradients: bool, workspace: Workspace
) -> Backward:
    """Run all lanes back over a trajectory.

    Parameters
    ----------
    trajectory : Trajectory
        A forward pass that has been run.
    lanes : sequence of Lane
        Sorted by their last look, latest first.
    taps : Taps
        Where norms are recorded on the way.
    gradients : bool
        Form the parameter gradients (the trajectory must keep states).
    workspace : Workspace
        Where the buffers live.
    """
    run = _Pass(trajectory, lanes, taps, gradients, workspace)
    last = [lane.looks[-1] for lane in lanes]
    looked = [lane.looks if isinstance(lane.looks, range) else set(lane.looks) for lane in lanes]
    active = 0
    for start, stop in trajectory.segments():
        for t in range(stop - 1, start - 1, -1):
            while active < len(lanes) and last[active] >= t:
                active += 1
            if active == 0:
                continue
            for i in range(active):
                if t in looked[i]:
                    run.look(i, t)
            run.step(t, active)
        taps.reduce(start, stop, active)
    return run.finish()
