"""Where the adjoint of a layer's state comes from: the losses, or the layer above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import DEAD, at_power, ldexp, window
from gradlab.core.scratch import scratch
from gradlab.learning.accumulate import Sums
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.gradients import by_sample, samples_as_cases
from gradlab.learning.layers import Layers
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

#: ``look(t, h)`` gives each sample's loss, (case, batch), and its slope by ``o = V h + b``,
#: (case, outputs, batch).
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


class Source(Protocol):
    """Gives a layer the adjoints that arrive from outside its own recurrence."""

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what arrives at time `t` of the sequence, with its powers of two.

        Shapes (case, hidden, batch) and, int64, (case, batch); `DEAD` where it is exactly zero.
        """


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

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what the loss sends to one direction of the top layer; see `Source`."""
        own = self._lanes[lane]
        state = self._layers.state(t)
        loss, slope = own.look(t, state)
        finite = np.asarray(np.isfinite(slope).all(axis=(1, 2)))
        slope = np.where(finite[:, None, None], slope, 0.0).astype(self._dtype)
        peak = np.abs(slope).max(axis=1)
        size = np.frexp(peak)[1].astype(np.int64)
        size[np.abs(size) < self._range // 2] = 0
        size[peak == 0] = DEAD
        if size.any():
            slope = np.where(slope == 0, slope, ldexp(slope, -size[:, None, :]))
        if direction == 0:  # the other direction asks again for its share of the same
            self.overflow[lane][~finite & (self.overflow[lane] < 0)] = t
            self.loss[lane] += loss
            if own.readout is not None:
                self.add_readout(lane, t, slope, state, size)
        n = self._hidden
        rows = slice(direction * n, (direction + 1) * n)
        if own.readout is None:
            return slope[:, rows], size
        return np.matmul(own.readout[:, :, rows].transpose(0, 2, 1), slope), size

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
        self._ones = np.ones((1, directions * hidden), dtype=dtype)
        self._bound = np.ldexp(1.0, window(dtype).adjoint)

    def clear(self) -> None:
        """Forget what was kept: nothing arrives."""
        self._values[...] = 0.0
        self._exponents[...] = DEAD

    def put(self, lanes: Sequence[int], t: int, values: Array, exponent: Array) -> None:
        """Add what a direction of the layer above hands down at time `t` of the sequence.

        Parameters
        ----------
        lanes : sequence of int
            Which lanes it is of.
        t : int
        values : array of shape (lane, case, directions * hidden, batch)
        exponent : integer array of shape (lane, case, batch)
        """
        slot = t % self._segment
        values, exponent = self._presentable(values, exponent)
        for i, lane in enumerate(lanes):
            held, power = self._values[slot, lane], self._exponents[slot, lane]
            if (power == DEAD).all():
                held[...], power[...] = values[i], exponent[i]
                continue
            top = np.maximum(power, exponent[i])
            np.add(at_power(held, power, top), at_power(values[i], exponent[i], top), out=held)
            power[...] = top

    def _presentable(self, values: Array, exponent: Array) -> tuple[Array, Array]:
        """Return values in the middle of the range, with their powers of two; `DEAD` where they are zero."""
        squared = np.multiply(values, values, out=scratch("squared", values.shape, values.dtype))
        squares = np.matmul(self._ones, squared)[..., 0, :]
        if squares.min() > 1.0 / self._bound and squares.max() < self._bound:
            return values, exponent
        peak = np.maximum(values.max(axis=-2), -values.min(axis=-2))
        alive = peak > 0
        shift = np.where(alive, np.frexp(peak)[1], 0)
        return ldexp(values, -shift[..., None, :]), np.where(alive, exponent + shift, DEAD)

    def arriving(self, lane: int, t: int, direction: int) -> tuple[Array, Array]:
        """Return what was handed down to one direction at time `t` of the sequence; see `Source`."""
        slot, n = t % self._segment, self._hidden
        rows = slice(direction * n, (direction + 1) * n)
        return self._values[slot, lane, :, rows], self._exponents[slot, lane].copy()
