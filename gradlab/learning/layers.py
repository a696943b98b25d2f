"""Layers and directions of a network, run in lockstep over stretches of time.

Layer `l` reads the states of layer ``l - 1`` at the same time step; in a bidirectional network every
layer has a second set of weights that runs backwards in time, and both are read. Each layer in each
direction is a `Trajectory` of its own, in its own time: the reverse direction's time step 0 is the
last one of the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.stack import Feedback, Inputs, Stack
from gradlab.learning.trajectory import Trajectory
from gradlab.learning.workspace import Workspace
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """The parameters of one layer in one direction.

    Parameters
    ----------
    affine : array of shape (case, rows, fed back + features + 1)
        ``[W U b]``.
    diagonal : array of shape (diagonals, case, hidden, 1)
        The cell's elementwise parameters.
    """

    affine: Array
    diagonal: Array = field(default_factory=lambda: np.empty((0, 1, 1, 1)))


@dataclass(frozen=True)
class Networks:
    """Networks of equal shape with their inputs.

    Parameters
    ----------
    cell, activation : AbstractCell, AbstractActivation
        The elementwise algebra that all of them share.
    weights : sequence of sequences of Weights
        By layer and direction.
    inputs : callable
        Inputs of the lowest layer; see `Stack`.
    length, hidden, batch : int
        Time steps, hidden units of each layer and direction, samples.
    feedback : Feedback, optional
        See `Stack`; networks of one layer and direction only.
    initial : float
        Every hidden unit before the first time step.
    start : sequence of sequences of arrays, optional
        By layer, where it goes on from; see `Stack`. Of networks of one direction only.
    """

    cell: AbstractCell
    activation: AbstractActivation
    weights: Sequence[Sequence[Weights]]
    inputs: Inputs
    length: int
    hidden: int
    batch: int
    feedback: Feedback | None = None
    initial: float = 0.0
    start: Sequence[Sequence[Array]] | None = None

    @property
    def directions(self) -> int:
        """One, or two if bidirectional."""
        return len(self.weights[0])

    @property
    def cases(self) -> int:
        """How many networks there are."""
        return len(self.weights[0][0].affine)

    @property
    def dtype(self) -> Any:
        """Precision of states and adjoints."""
        return self.weights[0][0].affine.dtype


class Layers:
    """The forward pass of networks, layer by layer.

    Parameters
    ----------
    networks : Networks
        What is simulated.
    segment : int
        Time steps in a stretch; a bidirectional network is held whole.
    keep_states, looks, saturation, keep_carried, workspace
        As for `Trajectory`, of the top layer; the layers below keep their states.

    Attributes
    ----------
    trajectories : list of list of Trajectory
        By layer and direction.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        segment: int,
        keep_states: bool,
        looks: set[int],
        saturation: bool,
        workspace: Workspace,
        keep_carried: bool = False,
    ):
        self.networks = networks
        many = len(networks.weights) > 1 or networks.directions > 1 or networks.feedback is not None
        self._joined: dict[int, Array] = {}
        self._workspace = workspace
        self.trajectories: list[list[Trajectory]] = []
        for layer, directions in enumerate(networks.weights):
            self.trajectories.append(
                [
                    Trajectory(
                        self._stack(layer, direction),
                        segment=networks.length if networks.directions > 1 else segment,
                        keep_states=keep_states or many,
                        looks=looks,
                        saturation=saturation,
                        workspace=workspace.part(f"layer {layer} direction {direction}"),
                        keep_carried=keep_carried,
                    )
                    for direction in range(len(directions))
                ]
            )

    @property
    def top(self) -> list[Trajectory]:
        """The directions of the layer nearest the loss."""
        return self.trajectories[-1]

    def run(self) -> None:
        """Run forward; the last stretch stays on the tape."""
        for directions in self.trajectories:
            for trajectory in directions:
                trajectory.begin()
        for start in self.top[0].starts:
            self._hold(start, first=True)

    def overflowed(self, lags: int) -> Array:
        """Return in which cases a state left the range that a loss of `lags` lags sees, or that goes on."""
        whole = self.networks.directions > 1 or self.networks.start is not None
        first = [trajectory.first_overflow for layer in self.trajectories for trajectory in layer]
        return np.asarray(np.logical_or.reduce([(t >= 0) & (whole | (t < lags)) for t in first]))

    def ends(self) -> list[list[Array]]:
        """Return by layer the states after the last time step, as a `start`; right after `run` only."""
        return [directions[0].end() for directions in self.trajectories]

    def segments(
        self, earliest: int = 0, latest: int | None = None, *, forward: bool = False
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the stretches from the last to the first, each with its tape in place.

        Only those with time steps from `earliest` to `latest`, both included; `forward`: first to last.
        """
        segment, length = self.top[0].segment, self.networks.length
        latest = length - 1 if latest is None else latest
        starts = [s for s in self.top[0].starts if s <= latest and min(s + segment, length) > earliest]
        for start in starts if forward else reversed(starts):
            self._hold(start, first=False)
            yield start, min(start + segment, length)

    def state(self, t: int) -> Array:
        """Return the top layer's states after time step `t`, shape (case, directions * hidden, batch)."""
        if len(self.top) == 1:
            return self.top[0].state(t)
        forward, reverse = self.top
        return np.concatenate([forward.state(t), reverse.state(self.networks.length - 1 - t)], axis=1)

    def states(self, times: Sequence[int]) -> Array:
        """Return `state` at some time steps of the stretch that is held, ascending, in front.

        It is overwritten by the next call.
        """
        first, last = times[0], times[-1]
        neighbours = last - first + 1 == len(times)
        if len(self.top) == 1:
            if self.networks.feedback is None and neighbours and len(times) > 1:
                return self.top[0].states(first, last + 1)
            return np.stack([self.state(t) for t in times])
        n, length = self.networks.hidden, self.networks.length
        shape = (len(times), self.networks.cases, 2 * n, self.networks.batch)
        joined = self._workspace.take("looked at", shape, self.networks.dtype)
        for out, t in zip(joined, times, strict=True):
            out[:, :n], out[:, n:] = self.top[0].state(t), self.top[1].state(length - 1 - t)
        return joined

    def state_exponent(self, t: int) -> Array | None:
        """Return by which powers of two `state` at `t` must be scaled down in products; None: zeros."""
        last = self.networks.length - 1
        sizes = [
            trajectory.state_exponent.get((last - t if direction else t) + 1)
            for direction, trajectory in enumerate(self.top)
        ]
        known = [size for size in sizes if size is not None]
        return np.maximum.reduce(known) if known else None

    def _hold(self, start: int, first: bool) -> None:
        for layer, directions in enumerate(self.trajectories):
            for trajectory in directions:
                trajectory.hold(start, first)
            if len(directions) > 1 and layer + 1 < len(self.trajectories):
                self._joined[layer] = self._join(layer)

    def _join(self, layer: int) -> Array:
        """Return the states of both directions side by side, in the time of the sequence."""
        forward, reverse = self.trajectories[layer]
        length, n = self.networks.length, self.networks.hidden
        shape = (length, self.networks.cases, 2 * n, self.networks.batch)
        joined = self._workspace.take(f"joined {layer}", shape, self.networks.dtype)
        joined[:, :, :n] = forward.states(0, length)
        joined[:, :, n:] = reverse.states(0, length)[::-1]
        return joined

    def _stack(self, layer: int, direction: int) -> Stack:
        networks, weights = self.networks, self.networks.weights[layer][direction]
        below = networks.inputs if layer == 0 else self._states_of(layer - 1)
        length = networks.length

        def reverse(start: int, stop: int) -> Array:
            return below(length - stop, length - start)[::-1]

        return Stack(
            networks.cell,
            networks.activation,
            weights.affine,
            reverse if direction else below,
            length,
            networks.hidden,
            networks.batch,
            weights.diagonal,
            networks.feedback,
            networks.initial,
            None if networks.start is None else networks.start[layer],
            layer > 0 and all(below.moderate for below in self.trajectories[layer - 1]),
        )

    def _states_of(self, layer: int) -> Inputs:
        """Return the states of a layer as the inputs of the next one."""

        def inputs(start: int, stop: int) -> Array:
            if layer in self._joined:
                return self._joined[layer][start:stop]
            return self.trajectories[layer][0].states(start, stop)

        return inputs
