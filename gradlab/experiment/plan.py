"""From cases to shared work: forward groups, backward lanes, clip views, blocks.

Nothing here depends on the machine. What can be shared is read off what each setting says it
affects: cases share a forward pass when network, stream of inputs, seed and replicate agree; they
share a backward pass when, besides, the loss looks at the same place and the clip rule does not
change the recursion; and everything else is a view of that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.streams import canonical, digest
from gradlab.experiment.grid import Grid
from gradlab.learning.learners.bptt import Bptt
from gradlab.measure.probe import Block, Run, View, backward_passes
from gradlab.measure.records import OF_LEARNER, ON_REQUEST, PATHS, RECORDS
from gradlab.network.cells import AbstractCell
from gradlab.network.settings import NetworkSettings

Index = NDArray[np.int64]

BLOCK_SECONDS = 1.0  # a block should take about this long on one core of today
BLOCKS_WANTED = 28  # and a small sweep still be cut into this many, for the workers to share
RATE = 2.0e10  # multiply-adds a second, all overheads counted: only a yardstick for cutting blocks
RESULT_BYTES = 4 << 20  # of one variable in one block


@dataclass(frozen=True)
class PlannedBlock:
    """A block, and where its cases belong.

    Parameters
    ----------
    block : Block
        What to measure.
    index : integer array of shape (run, view, axis)
        Place of every case in the dense grid, `replicate` last.
    """

    block: Block
    index: Index

    @property
    def cases(self) -> int:
        """Number of cases."""
        return int(self.index.shape[0] * self.index.shape[1])


@dataclass(frozen=True)
class Plan:
    """All work of a sweep.

    Parameters
    ----------
    grid : Grid
        The cases.
    record : tuple of str
        What is recorded.
    tile : tuple of int
        Cases of one tile along every axis and `replicate`; a block never reaches beyond its tile.
    wider : dict of str to sequence, optional
        Labels of dimensions as an archive has them that holds cases of other sweeps too; they take the
        place of this sweep's own.
    """

    grid: Grid
    record: tuple[str, ...]
    tile: tuple[int, ...]
    wider: dict[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def lags(self) -> int:
        """Number of lags of the longest case."""
        both = len(self.directions) > 1
        return max(int(task.length if both else task.lags) for task in self.grid.tasks)

    @property
    def layers(self) -> int:
        """Number of layers of the deepest network."""
        return max(network.layers for network in self.grid.networks)

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which any network reads its sequence."""
        both = any(network.bidirectional for network in self.grid.networks)
        return ("forward", "reverse") if both else ("forward",)

    @property
    def gates(self) -> tuple[str, ...]:
        """Row blocks of all cells that a matrix is drawn for; empty if no cell has more than one."""
        blocks = [drawn_blocks(network.cell) for network in self.grid.networks]
        every = tuple(dict.fromkeys(block for own in blocks for block in own))
        return every if any(len(own) > 1 for own in blocks) else ()

    @cached_property
    def along(self) -> dict[str, Sequence[Any]]:
        """Labels of every dimension that a record may have besides the case's, where it is there."""
        longest = max(int(task.length) for task in self.grid.tasks)
        along: dict[str, Sequence[Any]] = {
            "layer": range(self.layers) if self.layers > 1 else (),
            "direction": self.directions if len(self.directions) > 1 else (),
            "gate": self.gates,
            "path": PATHS,
            "loss_time": range(longest),
            "lag": range(self.lags),
            "time": range(longest),
        }
        return {dim: labels for dim, labels in along.items() if labels} | self.wider

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of what is recorded of one case."""
        return tuple(len(self.along[dim]) for dim in RECORDS[name] if dim in self.along)

    @cached_property
    def forward_passes(self) -> int:
        """Distinct forward passes."""
        return len(np.unique(forward_ids(self.grid)[0])) * self.grid.replicates

    @cached_property
    def lanes(self) -> int:
        """Distinct backward passes."""
        return sum(len(p.block.runs) * backward_passes(p.block, self.record) for p in self.blocks())

    def blocks(self, finished: NDArray[np.bool_] | None = None) -> Iterator[PlannedBlock]:
        """Yield the blocks of all cases that are not finished yet.

        Parameters
        ----------
        finished : boolean array of the grid's shape, optional
            Cases to leave out.
        """
        grid = self.grid
        forward, kind = forward_ids(grid)
        place = grid.points // np.array(self.tile[:-1], dtype=np.int64)
        steps = range(0, grid.replicates, self.tile[-1])
        order = np.lexsort(place.T[::-1]) if place.shape[1] else np.arange(len(place))
        bounds = np.flatnonzero((np.diff(place[order], axis=0) != 0).any(axis=1)) + 1
        for rows in np.split(order, bounds):
            for start in steps:
                replicates = range(start, min(start + self.tile[-1], grid.replicates))
                yield from _tile_blocks(grid, rows, replicates, forward, kind, finished)


def drawn_blocks(cell: AbstractCell) -> tuple[str, ...]:
    """Return the row blocks that a matrix is drawn for: those with recurrent weights.

    For a cell without any, it is the first one: its matrix stands for the cell's eigenvalues.
    """
    return cell.recurrent_blocks or cell.row_blocks[:1]


_LAWS = ("spectrum", "input", "bias", "readout")


def structure(network: NetworkSettings) -> bytes:
    """Return what networks must share to be stacked: all settings but the laws of their weights."""
    return canonical({key: value for key, value in network.to_table().items() if key not in _LAWS})


def forward_ids(grid: Grid) -> tuple[Index, Index]:
    """Return for every point the number of its forward pass, and of the shape it may be stacked with."""
    inputs: dict[str, int] = {}
    input_of_task = [inputs.setdefault(digest(task.input_identity()), len(inputs)) for task in grid.tasks]
    shapes: dict[Any, int] = {}
    shape_of_network = [shapes.setdefault(structure(n), len(shapes)) for n in grid.networks]
    by_length = np.array([network.depends_on_length for network in grid.networks], dtype=bool)
    length_of_task = np.array([task.length for task in grid.tasks], dtype=np.int64)
    length = np.where(by_length[grid.network_index], length_of_task[grid.task_index], 0)
    stream = np.array(input_of_task, dtype=np.int64)[grid.task_index]
    shape = np.array(shape_of_network, dtype=np.int64)[grid.network_index]
    forward = np.stack([grid.network_index, stream, grid.seed_index, length], axis=1)
    kind = np.stack([shape, stream, length], axis=1)
    return _numbered(forward), _numbered(kind)


def _numbered(rows: Index) -> Index:
    """Return for every row the number of its value among the distinct ones."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _tile_blocks(
    grid: Grid,
    rows: Index,
    replicates: range,
    forward: Index,
    kind: Index,
    finished: NDArray[np.bool_] | None,
) -> Iterator[PlannedBlock]:
    """Yield the blocks of one tile: runs of one kind that are measured through the same views."""
    views: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows.tolist():
        for replicate in replicates:
            if finished is None or not finished[(*grid.points[row], replicate)]:
                views[int(forward[row]), replicate].append(row)
    groups: dict[tuple[int, tuple[tuple[int, int, int], ...]], list[tuple[int, list[int]]]] = defaultdict(
        list
    )
    for (_, replicate), members in views.items():
        seen = tuple(
            (int(grid.task_index[row]), int(grid.clip_index[row]), int(grid.learner_index[row]))
            for row in members
        )
        groups[int(kind[members[0]]), seen].append((replicate, members))
    for (_, seen), runs in groups.items():
        block = Block(
            tuple(
                Run(grid.networks[grid.network_index[m[0]]], grid.seeds[grid.seed_index[m[0]]], replicate)
                for replicate, m in runs
            ),
            tuple(View(grid.tasks[t], grid.clips[c], grid.learners[by]) for t, c, by in seen),
        )
        index = np.empty((len(runs), len(seen), grid.points.shape[1] + 1), dtype=np.int64)
        for i, (replicate, members) in enumerate(runs):
            index[i, :, :-1] = grid.points[members]
            index[i, :, -1] = replicate
        yield PlannedBlock(block, index)


