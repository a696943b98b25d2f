"""Runs the blocks of a plan, in this process or in workers, and hands results to a sink."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment import worker
from gradlab.experiment.interruption import Arrivals
from gradlab.experiment.plan import Plan, PlannedBlock
from gradlab.experiment.sink import Sink
from gradlab.experiment.worker import Order, Result
from gradlab.experiment.workers import WorkerDied, Workers
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import TELLING

Array = NDArray[Any]

#: Bytes that a process holds before any work: interpreter, libraries, code.
PARENT_BYTES = 240 << 20
WORKER_BYTES = 110 << 20

#: Work that is handed to each worker ahead, for this process may be busy with something else: at least
#: some blocks, and more where they are short.
AHEAD_BLOCKS, MOST_AHEAD_BLOCKS = 2, 8
AHEAD_SECONDS = 1.0


@dataclass
class Outcome:
    """What became of a run.

    Attributes
    ----------
    done, failed : int
        Cases measured and cases that raised, in this run.
    kept : int
        Cases that were there already.
    """

    done: int = 0
    failed: int = 0
    kept: int = 0
    errors: list[str] = field(default_factory=list)


Progress = Callable[[int, int], None]  #: called with the number of cases just done, and of those that failed


def check_blocks(
    blocks: Iterable[PlannedBlock], record: Collection[str], memory: int, workers: int = 1
) -> None:
    """Raise UserMistake if `workers` processes with `memory` bytes cannot measure one case of every block."""
    share = memory_share(memory, workers)
    for block in {b.block.kind: b.block for b in blocks}.values():
        block.check_memory(record, share, lambda needed: memory + workers * (needed - share))


def execute(
    plan: Plan,
    sink: Sink,
    *,
    workers: int | Workers = 1,
    memory: int = 1 << 30,
    progress: Progress | None = None,
    meanwhile: Callable[[], object] | None = None,
    only: NDArray[np.bool_] | None = None,
    checkpoints: Path | None = None,
) -> Outcome:
    """Measure every case of a plan that its sink does not hold yet.

    Parameters
    ----------
    plan : Plan
        The work.
    sink : Sink
        Takes the results; closed at the end, also after an error.
    workers : int or Workers
        Processes; 1 works in this one. Those that were started before are ended here.
    memory : int
        Bytes that all processes together may take.
    progress : callable, optional
        Called after every block.
    meanwhile : callable, optional
        Called once before the first result is written: when the worker processes, if there are any,
        have got their first blocks. What this process can do before it gets their results.
    only : boolean array of the grid's shape, optional
        The cases that are to be measured; by default all.
    checkpoints : path, optional
        A folder for what long blocks have done so far: they go on from it. What a block has there is
        removed when it is done.

    Raises
    ------
    UserMistake
        If the memory does not suffice for one case; nothing has run then.
    """
    if isinstance(workers, int):
        workers = Workers(workers)
    with workers, contextlib.closing(sink):
        finished = sink.finished()
        blocks = list(plan.blocks(finished if only is None else finished | ~only))
        asked = plan.grid.n_cases if only is None else int(only.sum())
        outcome = Outcome(kept=asked - sum(block.cases for block in blocks))
        count = workers.sharers
        share = memory_share(memory, count)
        check_blocks(blocks, plan.record, memory, count)
        # The heavy blocks first: the last ones to finish are then light.
        blocks.sort(key=lambda planned: -planned.seconds)
        order = Order(plan.record, share, None if checkpoints is None else str(checkpoints))
        meanwhile = meanwhile or _nothing
        long = checkpoints is not None and any(b.block.checkpoint_name(plan.record) for b in blocks)
        if workers.here or long or not blocks:
            meanwhile()
            meanwhile = _nothing
        if checkpoints is not None and long:
            make_folder(checkpoints)
        arrivals = Arrivals()
        run = (
            _serial(blocks, order) if workers.here else _parallel(blocks, order, workers, arrivals, meanwhile)
        )
        with contextlib.nullcontext() if workers.here else arrivals.interruptible():
            for planned, result in run:
                _deliver(plan, sink, planned, result, outcome)
                if (kept := order.checkpoint(planned.block)) is not None:
                    forget(kept)
                if progress is not None:
                    progress(planned.cases, planned.cases if isinstance(result, str) else 0)
    return outcome


def make_folder(path: Path) -> None:
    """Make the folder for unfinished work.

    Raises
    ------
    UserMistake
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise UserMistake(Problem(str(path), "a folder that can be made", got)) from None


