"""One backward pass looked at closely: settings in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.workspace import Workspace
from gradlab.measure.collect import open_taps
from gradlab.measure.layout import Layout, View, backward_passes, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.records import OF_GRADIENT, RECORDS
from gradlab.measure.size import Sizes, sizes_of, tile_and_segment
from gradlab.network.parameters import Parameters, draw_readout
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

__all__ = ["Block", "Run", "View", "backward_passes", "buffer_bytes", "check_memory", "probe"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Run:
    """One forward pass: a network, and the keys of its random streams."""

    network: NetworkSettings
    seed: int
    replicate: int


@dataclass(frozen=True)
class Block:
    """Forward passes of equal shape, each measured through the same views.

    All networks agree in cell, activation, hidden size and dtype; all tasks agree in the stream of
    inputs. Every (run, view) is one case.
    """

    runs: tuple[Run, ...]
    views: tuple[View, ...]


def probe(
    block: Block,
    record: Collection[str] = tuple(RECORDS),
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
        By record, shape (run, view), (run, view, lag) or (run, view, gate); further "status" and
        "first_overflow". Lags beyond a case's own are NaN; where the forward state overflowed,
        norms and rates are +inf.
    """
    wanted = frozenset(record)
    gradients = bool(wanted & OF_GRADIENT)
    layout = lay_out(block.views, gradients)
    workspace = workspace or Workspace()
    tile, segment = tile_and_segment(_sizes(block, layout, wanted), memory)
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
    wanted = frozenset(record)
    layout = lay_out(block.views, bool(wanted & OF_GRADIENT))
    tile_and_segment(_sizes(block, layout, wanted), memory, total)


def buffer_bytes(block: Block, record: Collection[str], memory: int) -> int:
    """Return the bytes that `probe` will take for a block under a bound."""
    wanted = frozenset(record)
    sizes = _sizes(block, lay_out(block.views, bool(wanted & OF_GRADIENT)), wanted)
    tile, segment = tile_and_segment(sizes, memory)
    return sizes.total(min(tile, len(block.runs)), segment)


def _sizes(block: Block, layout: Layout, wanted: frozenset[str]) -> Sizes:
    views, lags = len(block.views), layout.tasks[0].lags
    along = [RECORDS[name] for name in wanted]
    results = len(block.runs) * views * sum(lags if kind == "lag" else 1 for kind in along)
    scales = sum(map(len, layout.scales))
    gradients = bool(wanted & OF_GRADIENT)
    return sizes_of(block.runs[0].network, layout.tasks, scales, gradients, open_taps(wanted), results)


def _drawn(runs: Sequence[Run], task: AbstractTask, workspace: Workspace) -> Material:
    """Return what is measured, drawn from the settings of the runs."""
    network = runs[0].network
    parameters = [
        Parameters.draw(
            r.network, features=task.features, length=task.length, seed=r.seed, replicate=r.replicate
        )
        for r in runs
    ]

    def inputs(start: int, stop: int) -> Array:
        shape = (stop - start, len(runs), task.features, task.batch)
        buffer = workspace.take("inputs", shape, network.dtype)
        for c, run in enumerate(runs):
            buffer[:, c] = task.inputs(start, stop, run.seed, run.replicate)
        return buffer

    def readout(outputs: int) -> Array:
        return np.stack(
            [draw_readout(r.network, outputs=outputs, seed=r.seed, replicate=r.replicate) for r in runs]
        )

    def targets(of: AbstractTask, start: int, stop: int) -> Array:
        return np.stack([of.targets(start, stop, r.seed, r.replicate, network.hidden) for r in runs], axis=1)

    affine = np.stack([p.affine for p in parameters])
    drawn = [p.drawn for p in parameters]
    return Material(network.cell, network.activation, network.hidden, affine, inputs, readout, targets, drawn)
