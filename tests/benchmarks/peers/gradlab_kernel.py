"""gradlab's own kernel in the kernel table: the engine as a probe drives it, nothing taken out.

What is timed includes all that a probe does for this record: watching the range, renormalising, and
taking logarithms; the norms come back as log10 and are raised to plain numbers for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from gradlab.learning import clipping
from gradlab.learning.workspace import Workspace
from gradlab.measure.collect import open_taps
from gradlab.measure.layout import View, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.size import sizes_of, tile_and_segment
from gradlab.network import activations, cells
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import registry as tasks
from tests.benchmarks.problem import Array, Arrays, Kernel, Problem

RECORD = frozenset({"log10_state_gradient_norm"})
MEMORY = 512 << 20


def kernel(problem: Problem, arrays: Arrays, workspace: Workspace) -> Array:
    """Measure all cases, as many at once as the probe itself would take."""
    settings = {"cell": problem.cell, "hidden": problem.hidden}
    network = NetworkSettings.build(settings)
    task = tasks.build(
        {
            "name": "noise",
            "features": problem.features,
            "batch": problem.batch,
            "length": problem.length,
            "outputs": problem.outputs,
        }
    )
    views = (View(task, clipping.registry.build("off")),)
    layout = lay_out(views, gradients=False)
    sizes = sizes_of(network, layout.tasks, 1, False, open_taps(RECORD), problem.cases * problem.length)
    tile, segment = tile_and_segment(sizes, MEMORY)
    affine = np.concatenate([arrays.recurrent, arrays.input, arrays.bias[:, :, None]], axis=2)
    readout = np.concatenate([arrays.readout, arrays.readout_bias[:, :, None]], axis=2)
    norms = np.empty((problem.length, problem.cases))
    for first in range(0, problem.cases, tile):
        group = slice(first, first + tile)
        material = Material(
            cells.registry.build(problem.cell),
            activations.registry.build("tanh"),
            problem.hidden,
            affine[group],
            lambda start, stop, group=group: arrays.inputs[start:stop, group],
            lambda outputs, group=group: readout[group],
            lambda task, start, stop, group=group: arrays.targets[None, group],
            [() for _ in affine[group]],
        )
        records = measure(material, views, layout, RECORD, segment, workspace)
        norms[:, group] = 10.0 ** records["log10_state_gradient_norm"][:, 0, ::-1].T
    return norms


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    yield "the engine", partial(kernel, problem, problem.draw(), Workspace())
