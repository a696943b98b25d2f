"""One backward pass looked at closely: settings in, named arrays out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import UserMistake
from gradlab.learning.layers import Weights
from gradlab.learning.taps import PATHS
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import AbstractBlock
from gradlab.measure.collect import open_taps
from gradlab.measure.layout import Layout, View, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.records import ORDINARY, RECORDS, needs_gradients
from gradlab.measure.size import (
    Sizes,
    credit_bytes,
    evenly,
    learner_hint,
    sample_bytes,
    sizes_of,
    tile_and_segment,
)
from gradlab.network.parameters import Parameters, draw_readout
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

__all__ = ["Block", "Run", "View", "backward_passes", "buffer_bytes", "check_memory", "probe"]

Array = NDArray[Any]

TRIAL_LENGTH = 48  # time steps of a block that is only timed
TRIAL_RUNS = 8
ENDLESS = 1 << 128  # sizes that no machine has; a float must hold what they come to
RATE = 2.0e10  # multiply-adds a second, all overheads counted: only a yardstick for cutting blocks


@dataclass(frozen=True)
class Run:
    """One forward pass: a network, and the keys of its random streams."""

    network: NetworkSettings
    seed: int
    replicate: int


@dataclass(frozen=True)
class Block(AbstractBlock):
    """Forward passes of equal shape, each measured through the same views.

    All networks agree in cell, activation, hidden size and dtype; all tasks agree in the stream of
    inputs. Every (run, view) is one case.
    """

    runs: tuple[Run, ...]
    views: tuple[View, ...]

    def measure(
        self, record: Collection[str], memory: int, workspace: Workspace, checkpoint: Path | None = None
    ) -> dict[str, Array]:
        """Measure every case; see `probe`."""
        return probe(self, record, memory, workspace)

    def check_memory(self, record: Collection[str], memory: int, total: Callable[[int], int] = int) -> None:
        """Raise UserMistake if not even one run fits; see `check_memory`."""
        check_memory(self, record, memory, total)

    def buffer_bytes(self, record: Collection[str], memory: int) -> int:
        """Return the bytes that `probe` will take."""
        return buffer_bytes(self, record, memory)

    @property
    def labels(self) -> dict[str, Sequence[Any]]:
        """Row blocks that a matrix is drawn for."""
        return {"gate": self.runs[0].network.cell.drawn_blocks}

    @property
    def kind(self) -> object:
        """Structure of the networks, and the views."""
        return self.runs[0].network.structure(), self.views

    @property
    def run_seconds(self) -> float:
        """About how long a run takes."""
        return sum(seconds_of(self.runs[0].network, view.task) for view in self.views)

    def passes(self, record: Collection[str], *, shared: bool = True) -> tuple[int, int]:
        """Return forward and backward passes; see the base class."""
        if shared:
            return len(self.runs), len(self.runs) * backward_passes(self, record)
        alone = (replace(self, views=(view,)) for view in self.views)
        return len(self.runs) * len(self.views), len(self.runs) * sum(
            backward_passes(one, record) for one in alone
        )

    def units(self, record: Collection[str]) -> tuple[float, ...]:
        """Return the time steps of all forward passes and of all distinct backward passes."""
        lags = {view.task: view.task.lags for view in self.views}
        backward = sum(lags.values()) * backward_passes(self, record) / len(lags)
        return (len(self.runs) * (max(lags.values()) + backward),)

    def trials(self) -> tuple[Block, ...]:
        """Return a block of fewer runs and shorter sequences."""
        short = {view.task: view.task.shortened(TRIAL_LENGTH) for view in self.views}
        views = tuple(dict.fromkeys(replace(view, task=short[view.task]) for view in self.views))
        return (Block(self.runs[:TRIAL_RUNS], views),)


def probe(
    block: Block,
    record: Collection[str] = ORDINARY,
    memory: int = 256 << 20,
    workspace: Workspace | None = None,
) -> dict[str, Array]:
    """Measure every case of a block.

    Parameters
    ----------
    block : Block
        What to measure.
    record : collection of str
        Names out of `RECORDS`; what is not asked for is not computed.
    memory : int
        Bytes that the buffers may take; it decides how many forward passes are held at once and
        how long the stretches of the tape are, and changes no bit of any result.
    workspace : Workspace, optional
        Buffers to reuse.

    Returns
    -------
    dict of arrays
        By record, shape (run, view) followed by the dims that `RECORDS` names; further "status" and
        "first_overflow". Lags beyond a case's own are NaN; where the forward state overflowed,
        norms and rates are +inf.
    """
    wanted = frozenset(record)
    layout = lay_out(block.views, wanted, block.runs[0].network)
    workspace = workspace or Workspace()
    tile, segment = tile_and_segment(_sizes(block, layout, wanted), memory)
    tile = evenly(len(block.runs), tile)
    parts = [
        measure(
            _drawn(block.runs[i : i + tile], layout.tasks[0], workspace),
            block.views,
            layout,
            wanted,
            segment,
            workspace,
        )
        for i in range(0, len(block.runs), tile)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_memory(
    block: Block, record: Collection[str], memory: int, total: Callable[[int], int] = int
) -> None:
    """Raise UserMistake if not even one run of the block fits into `memory` bytes.

    `total` turns the bytes that would suffice for the buffers into what the message asks for.
    """
    wanted, network = frozenset(record), block.runs[0].network
    layout = lay_out(block.views, wanted, network)

    def fits(other: NetworkSettings) -> bool:
        runs = tuple(replace(run, network=other) for run in block.runs)
        try:
            tile_and_segment(_sizes(replace(block, runs=runs), layout, wanted), memory)
        except UserMistake:
            return False
        return True

    try:
        tile_and_segment(_sizes(block, layout, wanted), memory, total)
    except UserMistake as mistake:
        heaviest = max(block.views, key=lambda view: view.learner.bytes_needed(network, view.task))
        if 2 * heaviest.learner.bytes_needed(network, heaviest.task) <= max(memory, 0):
            raise
        hint = learner_hint(heaviest.learner, network, heaviest.task, fits)
        raise UserMistake([replace(problem, hint=hint) for problem in mistake.problems]) from None


def backward_passes(block: Block, record: Collection[str]) -> int:
    """Return how many backward passes serve the views of a block on each of its forward passes."""
    return len(lay_out(block.views, record, block.runs[0].network).tasks)


def buffer_bytes(block: Block, record: Collection[str], memory: int) -> int:
    """Return the bytes that `probe` will take for a block under a bound."""
    wanted = frozenset(record)
    sizes = _sizes(block, lay_out(block.views, wanted, block.runs[0].network), wanted)
    tile, segment = tile_and_segment(sizes, memory)
    return sizes.total(min(tile, len(block.runs)), segment)


def _sizes(block: Block, layout: Layout, wanted: frozenset[str]) -> Sizes:
    network, longest = block.runs[0].network, max(view.task.steps for view in block.views)
    labels = {
        "lag": longest if network.bidirectional else layout.tasks[0].lags,
        "time": longest,
        "loss_time": longest,
        "path": len(PATHS),
    }
    labels |= {"layer": network.layers, "direction": network.directions}
    each = [math.prod(labels.get(dim, 1) for dim in RECORDS[name]) for name in wanted]
    results = len(block.runs) * len(block.views) * sum(each)
    scales, taps = sum(map(len, layout.scales)), open_taps(wanted, network.cell)
    sizes = sizes_of(network, layout.tasks, scales, needs_gradients(wanted), taps, results)
    further = max(view.learner.bytes_needed(network, view.task) for view in block.views)
    if needs_gradients(wanted):
        tasks = dict.fromkeys(view.task for view in block.views if "samples" in view.clip.needs)
        further += sum(sample_bytes(network, task) for task in tasks)
    if "log10_credit_norm" in wanted:
        further += credit_bytes(network, layout.tasks[0])
    return replace(sizes, fixed=sizes.fixed + further)


def _drawn(runs: Sequence[Run], task: AbstractTask, workspace: Workspace) -> Material:
    """Return what is measured, drawn from the settings of the runs."""
    network = runs[0].network
    parameters = [parameters_of(r.network, task, r.seed, r.replicate) for r in runs]

    def inputs(start: int, stop: int) -> Array:
        shape = (stop - start, len(runs), task.features, task.batch)
        buffer = workspace.take("inputs", shape, network.dtype)
        drawn: dict[tuple[int, int], int] = {}
        for c, run in enumerate(runs):
            same = drawn.setdefault((run.seed, run.replicate), c)
            buffer[:, c] = task.inputs(start, stop, run.seed, run.replicate) if same == c else buffer[:, same]
        return buffer

    @cache  # the lanes of all lengths have one readout
    def readout(outputs: int) -> Array:
        return np.stack(
            _shared(
                lambda r: draw_readout(r.network, outputs=outputs, seed=r.seed, replicate=r.replicate),
                runs,
                lambda r: (r.network.readout, r.seed, r.replicate),
            )
        )

    def targets(of: AbstractTask, start: int, stop: int) -> Array:
        width = network.hidden * network.directions
        each = _shared(
            lambda r: of.targets(start, stop, r.seed, r.replicate, width),
            runs,
            lambda r: (r.seed, r.replicate),
        )
        return np.stack(each, axis=1)

    def weight(of: AbstractTask, start: int, stop: int) -> Array | None:
        each = [of.weight(start, stop, r.seed, r.replicate) for r in runs]
        known = [one for one in each if one is not None]
        return np.stack(known, axis=1) if known else None

    return Material(
        network,
        stacked(parameters),
        inputs,
        readout,
        targets,
        [[[one.drawn for one in layer] for layer in p.layers] for p in parameters],
        [(p.embedding, p.embedded) for p in parameters if p.embedding is not None],
        [(r.seed, r.replicate) for r in runs],
        weight=weight,
    )


def _shared(draw: Callable[[Run], Array], runs: Sequence[Run], key: Callable[[Run], Hashable]) -> list[Array]:
    """Return what is drawn for each run; runs with one key share theirs."""
    known: dict[Hashable, Array] = {}
    for run in runs:
        if key(run) not in known:
            known[key(run)] = draw(run)
    return [known[key(run)] for run in runs]


def parameters_of(network: NetworkSettings, task: AbstractTask, seed: int, replicate: int) -> Parameters:
    """Draw the parameters of a network for a task."""
    sizes = {"features": task.features, "length": task.length, "outputs": task.n_outputs}
    return Parameters.draw(network, **sizes, seed=seed, replicate=replicate)


def stacked(parameters: Sequence[Parameters]) -> list[list[Weights]]:
    """Return the weights of networks of equal shape by layer and direction, the case in front."""
    layers, directions = len(parameters[0].layers), len(parameters[0].layers[0])
    return [
        [
            Weights(
                np.stack([p.layers[layer][direction].affine for p in parameters]),
                np.stack([p.layers[layer][direction].diagonal for p in parameters], axis=1)[..., None],
            )
            for direction in range(directions)
        ]
        for layer in range(layers)
    ]


def seconds_of(network: NetworkSettings, task: AbstractTask) -> float:
    """Return about how long a case takes; forward and shared lanes counted in full."""
    rows = network.hidden * len(network.cell.row_blocks) * network.layers * network.directions
    work = min(rows * (network.hidden + task.features + 40) * task.batch, ENDLESS)
    return float((2.0e-6 + 2.0 * work / RATE) * min(task.lags, ENDLESS))