def forget(checkpoint: Path) -> None:
    """Remove what was kept of a block that is done."""
    for path in (checkpoint, checkpoint.with_name(checkpoint.name + TELLING)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def memory_share(memory: int, workers: int) -> int:
    """Return the bytes that the buffers of one process may take."""
    if workers == 1:
        return memory - PARENT_BYTES
    return (memory - PARENT_BYTES - workers * WORKER_BYTES) // workers


def _deliver(plan: Plan, sink: Sink, planned: PlannedBlock, result: Result, outcome: Outcome) -> None:
    index = planned.index.reshape(-1, planned.index.shape[-1])
    if isinstance(result, str):
        settings = [
            plan.grid.settings(row, place[-1])
            for row, place in zip(_rows(plan, index), index.tolist(), strict=True)
        ]
        sink.fail(index, result, settings)
        outcome.failed += len(index)
        outcome.errors.append(result)
        return
    sink.write(index, _flattened(plan, planned, result))
    outcome.done += len(index)


def _rows(plan: Plan, index: NDArray[np.int64]) -> list[int]:
    """Return the rows of the grid's points at places of the dense grid."""
    shape = plan.grid.shape[:-1]
    if not shape:
        return [0] * len(index)
    codes = np.ravel_multi_index(tuple(plan.grid.points.T), shape)
    rows: list[int] = np.searchsorted(codes, np.ravel_multi_index(tuple(index[:, :-1].T), shape)).tolist()
    return rows


def _flattened(plan: Plan, planned: PlannedBlock, result: dict[str, Array]) -> dict[str, Array]:
    """Return records with one row a case, layers, directions and labels at their places in the whole sweep.

    What a case lacks of them is NaN. Lags and time steps stay as many as the block has.
    """
    labels, records = planned.block.labels, plan.measure.records
    out = {}
    for name, values in result.items():
        dims = records.get(name, ())
        whole = values.reshape(*values.shape[:2], *(1,) * (len(dims) + 2 - values.ndim), *values.shape[2:])
        flat = whole.reshape(whole.shape[0] * whole.shape[1], *whole.shape[2:])
        for axis, dim in reversed(list(enumerate(dims, start=1))):
            if dim not in plan.along:
                flat = flat.squeeze(axis)
            elif dim in labels:
                every = {label: place for place, label in enumerate(plan.along[dim])}
                flat = _spread(flat, axis, [every[label] for label in labels[dim]], len(every))
            elif dim in ("layer", "direction"):
                flat = _spread(flat, axis, list(range(flat.shape[axis])), len(plan.along[dim]))
        out[name] = flat
    return out


def _spread(values: Array, axis: int, places: list[int], size: int) -> Array:
    """Return `values` at these places along an axis of this size, NaN elsewhere."""
    if places == list(range(size)):
        return values
    whole = np.full((*values.shape[:axis], size, *values.shape[axis + 1 :]), np.nan)
    whole[(slice(None),) * axis + (places,)] = values
    return whole


Measured = Iterator[tuple[PlannedBlock, Result]]


def _serial(blocks: list[PlannedBlock], order: Order) -> Measured:
    workspace = Workspace()
    with worker.one_thread():
        for planned in blocks:
            yield from _placed(planned, worker.measured(planned.block, order, workspace))


def _placed(planned: PlannedBlock, parts: worker.Parts) -> Measured:
    """Return results with the part of the planned block that each belongs to."""
    runs = _runs_of(planned)
    for run, result in parts:
        yield (planned if run is None else runs[run]), result


def _parallel(
    blocks: list[PlannedBlock],
    order: Order,
    workers: Workers,
    arrivals: Arrivals,
    meanwhile: Callable[[], object],
) -> Measured:
    """Feed blocks to worker processes; a worker that dies is replaced.

    The blocks that were in flight when a worker died are suspects: they are repeated one at a time,
    so that only the one at fault is blamed. That one is taken apart into its runs, and a run that
    kills its worker again has failed. A cluster knows whose fault it is, and says so by `WorkerDied`.
    """
    pending, suspects = list(reversed(_tapered(blocks, workers.count))), list[PlannedBlock]()
    guilty: set[int] = set()
    while pending or suspects:
        flying: dict[Future[worker.Parts], PlannedBlock] = {}
        try:
            while _submit(workers, pending, suspects, flying, arrivals, order):
                meanwhile()
                meanwhile = _nothing
                future = arrivals.next()
                if future not in flying:
                    continue  # of processes that are gone
                try:
                    parts = future.result()
                except WorkerDied:
                    yield from _apart(flying.pop(future), pending)
                else:
                    yield from _placed(flying.pop(future), parts)
        except BrokenProcessPool:
            pass  # who was in flight is in `flying`
        finally:
            workers.stop()
        lost = list(flying.values())
        if len(lost) != 1:
            suspects += lost
        elif id(lost[0]) not in guilty:
            guilty.add(id(lost[0]))
            suspects.append(lost[0])
        else:
            yield from _apart(lost[0], suspects)


def _apart(guilty: PlannedBlock, queue: list[PlannedBlock]) -> Measured:
    """Queue the runs of a block that kills its workers; if it is one run, it has failed."""
    if guilty.block.size > 1:
        queue += _runs_of(guilty)
    else:
        yield guilty, "A worker process died while it measured this case, twice.\n"


def _nothing() -> None:
    """Do nothing."""


def _submit(
    workers: Workers,
    pending: list[PlannedBlock],
    suspects: list[PlannedBlock],
    flying: dict[Future[worker.Parts], PlannedBlock],
    arrivals: Arrivals,
    order: Order,
) -> bool:
    """Keep the workers fed; suspects go alone. Return whether anything is in flight."""
    while suspects or pending:
        queue = suspects or pending
        if flying and (suspects or _enough(flying.values(), workers.count)):
            break
        planned = queue[-1]
        future = workers.submit(planned.block, order)
        flying[future] = planned
        queue.pop()
        arrivals.expect(future)
    return bool(flying)


def _enough(flying: Collection[PlannedBlock], workers: int) -> bool:
    """Whether the workers have got so much that none waits for a while."""
    if len(flying) < AHEAD_BLOCKS * workers:
        return False
    seconds = sum(planned.seconds for planned in flying)
    return seconds >= AHEAD_SECONDS * workers or len(flying) >= MOST_AHEAD_BLOCKS * workers


def _tapered(blocks: list[PlannedBlock], workers: int) -> list[PlannedBlock]:
    """Return the blocks with the last ones cut in four, so that no worker is idle for long at the end.

    One a worker is enough: what is left when the first of them has nothing whole to take is at most as
    much as that. More would have the files of their cases written over more often.
    """
    first = max(0, len(blocks) - workers)
    return blocks[:first] + [part for planned in blocks[first:] for part in _parts_of(planned, 4)]


def _runs_of(planned: PlannedBlock) -> list[PlannedBlock]:
    """Return the runs of a block as blocks of their own."""
    return _parts_of(planned, planned.block.size)


def _parts_of(planned: PlannedBlock, most: int) -> list[PlannedBlock]:
    """Return a block cut into parts of about as many runs each: `most`, or as many as there are runs."""
    size, count = planned.block.size, min(most, planned.block.size)
    cuts = [size * i // count for i in range(count + 1)]
    return [
        PlannedBlock(planned.block.part(start, stop), planned.index[start:stop])
        for start, stop in itertools.pairwise(cuts)
    ]
