"""Worker processes: started before there is work for them, started anew when one died, ended with the run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, active_children, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Self

from gradlab.core.notices import notice
from gradlab.experiment import startup

if TYPE_CHECKING:
    from gradlab.experiment import worker
    from gradlab.measure.block import AbstractBlock


MOMENT = 0.2  # seconds after which the system knows that a process was killed
HEARING_SECONDS = 1.0  # for the last words of workers to be passed on


class WorkerDied(Exception):  # noqa: N818  # it is what happened
    """Workers died while they measured a block with nothing else to blame; the others are well."""


class Workers:
    """Processes that measure blocks.

    Use it as a context: whatever happens in it, the processes end.

    Parameters
    ----------
    count : int
        How many. One is none: the work is then done in this process.
    forked : bool
        Whether they may be forked of a process that has loaded what they need, rather than each
        load it anew. That process may have been started before: `gradlab.experiment.startup.prepare_fork`.
    """

    def __init__(self, count: int, *, forked: bool = False):
        self.count = count
        self.forked = forked and startup.CAN_FORK
        self._pool: ProcessPoolExecutor | None = None
        self._started: Future[list[dict[str, Any]]] | None = None
        self._processes: set[BaseProcess] = set()
        self._used = False
        self._ear: Connection | None = None
        self._hearing: threading.Thread | None = None
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def here(self) -> bool:
        """Whether there are none, and this process does the work."""
        return self.count == 1

    @property
    def sharers(self) -> int:
        """How many share the memory that a run may take."""
        return self.count

    def start(self) -> None:
        """Start the processes, if there are none yet, and do not wait for them.

        It takes them longer to start than to measure a block, so the sooner the better: this process
        can meanwhile load what it needs itself.
        """
        if self._pool is not None or self.count == 1:
            return
        try:
            self._start()
        except (ConnectionError, EOFError):  # the process they are forked of was killed a moment ago
            self.stop()
            time.sleep(MOMENT)
            self._start()

    def _start(self) -> None:
        """Start the processes, and the thread that hears what they want the user to be told."""
        heard, self._ear = Pipe(duplex=False)
        self._hearing = threading.Thread(target=_hear, args=(heard,), daemon=True)
        self._hearing.start()
        self.forked = self.forked and startup.prepare_fork()
        context = get_context("forkserver" if self.forked else "spawn")
        before = set(active_children())
        try:
            with startup.quiet():
                all_started = context.Event()
                with contextlib.suppress(OSError):  # results can do without
                    self._folder = tempfile.mkdtemp(prefix="gradlab-")
                self._pool = ProcessPoolExecutor(
                    self.count,
                    mp_context=context,
                    initializer=startup.start,
                    initargs=(self._ear, all_started, self._folder),
                )
                for _ in range(self.count):  # the pool starts a process for every task while none is idle
                    self._started = self._pool.submit(startup.started)
                all_started.set()
        finally:
            self._processes = set(active_children()) - before

    def reduce(self, most: int) -> None:
        """Let there be no more than `most`; those that were started are ended if they are more."""
        if most < self.count:
            self.stop()
            self.count = max(1, most)

    def submit(self, block: AbstractBlock, order: worker.Order) -> Future[worker.Parts]:
        """Hand a block to the processes, which are started if there are none.

        Raises
        ------
        BrokenProcessPool
            If one of them has died; `stop` is then to be called, and new ones start.
        """
        from gradlab.experiment import worker  # late: processes start before this one loads NumPy

        self.start()
        assert self._pool is not None
        future = self._pool.submit(worker.work, block, order)
        self._used = True
        return future

    def linear_algebra(self) -> list[dict[str, Any]]:
        """Return what the processes measure with; see `gradlab.experiment.worker.linear_algebra`.

        Where there are none, that is what this process would measure with.
        """
        if self._started is not None:
            with contextlib.suppress(BrokenProcessPool, CancelledError):
                return self._started.result()
        from gradlab.experiment import worker

        return worker.linear_algebra()

    def stop(self) -> None:
        """End the processes, and wait for none.

        Those that got no block are ended at once, wherever they are. Others finish the one they have:
        a process that ends while it hands over its result would block the thread that takes it.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return
        pool.shutdown(wait=False, cancel_futures=True)
        if self._ear is not None and self._hearing is not None:
            self._ear.send(None)
            self._ear.close()
            self._hearing.join(HEARING_SECONDS)
        if not self._used:
            for process in self._processes:
                process.terminate()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = ""
        self._processes, self._used = set(), False


def _hear(workers: Connection) -> None:
    """Pass on what workers want the user to be told, until there is nothing more to hear.

    A message is so short that the system writes it at once: no worker waits for another, and none that
    is killed leaves half of one.
    """
    with workers:
        while (text := workers.recv()) is not None:
            notice(text)
