"""Where the adjoint of a layer's state comes from: the losses, or the layer above."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import DEAD, add_scaled, ldexp, window
from gradlab.learning.accumulate import Sums
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.gradients import by_sample, samples_as_cases
from gradlab.learning.layers import Layers
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

#: ``look(times, h)`` gives each sample's loss at some time steps, (time, case, batch), and its slope by
#: ``o = V h + b``, (time, case, outputs, batch); the states `h` are (time, case, directions * hidden, batch).
Look = Callable[[Sequence[int], Array], tuple[Array, Array]]

#: Losses of neighbouring time steps are looked at together, from one multiple of this to the next.
TOGETHER = 16


@dataclass(frozen=True)
class Lane:
    """One backward pass.

    Parameters
    ----------
    looks : sequence of int
        Time steps where the loss looks, ascending.
    look : callable
        The loss and its slope there.
    readout : array of shape (case, outputs, directions * hidden + 1), or None
        ``[V b]``; None where the slope is that by the hidden state itself.
    clip : AbstractClip
        Rule applied to the entries of the adjoint.
    views : tuple of AbstractClip
        Rules that rescale samples; a lane that looks more than once has exactly one.
    earliest : int
        The last time step it goes back to: the adjoint of the state before that one is not formed.
        Networks of one direction only.
    """

    looks: Sequence[int]
    look: Look
    readout: Array | None
    clip: AbstractClip
    views: tuple[AbstractClip, ...]
    earliest: int = 0

    def looks_within(self, start: int, stop: int) -> Sequence[int]:
        """Return when the loss looks from `start` to before `stop`, as far as the lane goes back."""
        if self.looks[-1] < start or self.looks[0] >= stop:
            return ()
        first = bisect_left(self.looks, max(start, self.earliest))
        return self.looks[first : bisect_left(self.looks, stop)]


class Source(Protocol):
    """Gives a layer the adjoints that arrive from outside its own recurrence."""

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what arrives at time `t` of the sequence, with its powers of two.

        Shapes (case, hidden, batch) and, int64, (case, batch); `DEAD` where it is exactly zero.
        """


@dataclass(frozen=True)
class _Seen:
    """What losses gave at some time steps: slopes near one, with their powers of two."""

    at: dict[int, int]  # which time step stands where
    loss: Array  # (time, case, batch)
    slope: Array  # (time, case, outputs, batch), zero where it was not finite
    size: Array  # (time, case, batch)
    overflow: Array  # (time, case): where the slope was not finite
    finite: bool  # whether it was everywhere


class Losses:
    """The adjoints that the losses send into the top layer, and the readouts' gradients.

    Parameters
    ----------
    layers : Layers
        The forward pass.
    lanes : sequence of Lane
        The backward passes.
    gradients : bool
        Form the readouts' gradients.
    samples : bool
        Keep every sample's gradient for itself; see `gradlab.learning.gradients.Gradients`.

    Attributes
    ----------
    loss : array of shape (lane, case, batch)
        Loss of every sample, summed over the steps where it looks.
    overflow : integer array of shape (lane, case)
        First time step at which the slope of the loss was not finite, or -1. A loss may leave the range
        where its slope does not, and then the gradients are right.
    readouts : list of Sums or None
        By lane, the gradient of ``[V b]``.
    """

    def __init__(self, layers: Layers, lanes: Sequence[Lane], gradients: bool, samples: bool = False):
        networks = layers.networks
        cases, self._dtype, self._hidden = networks.cases, networks.dtype, networks.hidden
        self._layers, self._lanes, self._samples = layers, lanes, samples
        self._range = window(self._dtype).adjoint
        self.loss = np.zeros((len(lanes), cases, networks.batch))
        self.overflow = np.full((len(lanes), cases), -1, dtype=np.int64)
        fed_back = None if networks.feedback is None else networks.feedback.readout
        each = networks.batch if samples else 1
        shapes = [fed_back if lane.readout is None else lane.readout for lane in lanes]
        self.readouts = [
            None
            if shape is None or not gradients
            else Sums(np.empty((1, 1, cases * each, *shape.shape[1:]), self._dtype))
            for shape in shapes
        ]
        # Lanes that look with the same eyes, such as the loss times of a credit matrix, share what is seen.
        self._lookers: dict[Look, list[Lane]] = {}
        for lane in lanes:
            self._lookers.setdefault(lane.look, []).append(lane)
        self._seen: dict[Look, dict[int, _Seen]] = {look: {} for look in self._lookers}
        self._held = range(0)

    def hold(self, start: int, stop: int) -> None:
        """Look at neighbouring time steps together from now on; those of this stretch are on the tape."""
        self._held = range(start, stop)
        for known in self._seen.values():
            known.clear()

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what the loss sends to one direction of the top layer; see `Source`."""
        own, block = self._lanes[lane], t // TOGETHER
        known = self._seen[own.look]
        seen = known.get(block)
        if seen is None or t not in seen.at:
            if len(self._layers.top) == 1:  # otherwise the other direction comes by again
                known.clear()
            seen = known[block] = self._see(own.look, t)
        at = seen.at[t]
        slope, size = seen.slope[at], seen.size[at]
        if direction == 0:  # the other direction asks again for its share of the same
            if not seen.finite:
                self.overflow[lane][seen.overflow[at] & (self.overflow[lane] < 0)] = t
            self.loss[lane] += seen.loss[at]
            if own.readout is not None and self.readouts[lane] is not None:
                self.add_readout(lane, t, slope, self._layers.state(t), size)
        n = self._hidden
        rows = slice(direction * n, (direction + 1) * n)
        if own.readout is None:
            return slope[:, rows], size
        return np.matmul(own.readout[:, :, rows].transpose(0, 2, 1), slope), size

    def _see(self, look: Look, t: int) -> _Seen:
        """Look at time `t`, and at the others that are looked at together with it."""
        first = t - t % TOGETHER
        start, stop = max(first, self._held.start), min(first + TOGETHER, self._held.stop)
        lookers = self._lookers[look] if start <= t < stop else ()
        times = sorted({t, *(u for lane in lookers for u in lane.looks_within(start, stop))})
        loss, slope = look(times, self._layers.states(times))
        overflow = ~np.asarray(np.isfinite(slope).all(axis=(-2, -1)))
        finite = not overflow.any()
        if not finite:
            slope = np.where(overflow[..., None, None], 0.0, slope)
        slope = slope.astype(self._dtype, copy=False)
        peak = np.abs(slope).max(axis=-2)
        size = np.frexp(peak)[1].astype(np.int64)
        size[np.abs(size) < self._range // 2] = 0
        size[peak == 0] = DEAD
        if size.any():
            slope = np.where(slope == 0, slope, ldexp(slope, -size[..., None, :]))
        return _Seen({u: i for i, u in enumerate(times)}, loss, slope, size, overflow, finite)

    def add_readout(self, lane: int, t: int, slope: Array, state: Array, size: Array) -> None:
        """Add ``slope * 2 ** size [h; 1]^T`` at time `t` to a lane's gradient; all its views share it."""
        sums = self.readouts[lane]
        if sums is None:
            return
        right = np.concatenate([state, np.ones_like(state[:, :1])], axis=1).transpose(0, 2, 1)
        shift = size[None] if size.any() else None
        large = self._layers.state_exponent(t)
        if large is not None:
            right = ldexp(right, -large[:, None, None])
            shift = size[None] + large[:, None]
        if self._samples:
            shift = samples_as_cases(shift, slope)
            slope, right = by_sample(slope[None, None])[0, 0], right.reshape(-1, 1, right.shape[-1])
        scale = sums.scales(shift, None)
        if scale is not None:
            slope = slope * scale[0].astype(slope.dtype)[:, None, :]
        sums.add(0, slope[None], right)


