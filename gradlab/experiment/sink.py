"""Where a runner puts its results: the protocol, and the sink that keeps them in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradlab.experiment.plan import Plan
from gradlab.measure.records import DIVERGED, FAILED, NOT_RUN, OK, OVERFLOWED

Array = NDArray[Any]


class Sink(Protocol):
    """Takes results block by block; the runner knows no more of it."""

    def finished(self) -> NDArray[np.bool_]:
        """Return which cases need no run, in the grid's dense shape (axes..., replicate)."""

    def write(self, index: NDArray[np.int64], records: Mapping[str, Array]) -> None:
        """Keep the records of cases: `index` is (case, axis), every record has cases in front."""

    def fail(self, index: NDArray[np.int64], error: str, settings: Sequence[Mapping[str, Any]]) -> None:
        """Mark cases as failed and keep the error with their settings."""

    def close(self) -> None:
        """Finish writing."""


class MemorySink:
    """Dense arrays in memory.

    Attributes
    ----------
    arrays : dict
        By record, of shape (axes..., replicate, what it runs along...).
    failures : list of (index, error, settings)
    """

    def __init__(self, plan: Plan):
        shape = plan.grid.shape
        fills = plan.measure.fills
        self.arrays: dict[str, Array] = {
            name: np.full((*shape, *plan.shape(name)), fills.get(name, np.nan)) for name in plan.record
        }
        self.arrays["status"] = np.full(shape, NOT_RUN, dtype=np.int8)
        self.arrays["first_overflow"] = np.full(shape, -1, dtype=np.int64)
        self.failures: list[tuple[NDArray[np.int64], str, Sequence[Mapping[str, Any]]]] = []

    def finished(self) -> NDArray[np.bool_]:
        """Return which cases have been written."""
        return np.isin(self.arrays["status"], (OK, OVERFLOWED, DIVERGED))

    def write(self, index: NDArray[np.int64], records: Mapping[str, Array]) -> None:
        """Keep the records of cases; see `Sink`."""
        place = tuple(index.T)
        for name, values in records.items():
            self.arrays[name][(*place, *map(slice, values.shape[1:]))] = values

    def fail(self, index: NDArray[np.int64], error: str, settings: Sequence[Mapping[str, Any]]) -> None:
        """Mark cases as failed; see `Sink`."""
        self.arrays["status"][tuple(index.T)] = FAILED
        self.failures.append((index, error, settings))

    def close(self) -> None:
        """Nothing to finish."""
