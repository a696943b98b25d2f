"""A task's own metric on its fixed evaluation set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradlab.learning.layers import Layers
from gradlab.measure.training_size import evaluation_segment
from gradlab.measure.updates import Array, Batch, Pass, draw
from gradlab.network.readout import OUTPUTS, sums
from gradlab.tasks._examples import CHUNK


def evaluate(work: Pass, samples: int) -> Array:
    """Return the metric of every case, (case,), on `samples` of its evaluation set.

    It is +inf where states leave the range.
    """
    cases = work.cases
    task, network = cases[0].task, cases[0].network
    own = Pass(
        cases,
        work.parameters,
        work.learner,
        evaluation_segment(task.steps),
        work.workspace.part("evaluation"),
    )
    total, counts = np.zeros(len(cases)), np.zeros(len(cases), dtype=np.int64)
    gone = np.zeros(len(cases), dtype=bool)
    plain = task.loss_entry.takes_logits or network.output == "identity"
    readout = work.parameters.readout
    for number, first in enumerate(range(0, samples, CHUNK)):
        batch = draw(cases, "evaluation", number, min(CHUNK, samples - first), own.workspace)
        layers = own.layers(batch, keep=False)
        gone |= own.left_range(layers)
        outputs = np.empty((len(batch.looks), len(cases), task.n_outputs, batch.samples), network.dtype)
        for i, state in _states(layers, batch):
            before = sums(readout, state)
            outputs[i] = before if plain else OUTPUTS[network.output].value(before)
        for c, one in enumerate(batch.each):
            # One case at a time: sums over several might be formed in another order.
            alone, count = cases[c].task.metric_of(np.ascontiguousarray(outputs[:, c : c + 1]), one)
            total[c] += alone[0]
            counts[c] += count
    return np.where(gone, np.inf, total / np.maximum(counts, 1))


def _states(layers: Layers, batch: Batch) -> Iterator[tuple[int, Array]]:
    """Yield the states of the top layer at the time steps looked at, with their numbers."""
    if not layers.top[0].keep_states:
        yield from ((i, layers.state(t)) for i, t in enumerate(batch.looks))
        return
    for start, stop in layers.segments(batch.looks[0], batch.looks[-1], forward=True):
        for i, t in enumerate(batch.looks):
            if start <= t < stop:
                yield i, layers.state(t)
