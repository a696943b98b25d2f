"""One backward pass looked at closely.

Cases share a forward pass when network, stream of inputs, seed and replicate agree; they share a
backward pass when, besides, the loss looks at the same place and the clip rule does not change the
recursion; and everything else is a view of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.streams import digest
from gradlab.experiment.measures._base import AbstractMeasure, Index, Labels, among, numbered, registry
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.learners.bptt import Bptt
from gradlab.learning.taps import PATHS
from gradlab.measure.probe import Block, Run, View, seconds_of
from gradlab.measure.records import OF_LEARNER, ON_REQUEST, RECORDS, UNDETERMINED

if TYPE_CHECKING:
    from gradlab.experiment.expansion import Distinct
    from gradlab.experiment.grid import Grid


@registry.register
@dataclass(frozen=True)
class Probe(AbstractMeasure):
    """Forward once, backward once, and everything about the way back."""

    name: ClassVar[str] = "probe"
    sections: ClassVar[tuple[str, ...]] = ("network", "task", "clip", "learner")
    records: ClassVar[Mapping[str, tuple[str, ...]]] = RECORDS
    on_request: ClassVar[frozenset[str]] = ON_REQUEST
    fills: ClassVar[Mapping[str, np.generic]] = {"regime": np.int8(UNDETERMINED)}
    view: ClassVar[tuple[str, ...]] = ("task", "clip", "learner")

    def labels(self, grid: Grid) -> Labels:
        """Return the labels along layers, directions, row blocks, paths, lags and time steps."""
        longest = max(int(task.steps) for task in grid.tasks)
        return {**networks_labels(grid), "path": PATHS, "loss_time": range(longest), "time": range(longest)}

    def shared(self, grid: Grid) -> tuple[Index, Index]:
        """Return the number of every point's forward pass, and of what may be stacked."""
        stream = among([digest(task.input_identity()) for task in grid.tasks])[grid.task_index]
        shape = among([network.structure() for network in grid.networks])[grid.network_index]
        by_length = np.array([network.depends_on_length for network in grid.networks], dtype=bool)
        length_of_task = np.array([task.length for task in grid.tasks], dtype=np.int64)
        length = np.where(by_length[grid.network_index], length_of_task[grid.task_index], 0)
        fed = np.array([network.cell.feeds_back == "output" for network in grid.networks], dtype=bool)
        outputs_of_task = np.array([task.n_outputs for task in grid.tasks], dtype=np.int64)
        outputs = np.where(fed[grid.network_index], outputs_of_task[grid.task_index], 0)
        forward = np.stack([grid.network_index, stream, grid.seed_index, length, outputs], axis=1)
        return numbered(forward), numbered(np.stack([shape, stream, length, outputs], axis=1))

    def run(self, grid: Grid, row: int, replicate: int) -> Run:
        """Return the forward pass of a point."""
        return Run(grid.networks[grid.network_index[row]], grid.seeds[grid.seed_index[row]], replicate)

    def block(self, grid: Grid, runs: tuple[Any, ...], views: tuple[tuple[int, ...], ...]) -> Block:
        """Return a block of forward passes."""
        return Block(runs, tuple(View(grid.tasks[t], grid.clips[c], grid.learners[by]) for t, c, by in views))

    def seconds(self, grid: Grid, row: int) -> float:
        """Return about how long a case takes."""
        return seconds_of(grid.networks[grid.network_index[row]], grid.tasks[grid.task_index[row]])

    def idle_records(self, grid: Grid) -> frozenset[str]:
        """Return the records of memories where there are none, and of learners where there is one."""
        names: set[str] = set()
        if not any("memory" in network.cell.state_parts for network in grid.networks):
            names |= {"log10_memory_gradient_norm"}
        if all(learner == Bptt() for learner in grid.learners):
            names |= OF_LEARNER
        return frozenset(names)

    def attributes(self, grid: Grid) -> dict[str, str]:
        """Return whether the loss looks at one time step or at several, if that is so for all cases."""
        found = {"one" if len(task.looks()) == 1 else "several" for task in grid.tasks}
        return {"looks": found.pop()} if len(found) == 1 else {}

    def unfit(self, parts: Mapping[str, Distinct]) -> list[Problem]:
        """Return the problems of learners that make no gradient."""
        hint = "A probe measures the gradient of weights that stand still."
        expected = "a learner that makes a gradient"
        problems: list[Problem] = []

        def check(learner: AbstractLearner) -> None:
            if learner.for_training:
                got = f"{learner.name!r}, which is for training"
                raise UserMistake(Problem("learner", expected, got, hint))

        for one in parts["learner"].settings:
            with gathering(problems):
                check(one)
        return problems


def networks_labels(grid: Grid) -> Labels:
    """Return the labels along layers, directions, row blocks and lags of the networks of a grid."""
    both = any(network.bidirectional for network in grid.networks)
    layers = max(network.layers for network in grid.networks)
    blocks = [network.cell.drawn_blocks for network in grid.networks]
    gates = tuple(dict.fromkeys(block for own in blocks for block in own))
    lags = max(int(task.steps if both else task.lags) for task in grid.tasks)
    return {
        "layer": range(layers) if layers > 1 else (),
        "direction": ("forward", "reverse") if both else (),
        "gate": gates if any(len(own) > 1 for own in blocks) else (),
        "lag": range(lags),
    }
