"""What a measurement is made on: stacked networks with their inputs, readouts and targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.backward import Lane, backpropagate
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.clipping.off import Off
from gradlab.learning.layers import Layers, Networks, Weights
from gradlab.learning.sources import TOGETHER
from gradlab.learning.stack import Feedback
from gradlab.learning.workspace import Workspace
from gradlab.measure.collect import Collect, open_taps
from gradlab.measure.layout import Layout, View
from gradlab.measure.learned import make_gradients
from gradlab.measure.looking import look_at
from gradlab.measure.records import needs_gradients
from gradlab.measure.size import CREDIT_BYTES
from gradlab.network.readout import OUTPUTS
from gradlab.network.settings import NetworkSettings
from gradlab.network.spectra import Drawn
from gradlab.tasks import AbstractTask

Array = NDArray[Any]

_OFF = Off()


@dataclass(frozen=True)
class Material:
    """Networks of equal shape, wherever their numbers come from.

    Parameters
    ----------
    network : NetworkSettings
        Their structure: cell, activation, layers, directions, output; the laws of the weights play no part.
    weights : sequence of sequences of Weights
        By layer and direction.
    inputs : callable
        ``inputs(start, stop)``: shape (time, case, features, batch).
    readout : callable
        ``readout(outputs)``: ``[V b]`` of shape (case, outputs, directions * hidden + 1).
    targets : callable
        ``targets(task, start, stop)``: (time, case, outputs, batch), or (time, case, batch) classes.
    drawn : sequence of sequences of sequences of sequences of Drawn
        The recurrent matrices by case, layer, direction and row block.
    embeddings : sequence of (E, U by direction), optional
        By case; where the lowest layer's input weights are ``U E``.
    keys : sequence of (int, int), optional
        Root seed and replicate by case, for learners with random numbers of their own.
    biases : sequence of boolean arrays, optional
        Which rows have a bias, of every ``[W U b]`` by layer and direction and then of ``[V b]``: the
        gradients of others are none of parameters. None: all have.
    weight : callable, optional
        ``weight(task, start, stop)``: factors of each sample's loss, (time, case, batch); None: ones.
    """

    network: NetworkSettings
    weights: Sequence[Sequence[Weights]]
    inputs: Callable[[int, int], Array]
    readout: Callable[[int], Array]
    targets: Callable[[AbstractTask, int, int], Array]
    drawn: Sequence[Sequence[Sequence[Sequence[Drawn]]]]
    embeddings: Sequence[tuple[Array, tuple[Array, ...]]] = ()
    keys: Sequence[tuple[int, int]] = ()
    biases: Sequence[NDArray[np.bool_]] | None = None
    weight: Callable[[AbstractTask, int, int], Array | None] | None = None

    def networks(self, task: AbstractTask) -> Networks:
        """Return what the engine simulates for a task: up to the last time step that matters."""
        length = task.steps if self.network.bidirectional else task.lags
        feedback = None
        if self.network.cell.feeds_back == "output":
            feedback = Feedback(self.readout(task.n_outputs), OUTPUTS[self.network.output])
        network = self.network
        return Networks(
            network.cell,
            network.activation,
            self.weights,
            self.inputs,
            length,
            network.hidden,
            task.batch,
            feedback,
            network.initial_state,
        )


def measure(
    material: Material,
    views: Sequence[View],
    layout: Layout,
    wanted: Collection[str],
    segment: int,
    workspace: Workspace,
) -> dict[str, Array]:
    """Run forward and back over a material and collect the wanted records."""
    asked = frozenset(wanted)
    lanes = [lane(material, *one) for one in zip(layout.tasks, layout.rules, layout.scales, strict=True)]
    gradients, names = needs_gradients(asked), open_taps(asked, material.network.cell)
    many_looks = any(len(lane.looks) > 1 for lane in lanes) or "log10_credit_norm" in asked
    with np.errstate(all="ignore"):  # what leaves the range of the forward state is found and marked
        layers = Layers(
            material.networks(layout.tasks[0]),
            segment=segment,
            keep_states=gradients or many_looks or "weight" in names,
            looks=set() if many_looks else {lane.looks[-1] for lane in lanes},
            saturation="saturation" in asked,
            workspace=workspace,
        )
        layers.run()
        result = backpropagate(layers, lanes, names, gradients=gradients, workspace=workspace)
        credit = _credit(material, views, layers, workspace) if "log10_credit_norm" in asked else {}
        made = make_gradients(material, views, layers, lanes, layout, result, asked, workspace)
    return Collect(views, layout, asked, material.drawn, layers, result, credit, made).records()


def _credit(
    material: Material, views: Sequence[View], layers: Layers, workspace: Workspace
) -> dict[AbstractTask, Array]:
    """Return by task the log10 norms of dL_t/dh_k of the top layer, (case, loss time, lag).

    Each loss time is a lane; a group of them goes back together.
    """
    networks = layers.networks
    state = networks.hidden * networks.batch * np.dtype(networks.dtype).itemsize
    group = max(1, int(CREDIT_BYTES // (state * networks.cases)))
    found: dict[AbstractTask, Array] = {}
    for task in dict.fromkeys(view.task for view in views):
        looks = list(task.looks())
        norms = found[task] = np.full((networks.cases, task.steps, task.lags), np.nan)
        whole = lane(material, task, _OFF, (_OFF,))
        for first in range(0, len(looks), group):
            times = looks[first : first + group][::-1]
            lanes = [replace(whole, looks=(t,)) for t in times]
            own = workspace.part("credit")
            result = backpropagate(layers, lanes, ("state",), gradients=False, workspace=own, top_only=True)
            for t, values in zip(times, result.records[-1][0]["state"], strict=True):
                norms[:, t, : t + 1] = values[0]
    return found


def lane(
    material: Material, task: AbstractTask, rule: AbstractClip, scales: tuple[AbstractClip, ...]
) -> Lane:
    """Return the engine's lane for a task: its targets, its readouts, its rules."""
    loss, output = task.loss_entry, OUTPUTS[material.network.output]
    readout = material.readout(task.n_outputs) if loss.uses_readout else None
    look = look_at(loss, output, readout, _target_reader(material, task), _weight_reader(material, task))
    return Lane(task.looks(), look, readout, rule, scales)


def _target_reader(material: Material, task: AbstractTask) -> Callable[[Sequence[int]], Array]:
    """Return a function of neighbouring time steps that gives their targets, a few being fetched at once."""
    if len(task.looks()) == 1:
        return lambda times: material.targets(task, times[0], times[0] + 1)
    held: dict[int, Array] = {}

    def targets_at(times: Sequence[int]) -> Array:
        start = times[0] - times[0] % TOGETHER
        if start not in held:
            held.clear()
            held[start] = material.targets(task, start, min(start + TOGETHER, task.steps))
        return held[start][np.subtract(times, start)]

    return targets_at


def _weight_reader(material: Material, task: AbstractTask) -> Callable[[Sequence[int]], Array] | None:
    """Return a function of time steps that gives the factors of the losses; None where all are 1."""
    if material.weight is None:
        return None
    first = task.looks()[0]
    weight = material.weight(task, first, task.looks()[-1] + 1)
    return None if weight is None else lambda times: weight[np.subtract(times, first)]
