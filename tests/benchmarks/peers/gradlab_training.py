"""gradlab on one core: `train`, with every update's norms and loss recorded, or nothing recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from gradlab.learning.clipping import registry as clips
from gradlab.learning.optimisers import registry as optimisers
from gradlab.learning.schedules import registry as schedules
from gradlab.learning.workspace import Workspace
from gradlab.measure.history import begin
from gradlab.measure.train import train
from gradlab.measure.training import Trainee, Training, TrainingBlock
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask
from gradlab.tasks._examples import Examples
from tests.benchmarks.problem import RATE, THRESHOLD, UPDATES, Array, Kernel, Problem
from tests.benchmarks.single import single

threadpool_limits(1)
NORMS = (
    "loss",
    "log10_gradient_norm",
    "log10_clipped_gradient_norm",
    "clip_factor",
    "clip_active",
    "clip_active_share",
)
_given: dict[int, Examples] = {}


@dataclass(frozen=True, kw_only=True)
class Given(AbstractTask):
    """Every case gets the examples that the benchmark drew for it, the same at every update."""

    name: ClassVar[str] = "given to a benchmark"

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        return _given[replicate].inputs[start:stop]

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        return _given[replicate]


def prepare(problem: Problem, record: bool) -> dict[str, Any]:
    """The block, the state that holds the benchmark's weights, and what is recorded."""
    arrays = single(problem)
    sizes = {"features": problem.features, "outputs": problem.outputs}
    task = Given(batch=problem.batch, length=problem.length, **sizes)
    network = NetworkSettings.build({"cell": problem.cell, "hidden": problem.hidden})
    clip = clips.build({"name": "norm", "threshold": THRESHOLD}, "clip")
    sgd = optimisers.build({"name": "sgd", "rate": RATE}, "optimiser")
    constant = schedules.build("constant", "schedule")
    cases = []
    for c in range(problem.cases):
        targets = np.zeros((problem.length, problem.outputs, problem.batch))
        targets[-1] = arrays.targets[c]
        _given[c] = Examples(arrays.inputs[:, c], targets)
        cases.append(Trainee(network, task, clip, sgd, constant, replicate=c))
    training = Training(UPDATES, "linear", UPDATES if record else 1)
    block = TrainingBlock(tuple(cases), training)
    names = NORMS if record else ()
    state = begin(block, names)
    state["parameter 0"] = np.concatenate([arrays.recurrent, arrays.input, arrays.bias[:, :, None]], axis=2)
    state["parameter 1"] = np.concatenate([arrays.readout, arrays.readout_bias[:, :, None]], axis=2)
    return {"block": block, "record": names, "start": state}


def kernel(given: dict[str, Any], workspace: Workspace) -> Array:
    out = train(given["block"], given["record"], workspace=workspace, start=given["start"])
    if "log10_gradient_norm" not in out:
        return np.zeros(0)
    return 10.0 ** out["log10_gradient_norm"].T


def variants(problem: Problem, record: bool = True) -> Iterator[tuple[str, Kernel]]:
    name = "every update recorded" if record else "nothing recorded"
    yield name, partial(kernel, prepare(problem, record), Workspace())
