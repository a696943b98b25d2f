"""What reaches the past through the memory alone, and what by any other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import DEAD, add_scaled, renormalise, window
from gradlab.learning.stack import Stack
from gradlab.learning.taps import Taps
from gradlab.learning.views import Views
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]


def squares_of(adjoint: Array) -> Array:
    """Return the sum of squares of every sample, (lane, case, hidden, batch) to (lane, case, batch)."""
    return np.asarray((adjoint * adjoint).sum(axis=-2))


class _Scaled:
    """An adjoint of all lanes with a power of two of its own for each sample."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any, workspace: Workspace):
        self.mantissa = workspace.take(name, shape, dtype)
        self.mantissa[...] = 0.0
        self.exponent = np.full((*shape[:2], shape[3]), DEAD, dtype=np.int64)
        bound = 2 * window(dtype).adjoint
        self._low, self._high = np.ldexp(1.0, -bound), np.ldexp(1.0, bound)

    def add(self, lanes: slice, values: Array, exponent: Array) -> None:
        """Add ``values * 2 ** exponent``, (lane, case, hidden, batch) and (lane, case, batch)."""
        add_scaled([self.mantissa[lanes]], self.exponent[lanes], values, exponent)

    def squares(self, lanes: slice) -> Array:
        """Return the sums of squares of every sample, renormalising what nears the end of the range."""
        held, power = self.mantissa[lanes], self.exponent[lanes]
        squares = squares_of(held)
        astray = (~((squares >= self._low) & (squares <= self._high)) & (power > DEAD)).any(axis=-1)
        if astray.any():
            renormalise([held], power, astray)
            squares = squares_of(held)
            power[squares == 0] = DEAD
        return np.asarray(squares)


class Paths:
    """The adjoint of the memory split by the way it came.

    At the step where the loss looks, what it sends into the memory is all of the `memory` path. Going
    back one time step that path is multiplied with the memory's own elementwise factor (`carry` of
    the cell: the forget gate of an LSTM, the update gate of a GRU) and with nothing else. The `rest`
    is what at least once went through a gate or through the hidden state and its recurrent weights;
    it is carried as a sum of its own, not as a difference, so it is right also where it is small.
    `memory` and `rest` add up to the total adjoint of the memory.

    Parameters
    ----------
    stack : Stack
        The networks, of a gated cell.
    lanes : int
        How many backward passes.
    workspace : Workspace
        Where the buffers live.
    """

    def __init__(self, stack: Stack, lanes: int, workspace: Workspace):
        assert stack.cell.memory is not None
        self._stack, self.part = stack, stack.cell.memory
        shape = (lanes, len(stack.affine), stack.hidden, stack.batch)
        self._alone = _Scaled("memory path", shape, stack.affine.dtype, workspace)
        self._rest = _Scaled("rest path", shape, stack.affine.dtype, workspace)
        self._before: dict[int, tuple[Array, Array] | None] = {}

    def arrive(
        self, i: int, local: Array, injection: Array, size: Array, before: tuple[Array, Array] | None
    ) -> None:
        """Take what arrives from the loss at lane `i`; `before` is the adjoint of the state without it."""
        if self.part == 0:
            self._alone.add(slice(i, i + 1), injection[None], size[None])
            return
        self._before[i] = None if before is None else (before[0].copy(), before[1].copy())
        self._alone.add(slice(i, i + 1), self._through(local, injection[None]), size[None])

    def complete(self, local: Array, dh: Array, exponent: Array, active: int) -> None:
        """Take what the state passes to the memory within a time step, what has just arrived apart."""
        if self.part == 0:
            return
        for i in range(active):
            lane = slice(i, i + 1)
            own: tuple[Array, Array] | None = dh[i], exponent[i]
            if i in self._before:
                own = self._before.pop(i)
            if own is not None:
                self._rest.add(lane, self._through(local, own[0][None]), own[1][None])

    def record(self, taps: Taps, t: int, adjoint: Sequence[Array], views: Views) -> None:
        """Show the two paths to the taps, and keep the total."""
        lanes = slice(len(adjoint[0]))
        parts = (
            ("path memory", self._alone.squares(lanes), self._alone.exponent),
            ("path rest", self._rest.squares(lanes), self._rest.exponent),
        )
        for name, squares, power in parts:
            taps.put(name, t, squares, power, views)
        self._total = adjoint[self.part].copy()

    def back(
        self, local: Array, adjoint: Sequence[Array], through_weights: Array | None, exponent: Array
    ) -> None:
        """Go back one time step: `adjoint` is now that of the old state parts.

        `through_weights` is what the old hidden state received through its recurrent weights.
        """
        lanes, carry = slice(len(adjoint[0])), self._stack.cell.carry(local)
        for path in (self._alone, self._rest):
            np.multiply(path.mantissa[lanes], carry, out=path.mantissa[lanes])
        if self.part == 0:
            assert through_weights is not None
            others = through_weights
        else:  # exactly zero unless gates see the memory
            others = adjoint[self.part] - carry * self._total
        self._rest.add(lanes, others, exponent[lanes])

    def _through(self, local: Array, dh: Array) -> Array:
        """Return what ``dh`` gives to the memory within its time step."""
        passed = np.zeros_like(dh)
        self._stack.cell.complete(self._stack.diagonal, local, (dh, passed))
        return passed
