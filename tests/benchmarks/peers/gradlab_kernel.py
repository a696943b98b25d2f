"""gradlab's own kernel in the kernel table: the engine as a probe drives it, nothing taken out.

What is timed includes all that a probe does for this record: watching the range, renormalising, and
taking logarithms; the norms come back as log10 and are raised to plain numbers for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from gradlab.learning import clipping
from gradlab.learning.layers import Weights
from gradlab.learning.workspace import Workspace
from gradlab.measure.collect import open_taps
from gradlab.measure.layout import View, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.size import evenly, sizes_of, tile_and_segment
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import registry as tasks
from tests.benchmarks.problem import Array, Arrays, Kernel, Layer, Problem

STATES, CREDIT = frozenset({"log10_state_gradient_norm"}), frozenset({"log10_credit_norm"})
MEMORY = 1 << 30  # the default of a sweep


def weights(problem: Problem, layer: Layer) -> Array:
    """``[W U b]`` as the engine takes it: the GRU's candidate has a row block for each of its sums."""
    joined = np.concatenate([layer.recurrent, layer.input, layer.bias[:, :, None]], axis=2)
    if problem.cell != "gru":
        return joined
    n = problem.hidden
    by_state, by_inputs = joined[:, 2 * n :].copy(), joined[:, 2 * n :].copy()
    by_state[:, :, n:-1], by_state[:, :, -1], by_inputs[:, :, :n] = 0.0, layer.recurrent_bias, 0.0
    return np.concatenate([joined[:, : 2 * n], by_state, by_inputs], axis=1)


def settings(problem: Problem) -> tuple[NetworkSettings, View]:
    network = {"cell": problem.cell, "hidden": problem.hidden, "layers": problem.layers}
    task = {
        "name": "noise",
        "features": problem.features,
        "batch": problem.batch,
        "length": problem.length,
        "outputs": problem.outputs,
        "at": "every" if len(problem.looks) > 1 else "final",
    }
    network["bidirectional"] = problem.directions > 1
    return NetworkSettings.build(network), View(tasks.build(task), clipping.registry.build("off"))


def kernel(problem: Problem, arrays: Arrays, affine: list[list[Array]], workspace: Workspace) -> Array:
    """Measure all cases, as many at once as the probe itself would take."""
    network, view = settings(problem)
    record = CREDIT if problem.credit else STATES
    layout = lay_out((view,), record, network)
    results = problem.cases * problem.length * problem.layers * problem.directions
    sizes = sizes_of(network, layout.tasks, 1, False, open_taps(record, network.cell), results)
    tile, segment = tile_and_segment(sizes, MEMORY)
    tile = evenly(problem.cases, tile)
    readout = np.concatenate([arrays.readout, arrays.readout_bias[:, :, None]], axis=2)
    norms = []
    for first in range(0, problem.cases, tile):
        group = slice(first, first + tile)
        material = Material(
            network,
            [[Weights(one[group]) for one in layer] for layer in affine],
            lambda start, stop, group=group: arrays.inputs[start:stop, group],
            lambda outputs, group=group: readout[group],
            lambda task, start, stop, group=group: arrays.targets[-problem.length :][
                slice(start, stop) if len(problem.looks) > 1 else slice(None), group
            ],
            [[[() for _ in layer] for layer in affine] for _ in readout[group]],
        )
        records = measure(material, (view,), layout, record, segment, workspace)
        norms.append(10.0 ** records[next(iter(record))][:, 0])
    return by_time(problem, np.concatenate(norms))


def by_time(problem: Problem, norms: Array) -> Array:
    """From lags, which count back in every direction's own time, to the time of the sequence."""
    if problem.credit:
        out = np.zeros((problem.length, problem.length))
        for t in range(problem.length):
            out[t, : t + 1] = norms[0, t, t::-1]
        return out
    out = norms.transpose(1, 2, 3, 0).copy()
    out[:, 0] = out[:, 0, ::-1]
    return out


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    arrays = problem.draw()
    affine = [[weights(problem, one) for one in layer] for layer in arrays.layers]
    yield "the engine", partial(kernel, problem, arrays, affine, Workspace())
