"""The contract of a measure: what of a spec it reads, what it records, and how its cases share work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.registry import Registry

if TYPE_CHECKING:
    from gradlab.core.errors import Problem
    from gradlab.experiment.expansion import Distinct
    from gradlab.experiment.grid import Grid
    from gradlab.measure.block import AbstractBlock

Index = NDArray[np.int64]
Labels = dict[str, Sequence[Any]]


class AbstractMeasure(ABC):
    """What is done with each case.

    Claims: `sections` of a spec that it reads, besides the seed; `records`, with what each runs along
    besides the case; `on_request`, those that are recorded only where they are asked for; `fills`, what
    stands, where nothing was measured, in records that are no floats; `view`, the
    sections in which cases may differ that share a run.
    """

    name: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    records: ClassVar[Mapping[str, tuple[str, ...]]]
    on_request: ClassVar[frozenset[str]] = frozenset()
    fills: ClassVar[Mapping[str, np.generic]] = {}
    view: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def labels(self, grid: Grid) -> Labels:
        """Return the labels of every dimension that a record may have; empty where it is not there."""

    @abstractmethod
    def shared(self, grid: Grid) -> tuple[Index, Index]:
        """Return for every point the number of its run, and of the kind that may be stacked."""

    @abstractmethod
    def run(self, grid: Grid, row: int, replicate: int) -> Any:
        """Return the run of a point."""

    @abstractmethod
    def block(self, grid: Grid, runs: tuple[Any, ...], views: tuple[tuple[int, ...], ...]) -> AbstractBlock:
        """Return a block of runs; each view is the numbers of its settings in the sections `view`."""

    @abstractmethod
    def seconds(self, grid: Grid, row: int) -> float:
        """Return about how long a case of a point takes by itself."""

    def together(self, seconds: float, total: float) -> float:
        """Return how many cases a block should have, each of which takes so many seconds.

        By default about as many as take a second, and fewer where all cases take `total` seconds only.
        """
        return min(BLOCK_SECONDS, max(total / BLOCKS_WANTED, BLOCK_SECONDS / 50)) / max(seconds, 1e-12)

    def idle_records(self, grid: Grid) -> frozenset[str]:
        """Return the records that would tell nothing of any case: recorded only where asked for."""
        return frozenset()

    def attributes(self, grid: Grid) -> dict[str, str]:
        """Return what all cases share and a reader of the data wants to know, by name."""
        return {}

    def unfit(self, parts: Mapping[str, Distinct]) -> list[Problem]:
        """Return the problems of settings of several sections that do not fit each other."""
        return []


BLOCK_SECONDS = 1.0  # a block should take about this long on one core of today
BLOCKS_WANTED = 28  # and a small sweep still be cut into this many, for the workers to share

registry: Registry[AbstractMeasure] = Registry("measure", "gradlab.experiment.measures")


@cache
def measure_of(name: str) -> AbstractMeasure:
    """Return the measure of a name."""
    return registry.build(name, "measure")


def names() -> list[str]:
    """Return the names of all measures, the probe first."""
    return sorted(registry.names(), key=lambda name: (name != "probe", name))


def record_names() -> list[str]:
    """Return the names of everything that any measure records."""
    return list(dict.fromkeys(record for name in names() for record in measure_of(name).records))


def section_names() -> tuple[str, ...]:
    """Return the sections that any measure reads."""
    return tuple(dict.fromkeys(section for name in names() for section in measure_of(name).sections))


def numbered(rows: Index) -> Index:
    """Return for every row the number of its value among the distinct ones."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def among(marks: Sequence[Any]) -> Index:
    """Return the number of every mark among the distinct ones."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(mark, len(known)) for mark in marks], dtype=np.int64)
