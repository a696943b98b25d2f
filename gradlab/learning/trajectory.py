"""The forward pass of a stack of cases, kept on a tape, one stretch of time at a time."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.products import product
from gradlab.core.scaled import largest_of, window
from gradlab.learning.stack import Stack
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]


class Trajectory:
    """States and local derivatives of a stack over time.

    Only one stretch of `segment` time steps is held; the states where stretches begin are stored,
    and a stretch is recomputed from there when backward needs it. That changes no bit: the same
    operations meet the same numbers.

    Parameters
    ----------
    stack : Stack
        What is simulated.
    segment : int
        Time steps in a stretch.
    keep_states : bool
        Keep the states of the stretch: needed for weight gradients and for losses at many steps.
    looks : set of int
        Time steps whose states are kept even where `keep_states` is false.
    saturation : bool
        Record the mean derivative of the activations.
    keep_carried : bool
        Keep the other state parts of the stretch as well; nothing backward needs them.
    workspace : Workspace
        Where the buffers live.

    Attributes
    ----------
    first_overflow : integer array of shape (case,)
        First time step at which a state was not finite; -1 where none was. From there on the
        case's state is held at zero.
    saturation : array of shape (length, case) or None
    state_exponent, local_exponent : dict of int to integer array of shape (case,)
        Powers of two by which the state before a time step, and the local derivatives of a time
        step, must be scaled down in products; only time steps where some case needs it.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        segment: int,
        keep_states: bool,
        looks: set[int],
        saturation: bool,
        workspace: Workspace,
        keep_carried: bool = False,
    ):
        self.stack = stack
        self.segment = min(segment, stack.length)
        self.keep_states = keep_states
        cases, dtype = len(stack.affine), stack.affine.dtype
        self.first_overflow = np.full(cases, -1, dtype=np.int64)
        self.saturation = np.empty((stack.length, cases), dtype=dtype) if saturation else None
        self._looked = {} if keep_states else dict.fromkeys(looks, np.empty(0))
        self._ring = self.segment + 1 if keep_states else 1  # products are done with it before it changes
        self._carried_ring = self.segment + 1 if keep_carried else 2
        self._take_buffers(workspace)
        one = (cases, stack.hidden, stack.batch)
        starts = range(0, stack.length, self.segment)
        self._stored = {start: [np.empty(one, dtype) for _ in stack.cell.state_parts] for start in starts}
        self._held = -1
        self._limit = float(np.ldexp(1.0, 2 * window(dtype).state))
        self.state_exponent: dict[int, Array] = {}
        self.local_exponent: dict[int, Array] = {}
        self._watch = not stack.cell.bounded(stack.activation) or not self._moderate()
        self._known = 2 * stack.length + abs(stack.initial) < np.ldexp(1.0, window(dtype).state)

    def _take_buffers(self, workspace: Workspace) -> None:
        """Take the tape and the views of its time steps.

        Views are made once: making them anew at every time step costs as much as small products.
        """
        stack = self.stack
        cases, rows, width = stack.affine.shape
        n, m, dtype = stack.hidden, stack.fed_back, stack.affine.dtype
        blocks, one, first = rows // n, (cases, n, stack.batch), stack.recurrent
        local = workspace.take("local", (self.segment, stack.cell.local_parts, *one), dtype)
        self._fed = workspace.take("states", (self._ring, cases, width, stack.batch), dtype)
        self._fed[:, :, -1] = 1.0
        others = [
            workspace.take(f"carried {part}", (self._carried_ring, *one), dtype)
            for part in stack.cell.state_parts[1:]
        ]
        self._hidden_ring = self.segment + 1 if stack.feedback is not None else 2
        self._hidden = workspace.take("hidden", (self._hidden_ring, *one), dtype)
        # Blocks in front: [W U b] of every row block of every case, as the products take them. Those that
        # see only the state, or only the inputs, are not multiplied with the zeros of what they do not see.
        blocked = stack.affine.reshape(cases, blocks, n, width).transpose(1, 0, 2, 3)
        both = sum(takewhile(bool, stack.cell.fed_blocks[:first]))
        both = first if any(stack.cell.fed_blocks[both:first]) else both
        self._affine = np.ascontiguousarray(blocked[:both])
        self._recurrent = np.ascontiguousarray(blocked[both:first, :, :, :m])
        self._bias = np.ascontiguousarray(blocked[both:first, :, :, -1:])
        self._inward = np.ascontiguousarray(blocked[first:, :, :, m:])
        nothing = local[0, :0]
        self._local: list[tuple[Array, Array, Array, Array]] = [
            (
                part,
                part[:both],
                part[both:first] if both < first else nothing,
                part[first:blocks] if first < blocks else nothing,
            )
            for part in local
        ]
        self._states: list[tuple[Array, Array, Array, Array]] = [
            (state, state[:, :m], state[:, m:-1], state[:, m:]) for state in self._fed
        ]
        self._others = [[other[i] for other in others] for i in range(self._carried_ring)]
        hidden = list(self._hidden)
        self._parts: list[tuple[Array, ...]] = [
            (hidden[i % self._hidden_ring], *self._others[i % self._carried_ring])
            for i in range(self.segment + 1)
        ]

    def _moderate(self) -> bool:
        """Whether no weight is so large that a bounded state could still overflow."""
        stack = self.stack
        every = [stack.affine, stack.diagonal, *([stack.feedback.readout] if stack.feedback else [])]
        largest = max(largest_of(one) for one in every) * stack.affine.shape[-1]
        return bool(largest < np.sqrt(np.finfo(self.stack.affine.dtype).max))

    @property
    def moderate(self) -> bool:
        """Whether all states are known to be of moderate size: none grows by more than an activation."""
        return self._known and not self._watch and self.stack.start is None

    @property
    def starts(self) -> list[int]:
        """The time steps at which stretches begin."""
        return list(self._stored)

    def begin(self) -> None:
        """Set the state before the first time step: where it goes on from, or all but the hidden one zero."""
        start = self.stack.start
        if start is not None:
            for state, value in zip(self._stored[0], start, strict=False):
                np.copyto(state, value)
            if self._watch:
                self._note_state(-1, tuple(self._stored[0]))
            return
        for state in self._stored[0]:
            state[...] = 0.0
        self._stored[0][0][...] = self.stack.initial

    def end(self) -> list[Array]:
        """Return the state after the last time step, as a `Stack.start`; while the last stretch is held."""
        state = list(self._parts[self.stack.length - self._held])
        if self.stack.feedback is not None:
            state.append(self.stack.feedback.value(state[0]))
        return [part.copy() for part in state]

    def hold(self, start: int, first: bool = False) -> None:
        """Put the stretch that begins at `start` on the tape; `first`: it has not been run before."""
        if self._held != start:
            self._advance(start, first)

    def local(self, t: int) -> Array:
        """Return what the cell kept at time `t` of the stretch that is held."""
        return self._local[t - self._held][0]

    def affine_input(self, t: int) -> Array:
        """Return ``[h; x; 1]`` before time step `t`, shape (case, width, batch); needs `keep_states`."""
        return self._states[t - self._held][0]

    def state(self, t: int) -> Array:
        """Return the hidden state after time step `t`, shape (case, hidden, batch)."""
        if not self.keep_states:
            return self._looked[t]
        at = t - self._held + 1
        return self._states[at][1] if self.stack.feedback is None else np.asarray(self._hidden[at])

    def states(self, start: int, stop: int) -> Array:
        """Return the states after those time steps of the stretch, (time, case, hidden, batch)."""
        return self._fed[start - self._held + 1 : stop - self._held + 1, :, : self.stack.hidden]

    def carried(self, t: int) -> list[Array]:
        """Return the other state parts after time step `t`; needs `keep_carried`."""
        return self._others[t - self._held + 1]

    def _advance(self, start: int, first: bool) -> None:
        """Run one stretch from its stored state, leaving it on the tape."""
        stack, cell = self.stack, self.stack.cell
        stop = min(start + self.segment, stack.length)
        inputs = stack.inputs(start, stop)
        stored = self._stored[start]
        for old_part, value in zip(self._parts[0], stored, strict=True):
            np.copyto(old_part, value)
        self._feed(self._states[0][1], stored[0], start)
        rows = inputs[:0] if stack.moderate else inputs.reshape(len(inputs), -1)
        large_inputs = bool((np.vecdot(rows, rows) > self._limit).any())
        new_state: tuple[Array, ...] = ()
        ring, careful = self._ring, self._watch or large_inputs
        for i, t in enumerate(range(start, stop)):
            now, new = self._states[i % ring], self._states[(i + 1) % ring]
            # Cells get contiguous arrays; one copy beside the inputs is cheaper than strided passes.
            old_state, new_state = self._parts[i], self._parts[i + 1]
            local, z, z_recurrent, z_inward = self._local[i]
            now[2][:] = inputs[i]
            product(self._affine, now[0], z)
            if len(z_recurrent):
                np.add(product(self._recurrent, now[1], z_recurrent), self._bias, out=z_recurrent)
            if len(z_inward):
                product(self._inward, now[3], z_inward)
            saturation = self.saturation[t] if self.saturation is not None else None
            cell.forward(stack.activation, t, stack.diagonal, local, old_state, new_state, saturation)
            if careful:
                self._check(t, local, new_state)
            if large_inputs:
                _note_size(self.state_exponent, t, now[0])
            self._feed(new[1], new_state[0], t + 1)
            if t in self._looked:
                self._looked[t] = new_state[0].copy()
        self._held = start
        if first and stop < stack.length:
            for value, part in zip(self._stored[stop], new_state, strict=True):
                np.copyto(value, part)

    def _feed(self, out: Array, state: Array, t: int) -> None:
        """Write what the recurrent weights see at time step `t`; an output before the first one is zero.

        Where the states go on from others, it is what they went on with: the readout has changed since.
        """
        feedback, start = self.stack.feedback, self.stack.start
        if feedback is None:
            out[:] = state
            return
        if t == 0:
            out[...] = 0.0 if start is None else start[-1]
        else:
            np.copyto(out, feedback.value(state))
        if self._watch and (t > 0 or start is not None):
            _note_size(self.state_exponent, t, out)

    def _check(self, t: int, local: Array, state: tuple[Array, ...]) -> None:
        """Mark and freeze the cases that overflowed; note where states have become very large."""
        flat = [part.reshape(len(part), -1) for part in state]
        if all((np.vecdot(part, part) < self._limit).all() for part in flat):
            return
        bad = ~np.logical_and.reduce([np.isfinite(part).all(axis=(1, 2)) for part in state])
        self.first_overflow[bad & (self.first_overflow < 0)] = t
        local[:, bad] = 0.0
        for part in state:
            part[bad] = 0.0
        self._note_state(t, state)

    def _note_state(self, t: int, state: tuple[Array, ...]) -> None:
        """Note where the states after time step `t` have become very large."""
        _note_size(self.state_exponent, t + 1, state[0])
        # Gates that act on the state, and gradients of elementwise parameters, bring in the state itself.
        cell = self.stack.cell
        for part in state if cell.diagonals or cell.memory == 0 else state[1:]:
            # What a cell keeps for this step and the next may be as large as the memory.
            _note_size(self.local_exponent, t, part)
            _note_size(self.local_exponent, t + 1, part)


def _note_size(known: dict[int, Array], t: int, array: Array) -> None:
    """Keep each case's power of two at `t` where it is so large that products must be scaled."""
    exponent = np.frexp(np.abs(array).max(axis=(1, 2)))[1].astype(np.int64)
    exponent[exponent < window(array.dtype).state] = 0
    if exponent.any():
        known[t] = np.maximum(known[t], exponent) if t in known else exponent
