"""Training of cases of equal shape, side by side: settings in, named arrays out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.workspace import Workspace
from gradlab.measure.baselines import baselines
from gradlab.measure.history import ORDINARY, State, begin, results
from gradlab.measure.records import DIVERGED
from gradlab.measure.size import evenly, tile_and_segment
from gradlab.measure.tile import Tile, group_key
from gradlab.measure.training import TrainingBlock
from gradlab.measure.training_size import training_sizes

__all__ = ["Progress", "check_training_memory", "train"]

Array = NDArray[Any]
PATIENCE = 0.25  # seconds between two tellings of progress


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Parameters
    ----------
    done, total : int
        Updates of single cases, those that a case that ended will not need counted as done.
    rows : integer array
        The cases of the block that are being updated.
    loss : array
        Their last loss.
    solved, diverged : boolean arrays of shape (case,)
        Of all cases of the block.
    """

    done: int
    total: int
    rows: Array
    loss: Array
    solved: Array
    diverged: Array


def train(
    block: TrainingBlock,
    record: Collection[str] = ORDINARY,
    memory: int = 256 << 20,
    workspace: Workspace | None = None,
    *,
    start: State | None = None,
    checkpoint: Callable[[State], None] | None = None,
    every: float = 60.0,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Array]:
    """Train every case of a block.

    Parameters
    ----------
    block : TrainingBlock
        What to train.
    record : collection of str
        Names out of `TRAINING_RECORDS`; what is not asked for is not computed.
    memory : int
        Bytes that the buffers may take; it decides how many cases are updated at once and how long the
        stretches of the tape are, and changes no bit of any result.
    workspace : Workspace, optional
        Buffers to reuse.
    start : dict of arrays, optional
        A state that `checkpoint` was given, by the same block and records: goes on from there, to the same
        bits as if nothing had happened. It is left as it is.
    checkpoint : callable, optional
        Called with the state between updates, and at the end. The arrays go on changing afterwards.
    every : float
        Seconds between two such calls.
    progress : callable, optional
        Told, a few times a second, how far it is.

    Returns
    -------
    dict of arrays
        By record, the case followed by the dims that `TRAINING_RECORDS` names, and "status". What was
        never reached is NaN; -1 for updates. Along "predictor" stand the `predictors` of the block's tasks.
    """
    wanted = frozenset(record)
    state = begin(block, wanted) if start is None else {name: a.copy() for name, a in start.items()}
    workspace = workspace or Workspace()
    tile, segment = tile_and_segment(training_sizes(block, wanted), memory)
    reporter = _Reporter(block, state, checkpoint, every, progress)
    for rows in _tiles(block, state, tile):
        own = Tile(block, state, rows, wanted, segment, workspace)
        own.advance(reporter.after)
    reporter.finish()
    found = results(state, wanted)
    if "baseline" in wanted:
        found["baseline"] = baselines(block.cases)
    return found


def check_training_memory(
    block: TrainingBlock, record: Collection[str], memory: int, total: Callable[[int], int] = int
) -> None:
    """Raise UserMistake if not even one case of the block fits into `memory` bytes; see `check_memory`."""
    tile_and_segment(training_sizes(block, frozenset(record)), memory, total)


def training_bytes(block: TrainingBlock, record: Collection[str], memory: int) -> int:
    """Return the bytes that `train` takes for its buffers."""
    sizes = training_sizes(block, frozenset(record))
    tile, segment = tile_and_segment(sizes, memory)
    return sizes.total(min(tile, len(block.cases)), segment)


def _tiles(block: TrainingBlock, state: State, size: int) -> list[NDArray[np.int64]]:
    """Return the cases that still run, a tile at a time: equally far, those of a group side by side."""
    names = [repr(group_key(case)) for case in block.cases]
    running, tiles = np.flatnonzero(state["running"]).tolist(), []
    for done in sorted({int(state["done"][i]) for i in running}):
        own = sorted((i for i in running if state["done"][i] == done), key=lambda i: (names[i], i))
        together = evenly(len(own), size)
        for first in range(0, len(own), together):
            tiles.append(np.array(own[first : first + together], dtype=np.int64))
    return tiles


class _Reporter:
    """Tells, between updates, how far a training is, and hands out its state."""

    def __init__(
        self,
        block: TrainingBlock,
        state: State,
        checkpoint: Callable[[State], None] | None,
        every: float,
        progress: Callable[[Progress], None] | None,
    ):
        self._block, self._state = block, state
        self._checkpoint, self._every, self._progress = checkpoint, every, progress
        self._saved = self._told = time.monotonic()

    def after(self, tile: Tile) -> None:
        """Do what is due after an update of a tile."""
        now = time.monotonic()
        if self._checkpoint is not None and now - self._saved >= self._every:
            tile.store()
            self._checkpoint(self._state)
            self._saved = time.monotonic()
        if self._progress is not None and now - self._told >= PATIENCE:
            self._tell(tile.rows, tile.loss)
            self._told = now

    def finish(self) -> None:
        """Do what is due at the end."""
        if self._checkpoint is not None:
            self._checkpoint(self._state)
        if self._progress is not None:
            self._tell(np.empty(0, dtype=np.int64), np.empty(0))

    def _tell(self, rows: Array, loss: Array) -> None:
        state, updates = self._state, self._block.training.updates
        done = np.where(state["running"], state["done"], updates)
        solved, diverged = state["solved_at"] >= 0, state["status"] == DIVERGED
        assert self._progress is not None
        self._progress(Progress(int(done.sum()), updates * len(done), rows, loss, solved, diverged))
