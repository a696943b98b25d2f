"""Back over all layers and directions of networks, from the losses down to the inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.bptt import Pass, Watch
from gradlab.learning.layers import Layers
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.sources import HandedDown, Lane, Losses
from gradlab.learning.taps import Taps
from gradlab.learning.workspace import Workspace

Array = NDArray[Any]

__all__ = ["Backward", "Lane", "backpropagate"]


@dataclass
class Backward:
    """What going back with all lanes gives.

    Attributes
    ----------
    loss : array of shape (lane, case, batch)
        Loss of every sample, summed over the steps where it looks.
    overflow : integer array of shape (lane, case)
        First time step at which the slope of the loss was not finite, or -1.
    records : list of list of dict
        By layer and direction: what the taps recorded, by name a list over lanes of arrays
        (view, case, lag); see `Taps`.
    gradients : list of list of ScaledGradient
        For every lane and view the gradient of all parameters, summed over samples: layer by layer
        and direction by direction ``[W U b]`` and then the elementwise ones if the cell has any;
        last ``[V b]``. Empty where gradients were not asked for.
    acted : boolean array of shape (lane, case), or None
        Whether any rule of the lane changed an adjoint at any time step, in any layer and direction; where
        that was asked for.
    """

    loss: Array
    overflow: Array
    records: list[list[dict[str, list[Array]]]] = field(default_factory=list)
    gradients: list[list[ScaledGradient]] = field(default_factory=list)
    acted: Array | None = None


class _Sorted:
    """The lanes as one layer and direction sees them: in its own time, latest last look first."""

    def __init__(self, lanes: Sequence[Lane], looks: Callable[[Lane], Sequence[int]]):
        own = [(i, replace(lane, looks=looks(lane))) for i, lane in enumerate(lanes)]
        self.lanes = sorted(own, key=lambda item: -item[1].looks[-1])
        self.place = {number: at for at, (number, _) in enumerate(self.lanes)}

    def unsorted(self, values: Sequence[Any]) -> list[Any]:
        """Return values by lane in the order of the lanes."""
        return [values[self.place[number]] for number in range(len(values))]


def backpropagate(
    layers: Layers,
    lanes: Sequence[Lane],
    names: Collection[str],
    *,
    gradients: bool,
    workspace: Workspace,
    top_only: bool = False,
    samples: bool = False,
    watch: Watch | None = None,
    acted: bool = False,
) -> Backward:
    """Run all lanes back.

    Parameters
    ----------
    layers : Layers
        A forward pass that has been run.
    lanes : sequence of Lane
        In the time of the sequence.
    names : collection of str
        The open taps.
    gradients : bool
        Form the parameter gradients (all layers must keep their states).
    workspace : Workspace
        Where the buffers live.
    top_only : bool
        Stop at the layer nearest the loss, of which alone there are then records.
    samples : bool
        Give every sample's gradient for itself: those of the first case first, as so many cases. No
        view may have a rule then.
    watch : callable, optional
        Sees the adjoints of the top layer's pre-activations, forward in time; see `Watch`.
    acted : bool
        Tell in which cases the rules on adjoints acted.
    """
    losses = Losses(layers, lanes, gradients, samples)
    first = len(layers.trajectories) - 1 if top_only else 0
    stages = _stages(layers, lanes, losses, names, (gradients, samples), workspace, first)
    stages[-1][0][0].watch = watch
    if acted:
        for run, _ in (each for stage in stages for each in stage):
            run.acted = np.zeros((len(lanes), layers.networks.cases), dtype=bool)
    ends: tuple[int, int | None] = (0, None)
    if layers.networks.directions == 1:
        ends = min(lane.earliest for lane in lanes), max(lane.looks[-1] for lane in lanes)
    for start, stop in layers.segments(*ends):
        losses.hold(start, stop)
        for stage in reversed(stages):
            below = stage[0][0].below
            if below is not None:
                below.clear()
            for run, _ in stage:
                run.back(start, stop)
    result = Backward(losses.loss, losses.overflow)
    for stage in stages:
        result.records.append(
            [
                {name: order.unsorted(values) for name, values in run.taps.records.items()}
                for run, order in stage
            ]
        )
    if acted:
        result.acted = np.stack([_acted(i, stages) for i in range(len(lanes))])
    if gradients:
        result.gradients = [_gradients(i, lane, stages, losses) for i, lane in enumerate(lanes)]
    return result


Stage = list[tuple[Pass, _Sorted]]


def _stages(
    layers: Layers,
    lanes: Sequence[Lane],
    losses: Losses,
    names: Collection[str],
    gradients: tuple[bool, bool],
    workspace: Workspace,
    first: int,
) -> list[Stage]:
    """Return the passes of every layer from `first` on, each handing down to the one before."""
    networks = layers.networks
    length, directions, count = networks.length, networks.directions, len(layers.trajectories)
    stages: list[Stage] = []
    below: HandedDown | None = None
    for layer, trajectories in enumerate(layers.trajectories[first:], start=first):
        source, own = None if layer + 1 < count else losses, workspace.part(f"back {layer}")
        above = None
        if source is None:
            segment = trajectories[0].segment
            sizes = (len(lanes), segment, networks.cases, directions, networks.hidden, networks.batch)
            above = HandedDown(*sizes, networks.dtype, own)
        stage: Stage = []
        for direction, trajectory in enumerate(trajectories):
            order = _Sorted(lanes, _looks(layer + 1 == count, direction, directions, length))
            last = [lane.looks[-1] for _, lane in order.lanes]
            views = [len(lane.views) for _, lane in order.lanes]
            place = own.part(str(direction))
            taps = Taps(names, last, views, networks.cases, networks.batch, trajectory.segment, place)
            stage.append(
                (
                    Pass(
                        trajectory,
                        direction,
                        order.lanes,
                        source or above,  # type: ignore[arg-type]  # one of the two is there
                        below,
                        losses if networks.feedback is not None else None,
                        count > 1 or directions > 1 or networks.feedback is not None,
                        taps,
                        *gradients,
                        place,
                    ),
                    order,
                )
            )
        stages.append(stage)
        below = above
    return stages


def _looks(top: bool, direction: int, directions: int, length: int) -> Callable[[Lane], Sequence[int]]:
    """Return when adjoints arrive from outside, in the own time of a layer and direction."""
    if top and direction == 0:
        return lambda lane: lane.looks
    if top:
        return lambda lane: [length - 1 - t for t in reversed(lane.looks)]
    if directions > 1:
        return lambda lane: range(length)
    return lambda lane: range(lane.looks[-1] + 1)


def _acted(i: int, stages: Sequence[Stage]) -> Array:
    """Return in which cases a lane's rules changed anything, (case,)."""
    found = []
    for run, order in (each for stage in stages for each in stage):
        assert run.acted is not None
        place = order.place[i]
        found += [run.acted[place], *run.views.acted[run.views.of(place)]]
    return np.asarray(np.logical_or.reduce(found))


def _gradients(i: int, lane: Lane, stages: Sequence[Stage], losses: Losses) -> list[ScaledGradient]:
    """Return the gradient of all parameters for every view of a lane."""
    readout = losses.readouts[i]
    shared = [] if readout is None else [(readout.by_case(0), readout.exponent[0])]
    collected = []
    for view in range(len(lane.views)):
        parts: list[tuple[Array, Array]] = []
        for stage in stages:
            for run, order in stage:
                assert run.gradients is not None
                number = run.views.of(order.place[i])[view]
                parts += run.gradients.collect_view(number).blocks()
        collected.append(ScaledGradient.of(parts + shared))
    return collected
