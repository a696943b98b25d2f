"""Runs the blocks of a plan, in this process or in workers, and hands results to a sink."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, resource_tracker
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.experiment import worker
from gradlab.experiment.plan import Plan, PlannedBlock
from gradlab.experiment.sink import Sink
from gradlab.experiment.worker import Result
from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import check_memory
from gradlab.measure.records import RECORDS

Array = NDArray[Any]

#: Bytes that a process holds before any work: interpreter, libraries, code.
PARENT_BYTES = 240 << 20
WORKER_BYTES = 110 << 20


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


def execute(
    plan: Plan, sink: Sink, *, workers: int = 1, memory: int = 1 << 30, progress: Progress | None = None
) -> Outcome:
    """Measure every case of a plan that its sink does not hold yet.

    Parameters
    ----------
    plan : Plan
        The work.
    sink : Sink
        Takes the results; closed at the end, also after an error.
    workers : int
        Processes; 1 works in this one.
    memory : int
        Bytes that all processes together may take.
    progress : callable, optional
        Called after every block.

    Raises
    ------
    UserMistake
        If the memory does not suffice for one case; nothing has run then.
    """
    finished = sink.finished()
    blocks = list(plan.blocks(finished))
    outcome = Outcome(kept=plan.grid.n_cases - sum(block.cases for block in blocks))
    share = memory_share(memory, workers)
    for block in {(b.block.runs[0].network.hidden, b.block.views): b.block for b in blocks}.values():
        check_memory(block, plan.record, share, total=lambda needed: memory + workers * (needed - share))
    # The heavy blocks first: the last ones to finish are then light.
    blocks.sort(key=lambda b: -b.cases * max(view.task.lags for view in b.block.views))
    run = _serial if workers == 1 else _parallel
    try:
        for planned, result in run(blocks, plan.record, share, workers):
            _deliver(plan, sink, planned, result, outcome)
            if progress is not None:
                failed = planned.cases if isinstance(result, str) else 0
                progress(planned.cases, failed)
    finally:
        sink.close()
    return outcome


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
    """Return records with one row a case, gates in the columns of the whole sweep."""
    out = {}
    for name, values in result.items():
        flat = values.reshape(-1, *values.shape[2:])
        if RECORDS.get(name) == "gate":
            if not plan.gates:
                flat = flat[:, 0]
            else:
                spread = np.full((len(flat), len(plan.gates)), np.nan)
                own = planned.block.runs[0].network.cell.row_blocks
                spread[:, [plan.gates.index(block) for block in own]] = flat
                flat = spread
        out[name] = flat
    return out


Measured = Iterator[tuple[PlannedBlock, Result]]


def _serial(blocks: list[PlannedBlock], record: tuple[str, ...], share: int, workers: int) -> Measured:
    from threadpoolctl import threadpool_limits

    workspace = Workspace()
    with threadpool_limits(1, user_api="blas"):
        for planned in blocks:
            yield from _placed(planned, worker.measured(planned.block, record, share, workspace))


def _placed(planned: PlannedBlock, parts: worker.Parts) -> Measured:
    """Return results with the part of the planned block that each belongs to."""
    runs = _runs_of(planned)
    for run, result in parts:
        yield (planned if run is None else runs[run]), result


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Let workers start without the user's script, and without their tracebacks on Ctrl-C.

    Workers need gradlab only: a script that calls `run` at its top level must not be run again in
    each of them. And an interruption is for this process to answer: workers inherit it as blocked
    until they ignore it.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = getattr(main, "__spec__", None), None
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        resource_tracker.ensure_running()  # its own start would unblock the signal again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        main.__dict__.update(hidden)
        main.__spec__ = spec


def _parallel(blocks: list[PlannedBlock], record: tuple[str, ...], share: int, workers: int) -> Measured:
    """Feed blocks to worker processes; a worker that dies is replaced.

    The blocks that were in flight when a worker died are suspects: they are repeated one at a time,
    so that only the one at fault is blamed. That one is taken apart into its runs, and a run that
    kills its worker again has failed.
    """
    pending, suspects = list(reversed(blocks)), list[PlannedBlock]()
    guilty: set[int] = set()
    while pending or suspects:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=worker.start)
        flying: dict[Future[Any], PlannedBlock] = {}
        try:
            while (pending or suspects or flying) and _submit(
                pool, pending, suspects, flying, record, share, workers
            ):
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    parts = future.result()
                    yield from _placed(flying.pop(future), parts)
        except BrokenProcessPool:
            pass  # who was in flight is in `flying`
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        lost = list(flying.values())
        if len(lost) != 1:
            suspects += lost
        elif id(lost[0]) not in guilty:
            guilty.add(id(lost[0]))
            suspects.append(lost[0])
        elif len(lost[0].block.runs) > 1:
            suspects += _runs_of(lost[0])
        else:
            yield lost[0], "A worker process died while it measured this case, twice.\n"


def _submit(
    pool: ProcessPoolExecutor,
    pending: list[PlannedBlock],
    suspects: list[PlannedBlock],
    flying: dict[Future[Any], PlannedBlock],
    record: tuple[str, ...],
    share: int,
    workers: int,
) -> bool:
    """Keep the workers fed; suspects go alone. Return whether anything is in flight."""
    while suspects or pending:
        queue, most = (suspects, 1) if suspects else (pending, 2 * workers)
        if len(flying) >= most:
            break
        planned = queue[-1]
        with _quiet_start():
            flying[pool.submit(worker.work, planned.block, record, share)] = planned
        queue.pop()
    return bool(flying)


def _runs_of(planned: PlannedBlock) -> list[PlannedBlock]:
    """Return the runs of a block as blocks of their own."""
    return [
        PlannedBlock(replace(planned.block, runs=(run,)), planned.index[i : i + 1])
        for i, run in enumerate(planned.block.runs)
    ]
