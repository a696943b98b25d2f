"""How much memory a training takes: more than its passes, for parameters are moved, kept and judged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import isqrt

import numpy as np

from gradlab.measure.baselines import predictors
from gradlab.measure.carrying import state_bytes
from gradlab.measure.history import TRAINING_RECORDS
from gradlab.measure.size import Sizes, entries, sample_bytes, sizes_of
from gradlab.measure.training import Trainee, TrainingBlock
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask
from gradlab.tasks._examples import CHUNK

# Copies of all parameters that a case has while it is updated, besides those of a pass and its optimiser's
# slots: its own, scratch, the gradient as it becomes the mean, settled and clipped, what norms and angles
# are taken of, and what radius and norm of a matrix are; measured.
_MOVED = 9
_KEPT = 4  # and whether it is updated or not: drawn, in the state, and as the state is written


def training_sizes(block: TrainingBlock, wanted: Collection[str]) -> Sizes:
    """Return the bytes that a training takes; a forward pass of `Sizes` is a case.

    Parameters
    ----------
    block : TrainingBlock
    wanted : collection of str
        The records.
    """
    case, training = block.cases[0], block.training
    network, task = case.network, case.task
    taps = {"state"} & {name.removeprefix("log10_").removesuffix("_gradient_norm") for name in wanted}
    sizes = sizes_of(network, [task], 1, True, taps, 0)
    slots = max(len(one.optimiser.slots) for one in block.cases)
    parameters = parameter_bytes(network, task)
    moved = _MOVED + slots + 3 * ("smoothness" in wanted)
    fixed = sizes.fixed + moved * parameters + _examples_bytes(case, task.batch)
    fixed += evaluation_bytes(case, min(training.evaluate, CHUNK))
    if case.clip.scope == "adjoint":  # the pass without it has sums of its own
        fixed += 4 * parameters + sizes.adjoint
    if any("samples" in one.clip.needs for one in block.cases):
        fixed += sample_bytes(network, task)
    fixed += block.learner.bytes_needed(network, task)
    if training.carry_state:
        fixed += 4 * state_bytes(network, task.batch)
        sizes = replace(sizes, length=task.steps)
    return replace(sizes, fixed=fixed, shared=sizes.shared + _kept_bytes(block, wanted, slots * parameters))


def _kept_bytes(block: TrainingBlock, wanted: Collection[str], slots: int) -> int:
    """Return the bytes of the state of all cases of a block, each with so many bytes of slots."""
    case, training = block.cases[0], block.training
    each = _KEPT * parameter_bytes(case.network, case.task) + 2 * slots
    along = {"update": len(training.recorded()), "lag": case.task.lags}
    along["predictor"] = len(predictors([case.task]))
    each += 3 * state_bytes(case.network, case.task.batch) * training.carry_state
    for name, dims in TRAINING_RECORDS.items():
        if name in wanted:
            each += 3 * 8 * int(np.prod([along[dim] for dim in dims], dtype=np.int64))
    if any("history" in one.clip.needs for one in block.cases):
        each += 3 * 8 * training.updates
    return len(block.cases) * each


def evaluation_segment(length: int) -> int:
    """Return the time steps of a stretch of the tape while a network is judged, which only goes forward."""
    return max(1, isqrt(length))


def evaluation_bytes(case: Trainee, samples: int) -> int:
    """Return the bytes that judging a case by so many samples at once takes besides."""
    network, task = case.network, case.task
    size, looks = np.dtype(network.dtype).itemsize, len(task.looks())
    state = samples * size * network.hidden
    width = samples * size * (network.hidden * (1 + network.directions * (network.layers > 1)) + 1)
    width += samples * size * task.features
    segment = task.steps if network.bidirectional else evaluation_segment(task.steps)
    step = state * (network.cell.local_parts + 1) + width
    starts = -(-task.steps // segment) * len(network.cell.state_parts) * state
    layers = network.layers * network.directions * (segment * step + starts + 12 * state + 3 * width)
    outputs = looks * samples * size * (network.hidden * network.directions + 2 * task.n_outputs)
    return layers + outputs + _examples_bytes(case, samples)


def _examples_bytes(case: Trainee, samples: int) -> int:
    """Return the bytes of examples as they are drawn, and as the passes take them."""
    task, size = case.task, np.dtype(case.network.dtype).itemsize
    return samples * task.steps * (task.features * (2 * 8 + size) + 2 * 8 * task.n_outputs)


def parameter_bytes(network: NetworkSettings, task: AbstractTask) -> int:
    """Return the bytes of all parameters of a case."""
    read = network.embedding or task.features
    total = entries(network, task, read) + (network.embedding or 0) * task.features
    return int(np.dtype(network.dtype).itemsize * total)