def make_plan(grid: Grid) -> Plan:
    """Return the plan of a grid; it depends on the spec alone."""
    asked = grid.spec.record
    wanted = set(_ordinary_records(grid) if asked is None else asked)
    plan = Plan(grid, tuple(name for name in RECORDS if name in wanted), ())
    return replace(plan, tile=_tile(plan))


def _ordinary_records(grid: Grid) -> set[str]:
    """Return what is recorded where the spec does not say: what tells something of these cases."""
    names = set(RECORDS) - ON_REQUEST
    if not any("memory" in network.cell.state_parts for network in grid.networks):
        names -= {"log10_memory_gradient_norm"}
    if all(learner == Bptt() for learner in grid.learners):
        names -= OF_LEARNER
    return names


def _dense(grid: Grid, values: Index) -> Index:
    dense = np.full(grid.shape[:-1], -1, dtype=np.int64)
    dense[tuple(grid.points.T)] = values if dense.ndim else values[0]  # a spec without a sweep
    return dense


def _varies(dense: Index, axis: int) -> bool:
    """Whether a dense array changes along an axis, holes (-1) apart."""
    present = dense >= 0
    low = np.where(present, dense, np.iinfo(np.int64).max).min(axis=axis)
    return bool((present.any(axis=axis) & (dense.max(axis=axis) != low)).any())


def _tile(plan: Plan) -> tuple[int, ...]:
    """Choose the tile: whole along shared axes, then replicates, then the last stacked axes."""
    grid = plan.grid
    forward, kind = (_dense(grid, ids) for ids in forward_ids(grid))
    sizes = list(grid.shape)
    tile = [1] * len(sizes)
    profiles = [math.prod(plan.shape(name)) for name in plan.record if {"lag", "time"} & set(RECORDS[name])]
    most = max(plan.lags, *profiles) if profiles else plan.lags
    stacked = []
    for axis in range(len(sizes) - 1):
        if not _varies(forward, axis):
            tile[axis] = sizes[axis]
        elif not _varies(kind, axis):
            stacked.append(axis)
    seconds = sum(_point_seconds(grid, row) for row in range(len(grid.points))) / max(len(grid.points), 1)
    total = seconds * len(grid.points) * grid.replicates
    aim = min(BLOCK_SECONDS, max(total / BLOCKS_WANTED, BLOCK_SECONDS / 50))
    for axis in (len(sizes) - 1, *reversed(stacked)):
        have = math.prod(tile)
        by_time = aim / max(seconds * have, 1e-12)
        by_size = RESULT_BYTES / (8 * most * have)
        tile[axis] = int(max(1, min(sizes[axis], by_time, by_size)))
        if tile[axis] < sizes[axis]:
            break
    return tuple(tile)


def _point_seconds(grid: Grid, row: int) -> float:
    return seconds_of(grid.networks[grid.network_index[row]], grid.tasks[grid.task_index[row]])


_ENDLESS = 1 << 128  # sizes that no machine has; a float must hold what they come to


def seconds_of(network: NetworkSettings, task: Any) -> float:
    """Return about how long a case takes; forward and shared lanes counted in full."""
    rows = network.hidden * len(network.cell.row_blocks) * network.layers * network.directions
    work = min(rows * (network.hidden + task.features + 40) * task.batch, _ENDLESS)
    return float((2.0e-6 + 2.0 * work / RATE) * min(task.lags, _ENDLESS))
