"""From cases to shared work: runs, their views, blocks.

Nothing here depends on the machine. What can be shared is read off what each setting says it affects;
see the measures.
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

from gradlab.experiment.grid import Grid
from gradlab.experiment.measures import AbstractMeasure, measure_of
from gradlab.measure.block import AbstractBlock

Index = NDArray[np.int64]

Views = tuple[tuple[int, ...], ...]
Members = tuple[int, ...]  #: rows of the points that share a run

LONG = frozenset({"lag", "time", "update", "first", "second"})  # dimensions of many labels
RESULT_BYTES = 4 << 20  # of one variable in one block


@dataclass(frozen=True)
class PlannedBlock:
    """A block, and where its cases belong.

    Parameters
    ----------
    block : AbstractBlock
        What to measure.
    index : integer array of shape (run, view, axis)
        Place of every case in the dense grid, `replicate` last.
    """

    block: AbstractBlock
    index: Index

    @property
    def cases(self) -> int:
        """Number of cases."""
        return int(self.index.shape[0] * self.index.shape[1])

    @property
    def seconds(self) -> float:
        """About how long it takes; see `AbstractBlock.run_seconds`."""
        return self.block.size * self.block.run_seconds


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
    def measure(self) -> AbstractMeasure:
        """What is done with each case."""
        return measure_of(self.grid.spec.measure)

    @cached_property
    def along(self) -> dict[str, Sequence[Any]]:
        """Labels of every dimension that a record may have besides the case's, where it is there."""
        labels = self.measure.labels(self.grid)
        return {dim: own for dim, own in labels.items() if len(own)} | self.wider

    @property
    def lags(self) -> int:
        """Number of lags of the longest case; 0 if nothing runs along them."""
        return len(self.along.get("lag", ()))

    @property
    def gates(self) -> tuple[str, ...]:
        """Row blocks of all cells that a matrix is drawn for; empty if no cell has more than one."""
        return tuple(self.along.get("gate", ()))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of what is recorded of one case."""
        return tuple(len(self.along[dim]) for dim in self.measure.records[name] if dim in self.along)

    @cached_property
    def passes(self) -> tuple[int, int]:
        """Distinct forward passes, and distinct backward passes."""
        every = [planned.block.passes(self.record) for planned in self.blocks()]
        return sum(forward for forward, _ in every), sum(back for _, back in every)

    @property
    def forward_passes(self) -> int:
        """Distinct forward passes."""
        return self.passes[0]

    @property
    def lanes(self) -> int:
        """Distinct backward passes."""
        return self.passes[1]

    def blocks(self, finished: NDArray[np.bool_] | None = None) -> Iterator[PlannedBlock]:
        """Yield the blocks of all cases that are not finished yet.

        Parameters
        ----------
        finished : boolean array of the grid's shape, optional
            Cases to leave out.
        """
        return iter(self._all_blocks) if finished is None else self._blocks(finished)

    @cached_property
    def _all_blocks(self) -> tuple[PlannedBlock, ...]:
        return tuple(self._blocks(None))

    def _blocks(self, finished: NDArray[np.bool_] | None) -> Iterator[PlannedBlock]:
        grid = self.grid
        forward, kind = grid.shared
        place = grid.points // np.array(self.tile[:-1], dtype=np.int64)
        steps = range(0, grid.replicates, self.tile[-1])
        order = np.lexsort(place.T[::-1]) if place.shape[1] else np.arange(len(place))
        bounds = np.flatnonzero((np.diff(place[order], axis=0) != 0).any(axis=1)) + 1
        for rows in np.split(order, bounds):
            for start in steps:
                replicates = range(start, min(start + self.tile[-1], grid.replicates))
                yield from _tile_blocks(self, rows, replicates, forward, kind, finished)


def _tile_blocks(
    plan: Plan,
    rows: Index,
    replicates: range,
    forward: Index,
    kind: Index,
    finished: NDArray[np.bool_] | None,
) -> Iterator[PlannedBlock]:
    """Yield the blocks of one tile: runs of one kind that are measured through the same views."""
    grid, measure = plan.grid, plan.measure
    indices = [grid.index(section) for section in measure.view]
    groups: dict[tuple[int, Views], list[tuple[int, Members]]] = defaultdict(list)
    known: dict[Members, tuple[int, Views]] = {}
    for replicate, members in _runs_of_tile(grid, rows, replicates, forward, finished):
        if members not in known:
            known[members] = int(kind[members[0]]), _views(indices, members)
        groups[known[members]].append((replicate, members))
    for (_, seen), runs in groups.items():
        block = measure.block(grid, tuple(measure.run(grid, m[0], replicate) for replicate, m in runs), seen)
        index = np.empty((len(runs), len(seen), grid.points.shape[1] + 1), dtype=np.int64)
        index[:, :, :-1] = grid.points[np.array([members for _, members in runs])]
        index[:, :, -1] = np.array([replicate for replicate, _ in runs])[:, None]
        yield PlannedBlock(block, index)


def _runs_of_tile(
    grid: Grid, rows: Index, replicates: range, forward: Index, finished: NDArray[np.bool_] | None
) -> list[tuple[int, Members]]:
    """Return every replicate of a forward pass that is to run, with the rows of the points that share it.

    They stand in the order in which their first points do.
    """
    left = np.ones((len(rows), len(replicates)), dtype=bool)
    if finished is not None:
        left = ~finished[tuple(grid.points[rows].T)].reshape(len(rows), -1)[:, replicates]
    own = forward[rows]
    order = np.argsort(own, kind="stable")
    found: list[tuple[int, int, Members]] = []
    for places in np.split(order, np.flatnonzero(np.diff(own[order])) + 1):
        for columns in _alike(left[places]):
            here = places[left[places, columns[0]]]
            if len(here):
                members = tuple(rows[here].tolist())
                found += [(int(here[0]), replicates[column], members) for column in columns]
    found.sort(key=lambda run: run[:2])
    return [(replicate, members) for _, replicate, members in found]


def _alike(left: NDArray[np.bool_]) -> list[list[int]]:
    """Return the columns that are the same, together."""
    if left.all():
        return [list(range(left.shape[1]))]
    alike: dict[bytes, list[int]] = defaultdict(list)
    for column, cells in enumerate(left.T):
        alike[cells.tobytes()].append(column)
    return list(alike.values())


def _views(indices: Sequence[Index], members: Members) -> Views:
    """Return the numbers of the settings through which a run is measured, one row a case."""
    columns = np.array([index[list(members)] for index in indices], dtype=np.int64)
    return tuple(map(tuple, columns.reshape(len(indices), len(members)).T.tolist()))


def records_of(grid: Grid) -> tuple[str, ...]:
    """Return what is recorded of the cases of a grid."""
    measure, asked = measure_of(grid.spec.measure), grid.spec.record
    ordinary = set(measure.records) - measure.on_request - measure.idle_records(grid)
    wanted = ordinary if asked is None else set(asked)
    return tuple(name for name in measure.records if name in wanted)


def make_plan(grid: Grid) -> Plan:
    """Return the plan of a grid; it depends on the spec alone."""
    plan = Plan(grid, records_of(grid), ())
    return replace(plan, tile=_tile(plan))


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
    grid, measure = plan.grid, plan.measure
    forward, kind = (_dense(grid, ids) for ids in grid.shared)
    sizes = list(grid.shape)
    tile = [1] * len(sizes)
    most = max(
        [plan.lags, 1, *(math.prod(plan.shape(name)) for name in plan.record if _is_profile(plan, name))]
    )
    stacked = []
    for axis in range(len(sizes) - 1):
        if not _varies(forward, axis):
            tile[axis] = sizes[axis]
        elif not _varies(kind, axis):
            stacked.append(axis)
    points = len(grid.points)
    seconds = sum(measure.seconds(grid, row) for row in range(points)) / max(points, 1)
    together = measure.together(seconds, seconds * points * grid.replicates)
    for axis in (len(sizes) - 1, *reversed(stacked)):
        have = math.prod(tile)
        by_size = RESULT_BYTES / (8 * most * have)
        tile[axis] = int(max(1, min(sizes[axis], together / have, by_size)))
        if tile[axis] < sizes[axis]:
            break
    return tuple(tile)


def _is_profile(plan: Plan, name: str) -> bool:
    """Whether a record runs along something long."""
    return bool(LONG & set(plan.measure.records[name]))
