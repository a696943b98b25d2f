"""What a measurement is made on: stacked networks with their inputs, readouts and targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.bptt import Lane, backpropagate
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Stack, Trajectory
from gradlab.learning.workspace import Workspace
from gradlab.measure.collect import Collect, open_taps
from gradlab.measure.layout import Layout, View
from gradlab.measure.records import OF_GRADIENT
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell
from gradlab.network.spectra import Drawn
from gradlab.tasks import AbstractTask

Array = NDArray[Any]

TARGET_STEPS = 16  # time steps of targets that are held at once


@dataclass(frozen=True)
class Material:
    """Networks of equal shape, wherever their numbers come from.

    Parameters
    ----------
    cell, activation : AbstractCell, AbstractActivation
        The elementwise algebra.
    hidden : int
        Hidden units.
    affine : array of shape (case, rows, hidden + features + 1)
        ``[W U b]``.
    inputs : callable
        ``inputs(start, stop)``: shape (time, case, features, batch).
    readout : callable
        ``readout(outputs)``: ``[V b]`` of shape (case, outputs, hidden + 1).
    targets : callable
        ``targets(task, start, stop)``: (time, case, outputs, batch), or (time, case, batch) classes.
    drawn : sequence of sequences of Drawn
        The recurrent matrices of every case, by row block.
    """

    cell: AbstractCell
    activation: AbstractActivation
    hidden: int
    affine: Array
    inputs: Callable[[int, int], Array]
    readout: Callable[[int], Array]
    targets: Callable[[AbstractTask, int, int], Array]
    drawn: Sequence[Sequence[Drawn]]


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
    task, cases = layout.tasks[0], len(material.affine)
    stack = Stack(
        material.cell,
        material.activation,
        material.affine,
        material.inputs,
        task.lags,
        material.hidden,
        task.batch,
    )
    lanes = [_lane(material, *lane) for lane in zip(layout.tasks, layout.rules, layout.scales, strict=True)]
    gradients, names = bool(asked & OF_GRADIENT), open_taps(asked)
    last, counts = [lane.looks[-1] for lane in lanes], [len(lane.views) for lane in lanes]
    taps = Taps(names, last, counts, cases, task.batch, min(segment, task.lags))
    many_looks = any(len(lane.looks) > 1 for lane in lanes)
    with np.errstate(all="ignore"):  # what leaves the range of the forward state is found and marked
        trajectory = Trajectory(
            stack,
            segment=segment,
            keep_states=gradients or many_looks or "weight" in names,
            looks=set() if many_looks else set(last),
            saturation="saturation" in asked,
            workspace=workspace,
        )
        trajectory.run()
        result = backpropagate(trajectory, lanes, taps, gradients=gradients, workspace=workspace)
    return Collect(views, layout, asked, material.drawn, trajectory, taps, result).records()


def _lane(
    material: Material, task: AbstractTask, rule: AbstractClip, scales: tuple[AbstractClip, ...]
) -> Lane:
    """Return the engine's lane for a task: its targets, its readouts, its rules."""
    loss, n = task.loss_entry, material.hidden
    readout = material.readout(task.n_outputs) if loss.uses_readout else None
    target_at = _target_reader(material, task)

    def look(t: int, state: Array) -> tuple[Array, Array]:
        target = target_at(t)
        if loss.target_kind != "classes":
            target = target.astype(state.dtype, copy=False)
        if readout is None:
            return loss.evaluate(state, target)
        return loss.evaluate(np.matmul(readout[:, :, :n], state) + readout[:, :, n:], target)

    return Lane(task.looks(), look, readout, rule, scales)


def _target_reader(material: Material, task: AbstractTask) -> Callable[[int], Array]:
    """Return a function of time that gives the targets, a few time steps being fetched at once."""
    if len(task.looks()) == 1:
        return lambda t: material.targets(task, t, t + 1)[0]
    held: dict[int, Array] = {}

    def target_at(t: int) -> Array:
        start = t - t % TARGET_STEPS
        if start not in held:
            held.clear()
            held[start] = material.targets(task, start, min(start + TARGET_STEPS, task.length))
        return np.asarray(held[start][t - start])

    return target_at