class HandedDown:
    """Adjoints of a layer's inputs, kept over a stretch of time for the layer below.

    Parameters
    ----------
    lanes, segment, cases, directions, hidden, batch : int
        Sizes: the layer below has `directions` of `hidden` units.
    dtype : dtype
    workspace : Workspace
        Where the buffers live.
    """

    def __init__(
        self,
        lanes: int,
        segment: int,
        cases: int,
        directions: int,
        hidden: int,
        batch: int,
        dtype: Any,
        workspace: Workspace,
    ):
        self._segment, self._hidden, self._dtype = segment, hidden, dtype
        shape = (segment, lanes, cases, directions * hidden, batch)
        self._values = workspace.take("handed down", shape, dtype)
        self._exponents = np.empty((segment, lanes, cases, batch), dtype=np.int64)
        self._held = np.zeros((segment, lanes), dtype=bool)  # where anything has been put
        self._workspace = workspace

    def clear(self) -> None:
        """Forget what was kept: nothing arrives."""
        self._held[...] = False

    def put(self, lanes: Sequence[int], t: int, exponent: Array, write: Callable[[Array], None]) -> None:
        """Add what a direction of the layer above hands down at time `t` of the sequence.

        Parameters
        ----------
        lanes : sequence of int
            Which lanes it is of.
        t : int
        exponent : integer array of shape (lane, case, batch)
            The powers of two of what is handed down.
        write : callable
            Writes its mantissas, (lane, case, directions * hidden, batch), to where it is told.
        """
        slot = t % self._segment
        values, powers, held = self._values[slot], self._exponents[slot], self._held[slot]
        run = _run(lanes)
        if run is not None and not held[run].any():
            write(values[run])
            powers[run], held[run] = exponent, True
            return
        arriving = self._workspace.take("arriving", (len(lanes), *values.shape[1:]), values.dtype)
        write(arriving)
        for lane, own, power in zip(lanes, arriving, exponent, strict=True):
            if held[lane]:
                add_scaled([values[lane]], powers[lane], own, power)
            else:
                values[lane], powers[lane], held[lane] = own, power, True

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what was handed down to one direction at time `t` of the sequence; see `Source`."""
        slot, n = t % self._segment, self._hidden
        rows = slice(direction * n, (direction + 1) * n)
        if not self._held[slot, lane]:
            self._values[slot, lane], self._exponents[slot, lane] = 0.0, DEAD
        return self._values[slot, lane, :, rows], self._exponents[slot, lane]


def _run(lanes: Sequence[int]) -> slice | None:
    """Return neighbouring lanes, counted up or down, as a slice; None where they are not neighbours."""
    first, step = lanes[0], 1 if lanes[-1] >= lanes[0] else -1
    stop = first + step * len(lanes)
    if list(lanes) != list(range(first, stop, step)):
        return None
    return slice(first, stop if stop >= 0 else None, step)
