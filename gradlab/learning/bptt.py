"""Backpropagation through time: the engine that drives every cell.

Notation
    ``dh`` adjoint of the hidden state, ``dz`` of the pre-activations, ``W`` recurrent weights;
    adjoints are per sample (of that sample's own loss) and stand as ``mantissa * 2 ** exponent``.

At every time step, from the last one where the loss looks down to the first::

    dh += what arrives          from the loss, or from the layer above
    clip entries of dh          lanes whose rule says so
    tap |dh|, rescale samples   views whose rule says so
    dz  = cell.backward(dh)
    dA += dz [h; x; 1]^T        the gradient of A = [W U b]
    U^T dz                      goes to the layer below
    dh  = W^T dz                and what the cell passes on elementwise

Lanes are backward passes over one forward pass; the views of a lane differ from it only by a
factor for each sample (see `AbstractClip.rescales_samples`), so they share its matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.products import product
from gradlab.core.scaled import DEAD, add_scaled, largest_of, ldexp, renormalise, window
from gradlab.learning.gradients import Gradients
from gradlab.learning.paths import Paths, squares_of
from gradlab.learning.sources import HandedDown, Lane, Losses, Source
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]
#: ``watch(t, dz, exponent)`` sees adjoints of pre-activations, (block, lane, case, hidden, batch), and
#: their powers of two, (lane, case, batch), at every time step.
Watch = Callable[[int, Array, Array], None]


class Pass:
    """Back over one layer in one direction: the adjoints of its lanes and what is summed on the way.

    Parameters
    ----------
    trajectory : Trajectory
        The forward pass, in its own time.
    direction : int
        0 forward; 1 reverse: time step `t` of the trajectory is `length` - 1 - `t` of the sequence.
    lanes : sequence of (int, Lane)
        The lanes in the trajectory's own time with their numbers, sorted by last look, latest first.
    source : Source
        What arrives from outside.
    below : HandedDown, optional
        Where the adjoints of the inputs go.
    losses : Losses, optional
        For a cell that feeds its output back: whose readout that is.
    folds : bool
        Fold the factors of views into the adjoints at every step: the layer below, or a readout
        that is fed back, must see them.
    taps : Taps
        Where norms are recorded.
    gradients : bool
        Form the parameter gradients.
    samples : bool
        Keep every sample's parameter gradient for itself.
    workspace : Workspace
        Where the buffers live.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        direction: int,
        lanes: Sequence[tuple[int, Lane]],
        source: Source,
        below: HandedDown | None,
        losses: Losses | None,
        folds: bool,
        taps: Taps,
        gradients: bool,
        samples: bool,
        workspace: Workspace,
    ):
        stack = trajectory.stack
        self.trajectory, self.stack, self.direction, self.taps = trajectory, stack, direction, taps
        self.numbers, self.lanes = [number for number, _ in lanes], [lane for _, lane in lanes]
        self.source, self.below, self.losses, self.folds = source, below, losses, folds
        self.last = [lane.looks[-1] for lane in self.lanes]
        self.earliest = [lane.earliest for lane in self.lanes]
        self.looked = [
            lane.looks if isinstance(lane.looks, range) else frozenset(lane.looks) for lane in self.lanes
        ]
        self.views = Views([lane.views for lane in self.lanes], len(stack.affine), stack.batch)
        self.entry_lanes = [i for i, lane in enumerate(self.lanes) if lane.clip.changes_entries]
        self.active = 0
        self.watch: Watch | None = None
        self.acted: Array | None = None  # (lane, case), where that is asked for: whether entries were clipped
        self._take_buffers(workspace)
        self.gradients = Gradients(trajectory, self.views, workspace, samples) if gradients else None
        self.paths = Paths(stack, len(self.lanes), workspace) if taps.wants("path") else None
        self.heard = bool(taps.records) or gradients or below is not None

    def _take_buffers(self, workspace: Workspace) -> None:
        stack, count = self.stack, len(self.lanes)
        cases, rows, width = stack.affine.shape
        n, m, batch, dtype = stack.hidden, stack.fed_back, stack.batch, stack.affine.dtype
        shape = (count, cases, n, batch)
        self.adjoint = [workspace.take(f"adjoint {p}", shape, dtype) for p in stack.cell.state_parts]
        self.blocks = rows // n
        self._dz = workspace.take("dz", (count * self.blocks, cases, n, batch), dtype)
        beside = stack.recurrent > 1 or stack.cell.direct or stack.feedback is not None
        handed = (count * max(stack.recurrent, 1) if beside else 0, cases, m, batch)
        self._handed = workspace.take("handed back", handed, dtype)
        self._squared = workspace.take("squared", shape, dtype)
        self.exponent = np.zeros((count, cases, batch), dtype=np.int64)
        self.dead = np.zeros(self.exponent.shape, dtype=bool)  # samples whose adjoint is exactly zero
        self.shifted = False  # whether any exponent of an active lane differs from zero
        weights = stack.affine.reshape(cases, self.blocks, n, width).transpose(1, 0, 3, 2)
        self.transposed = np.ascontiguousarray(weights[: stack.recurrent, :, :m])[:, None]
        self.upward = np.ascontiguousarray(weights[:, :, m:-1] if self.below else weights[:0])[:, None]
        inputs = (count if self.below and self.blocks > 1 else 0, cases, self.upward.shape[-2], batch)
        self._to_inputs = workspace.take("to inputs", inputs, dtype)
        self.ones = np.ones((1, n), dtype=dtype)
        self.range = window(dtype).adjoint
        # What comes of the local derivatives meets the weights: large ones leave them less room.
        largest = max(largest_of(self.transposed), largest_of(self.upward))
        room = np.finfo(dtype).maxexp - 4 * self.range - int(np.frexp(largest)[1])
        self.product = min(window(dtype).product, room)
        self.low, self.high = np.ldexp(1.0, -2 * self.range), np.ldexp(1.0, 2 * self.range)
        bound = window(dtype).square
        self.presented = np.ldexp(1.0, -bound), np.ldexp(1.0, bound)  # squares that the taps can take

    def back(self, start: int, stop: int) -> None:
        """Go back over the stretch of time steps `start` to `stop`, which is on the tape."""
        for t in range(stop - 1, max(start, min(self.earliest)) - 1, -1):
            while self.active < len(self.lanes) and self.last[self.active] >= t:
                self.active += 1
            if self.active == 0:
                continue
            for i in range(self.active):
                if t >= self.earliest[i] and t in self.looked[i]:
                    self.look(i, t)
            if self.heard:
                self.step(t, self.active)
        self.taps.reduce(start, stop, self.active)

    def when(self, t: int) -> int:
        """Return the time step of the sequence that is `t` in the trajectory's own time."""
        return self.stack.length - 1 - t if self.direction else t

    def look(self, i: int, t: int) -> None:
        """Add to lane `i` what arrives at time `t`."""
        injection, size = self.source.arriving(self.numbers[i], self.when(t), self.direction)
        if self.paths is not None:
            first = t == self.last[i]
            before = None if first else (self.adjoint[0][i], self.exponent[i])
            self.paths.arrive(i, self.trajectory.local(t), injection, size, before)
        if t == self.last[i]:
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
        add_scaled([part[i] for part in self.adjoint], self.exponent[i], injection, size)

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
        brought_back = renormalise(parts, self.exponent[:active], astray)
        self.shifted = True
        for known, chosen in zip(squares, brought_back, strict=True):
            known[astray] = np.matmul(self.ones, chosen * chosen)[..., 0, :]
        dead = np.logical_and.reduce([values == 0 for values in squares])
        self.dead[:active] = dead
        self.exponent[:active][dead] = DEAD
        return squares[0]

    def make_room(self, t: int, active: int) -> Array:
        """Scale the adjoints of cases down before they meet very large local derivatives."""
        size = self.trajectory.local_exponent[t] - self.product
        room = np.maximum(size, 0)
        parts = [part[:active] for part in self.adjoint]
        renormalise(
            parts, self.exponent[:active], np.broadcast_to(room > 0, self.exponent.shape[:2])[:active]
        )
        for part in parts:
            ldexp(part, -room[:, None, None], out=part)
        self.exponent[:active] += room[:, None]
        self.shifted = True
        return self.exponent

    def rescale(self, active: int, squares: Array) -> None:
        """Let the views' rules look at the norms of the adjoint."""
        total = squares
        for part in self.adjoint[1:]:
            total = total + self.sample_squares(part[:active])
        self.views.update(total, self.exponent[:active])

    def fold(self, active: int) -> Array:
        """Fold the factors of the views into the adjoints of their lanes; return the squares of dh anew."""
        for i in np.flatnonzero(self.views.rescaled[:active]).tolist():
            self.views.fold(i, [part[i] for part in self.adjoint], self.exponent[i])
        self.shifted = self.shifted or bool(self.exponent[:active].any())
        return self.sample_squares(self.adjoint[0][:active])

    def step(self, t: int, active: int) -> None:
        """Go back over time step `t`."""
        taps, cell, diagonal = self.taps, self.stack.cell, self.stack.diagonal
        for i in self.entry_lanes:
            if i < active:
                self.clip_entries(i)
        squares = self.adjoint_squares(active)
        if self.views.mantissa is not None:
            self.rescale(active, squares)
            squares = self.fold(active) if self.folds else squares
        exponent = self.exponent if self.shifted else None
        self.show("state", t, self.adjoint[0][:active], exponent, squares)
        local = self.trajectory.local(t)
        exponent = self.make_room(t, active) if t in self.trajectory.local_exponent else exponent
        adjoint = [part[:active] for part in self.adjoint]
        dz = self._dz[: active * self.blocks].reshape(self.blocks, *adjoint[0].shape)
        if self.paths is not None:
            self.paths.complete(local, adjoint[0], self.exponent, active)
        cell.complete(diagonal, local, adjoint)
        if taps.wants("memory") and len(adjoint) > 1:
            self.show("memory", t, adjoint[1], exponent)
        if self.paths is not None:
            total = adjoint[self.paths.part]
            self.show("path total", t, total, exponent, squares_of(total))
            self.paths.record(taps, t, adjoint, self.views)
        cell.backward(t, diagonal, local, adjoint, dz)
        if self.watch is not None:
            self.watch(t, dz, self.exponent)
        self.record_and_sum(t, dz, exponent, active)
        if self.below is not None:
            numbers, power = self.numbers[:active], self.exponent[:active]
            self.below.put(numbers, self.when(t), power, lambda out: self.to_inputs(dz, out))
        if t in self.earliest:
            self.end(t, dz, adjoint)
        if t > 0:
            through_weights = self.hand_back(t, dz, adjoint[0])
            if self.paths is not None:
                self.paths.back(local, adjoint, through_weights, self.exponent)

    def clip_entries(self, i: int) -> None:
        """Let the rule of lane `i` clip entries of its adjoint."""
        clip, exponent = self.lanes[i].clip, self.exponent[i]
        for part in self.adjoint:
            if self.acted is not None and not self.acted[i].all():
                self.acted[i] |= clip.beyond(part[i], exponent)
            clip.clip_entries(part[i], exponent)

    def end(self, t: int, dz: Array, adjoint: Sequence[Array]) -> None:
        """Let nothing go back beyond time step `t` in the lanes that end there."""
        for i in range(len(adjoint[0])):
            if self.earliest[i] == t:
                for part in (*adjoint, *dz):
                    part[i] = 0.0
                self.exponent[i], self.dead[i] = DEAD, True

    def show(
        self, tap: str, t: int, adjoint: Array, exponent: Array | None, squares: Array | None = None
    ) -> None:
        """Show the adjoint of a state part to a tap; `squares` are its sums of squares if they are known.

        The parts share their powers of two, so one may be far below the other.
        """
        if squares is None or len(self.adjoint) > 1:
            _, squares, exponent = self.presentable(adjoint[None], exponent, len(adjoint), squares)
        self.taps.put(tap, t, squares, exponent, self.views)

    def record_and_sum(self, t: int, dz: Array, exponent: Array | None, active: int) -> None:
        """Show `dz` to the taps and add its share to the gradients."""
        taps, known = self.taps, None
        seeks = self.shifted and self.gradients is not None and self.gradients.seeks_spared(t)
        if taps.wants("preactivation") or taps.wants("weight") or seeks:
            seen, squares, power = self.presentable(dz, exponent, active)
            taps.put("preactivation", t, squares, power, self.views)
            if taps.wants("weight"):
                taps.put_weight(t, seen, self.trajectory, power, self.views)
            known = (squares, power[:active]) if self.shifted and power is not None else None
        if self.gradients is not None:
            self.gradients.add(t, dz, self.exponent[:active] if self.shifted else None, known)

    def to_inputs(self, dz: Array, out: Array) -> None:
        """Write ``U^T dz``, summed over the row blocks; shape (lane, case, features, batch)."""
        share = self._to_inputs[: dz.shape[1]]
        for block, (weights, terms) in enumerate(zip(self.upward, dz, strict=True)):
            if block == 0:
                product(weights, terms, out)
            elif self.stack.cell.fed_blocks[block]:
                np.add(out, product(weights, terms, share), out=out)

    def presentable(
        self, dz: Array, exponent: Array | None, active: int, squares: Array | None = None
    ) -> tuple[Array, Array, Array | None]:
        """Return `dz` as the taps can square it: its sums of squares, and its powers of two.

        Local derivatives may be so small, or large, that squares of `dz` leave the range although
        `dz` itself does not; such cases are shown to the taps on another scale.
        """
        if squares is None:
            squares = self.sample_squares(dz[0])
            for block in dz[1:]:
                squares = squares + self.sample_squares(block)
        low, high = self.presented
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
        seen[:, lane, case] = ldexp(chosen, -shift[None, :, None, :])
        power[lane, case] = np.where(peak > 0, power[lane, case] + shift, DEAD)
        squares = np.add.reduce([self.sample_squares(block) for block in seen])
        return seen, squares, power

    def hand_back(self, t: int, dz: Array, out: Array) -> Array | None:
        """``dh = W^T dz``, summed over the row blocks, and what the cell passed on elementwise.

        Returns ``W^T dz`` where that is not all of `out`.
        """
        first, direct = self.stack.recurrent, self.stack.cell.direct
        if first == 0:
            return None
        if first == 1 and not direct and self.stack.feedback is None:
            product(self.transposed[0], dz[0], out)
            return None
        shape = (first, len(out), len(out[0]), self.transposed.shape[-2], out.shape[-1])
        parts = self._handed[: first * len(out)].reshape(shape)
        product(self.transposed, dz[:first], parts)
        if self.stack.feedback is not None:
            self.through_output(t, parts[0], out)
            return None
        total = parts[0] if direct or first == 1 else out
        if first > 1:
            np.add(parts[0], parts[1], out=total)
        for part in parts[2:]:
            np.add(total, part, out=total)
        if direct:
            np.add(out, total, out=out)
        return total

    def through_output(self, t: int, dy: Array, out: Array) -> None:
        """Write ``V^T psi'(o) dy`` for the output that was fed back at time `t`."""
        feedback, state = self.stack.feedback, self.trajectory.state(t - 1)
        assert feedback is not None
        do = feedback.output.pull(feedback.before(state), dy)
        np.matmul(feedback.readout[:, :, :-1].transpose(0, 2, 1), do, out=out)
        if self.losses is not None:
            for i in range(len(out)):
                self.losses.add_readout(self.numbers[i], t - 1, do[i], state, self.exponent[i])
