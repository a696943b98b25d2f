"""Worker processes: started before there is work for them, started anew when one died, ended with the run."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import Pipe, active_children, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Self

from gradlab.core.notices import notice
from gradlab.experiment import startup

if TYPE_CHECKING:
    from gradlab.experiment import worker
    from gradlab.measure.block import AbstractBlock


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
    """

    def __init__(self, count: int):
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()
        self._used = False
        self._ear: Connection | None = None
        self._hearing: threading.Thread | None = None

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
        heard, self._ear = Pipe(duplex=False)
        self._hearing = threading.Thread(target=_hear, args=(heard,), daemon=True)
        self._hearing.start()
        self._pool = ProcessPoolExecutor(
            self.count, mp_context=get_context("spawn"), initializer=startup.start, initargs=(self._ear,)
        )
        before = set(active_children())
        try:
            with quiet_start():
                for _ in range(self.count):  # the pool starts a process for every task while none is idle
                    self._pool.submit(startup.started)
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
        self._processes, self._used = set(), False


def _hear(workers: Connection) -> None:
    """Pass on what workers want the user to be told, until there is nothing more to hear.

    A message is so short that the system writes it at once: no worker waits for another, and none that
    is killed leaves half of one.
    """
    with workers:
        while (text := workers.recv()) is not None:
            notice(text)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
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
