"""A dask cluster as workers: blocks go to it one by one, few at a time, and their results come back here.

Every block is bound to one worker, so that it is known which blocks a worker had when it died. A
block that may have been under way then is measured again with nothing else on its worker, and one
whose worker dies twice is to blame; those that only waited there go elsewhere, as do the blocks
of workers that come later. The numbers do not depend on any of this.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.notices import notice
from gradlab.experiment import connection, remote, worker
from gradlab.experiment.workers import WorkerDied, Workers
from gradlab.measure.block import AbstractBlock

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 0.5  # between two looks at which workers there are
LOST_SECONDS = 10.0  # without an answer of the scheduler, until it is given up
EMPTY_SECONDS = 300.0  # without any worker, until the run is given up
AHEAD = 2  # blocks that a thread of a worker has been sent, the one under way included
MOST_DEATHS = 2


@dataclass(eq=False)
class _Job:
    """A block on its way.

    Attributes
    ----------
    task : bytes
        What a worker is sent.
    ours : Future
        What the caller waits for.
    deaths : int
        Workers that died while they may have been measuring it.
    at : str
        The worker that has it; empty while it waits for one.
    theirs : distributed.Future or None
        What the cluster calls it.
    """

    task: bytes
    ours: Future[worker.Parts]
    deaths: int = 0
    at: str = ""
    theirs: Any = None


class Cluster(Workers):
    """Workers of a dask cluster.

    Parameters
    ----------
    scheduler : str or distributed.Client
        ``tcp://HOST:PORT``, ``local:N`` for processes of its own, or a client, which is left open.
    where : str
        What messages call it.

    Raises
    ------
    UserMistake
        If `scheduler` is nothing of these, or dask is not installed.
    """

    def __init__(self, scheduler: str | Client, where: str = "scheduler"):
        self._where = where
        self._given: Client | None = None
        if isinstance(scheduler, str):
            self.name = connection.checked(scheduler, where)
            connection.require(where)
        else:
            self._given = connection.as_client(scheduler, where)
            self.name = str(self._given.scheduler.address)
        super().__init__(connection.local_count(self.name))
        self._client: Client | None = None
        self._held = contextlib.ExitStack()
        self._lock = threading.RLock()
        self._threads: dict[str, int] = {}  # of every worker that fits
        self._jobs: dict[str, list[_Job]] = {}  # of every worker, in the order in which it takes them
        self._waiting: deque[_Job] = deque()
        self._refused: dict[str, str] = {}
        self._told: set[str] = set()
        self._answered = self._staffed = 0.0
        self._ended = threading.Event()

    @property
    def here(self) -> bool:
        """Whether this process does the work: never."""
        return False

    @property
    def sharers(self) -> int:
        """How many share the memory that a run may take.

        On this machine that is all workers; elsewhere a machine's memory is nothing to the others, and
        the bound is that of every worker: its threads share it.
        """
        self.start()
        return self.count if connection.local_count(self.name) else max(self._threads.values(), default=1)

    def start(self) -> None:
        """Connect to the cluster, or start it, if that has not been done.

        Raises
        ------
        UserMistake
            If the scheduler does not answer, has no workers, or has workers that would give other numbers.
        """
        if self._client is not None:
            return
        self._ended = threading.Event()
        with contextlib.ExitStack() as held:
            client = self._open(held)
            connection.await_worker(client, self._where)
            threads = client.nthreads()
            if unfit := connection.unfit(client, list(threads)):
                raise connection.refusal(self._where, unfit)
            self._client = client
            self._staffed = self._answered = time.monotonic()
            self._change(threads)
            watch = threading.Thread(target=self._watch, args=(client, self._ended), daemon=True)
            watch.start()
            held.callback(watch.join, connection.CLOSE_SECONDS)
            client.subscribe_topic(remote.TOPIC, _heard)
            held.callback(_quietly, client.unsubscribe_topic, remote.TOPIC)
            self._held = held.pop_all()

    def _open(self, held: contextlib.ExitStack) -> Client:
        """Return the client; `held` ends what is ours."""
        if self._given is not None:
            return self._given
        held.enter_context(connection.calm())
        count = connection.local_count(self.name)
        if count:
            client, cluster = connection.start_local(count, self._where)
            held.callback(_quietly, cluster.close, connection.CLOSE_SECONDS)
        else:
            client = connection.connect(self.name, self._where)
        held.callback(_quietly, client.close, connection.CLOSE_SECONDS)
        return client

    def submit(self, block: AbstractBlock, order: worker.Order) -> Future[worker.Parts]:
        """Hand a block to the cluster.

        The result may be `WorkerDied`: two workers died while they measured this block.
        """
        self.start()
        for address in set(self._refused) - self._told:
            self._told.add(address)
            text = f"The worker at {address} is not used: {self._refused[address]}"
            notice(text)
        job = _Job(remote.packed(block, order), Future())
        job.ours.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(job)
            self._place()
        return job.ours

    def stop(self) -> None:
        """Give up what is under way, and leave the cluster, or end it if it is ours; what is kept stays."""
        client, self._client = self._client, None
        if client is None:
            return
        self._ended.set()
        with self._lock:
            theirs = [job.theirs for jobs in self._jobs.values() for job in jobs]
            for job in (job for jobs in self._jobs.values() for job in jobs):
                job.theirs = None
            self._waiting.clear()
            self._jobs, self._threads = {}, {}
        if theirs and client.status == "running":
            _quietly(client.cancel, theirs)
        self._held.close()

    # --- which worker gets what; the lock is held ---------------------------------------------------

    def _place(self) -> None:
        """Send what waits to workers that have room."""
        for job in list(self._waiting):
            address = self._room(job)
            if address:
                self._waiting.remove(job)
                self._send(job, address)

    def _room(self, job: _Job) -> str:
        """Return the least busy worker that may get a block, or nothing.

        A suspect gets a worker of its own: the least busy ones are kept free for those that wait.
        """
        shared = [at for at, jobs in self._jobs.items() if not any(other.deaths for other in jobs)]
        shared.sort(key=lambda at: len(self._jobs[at]) / self._threads[at])
        kept = sum(other.deaths > 0 for other in self._waiting)
        if job.deaths:
            return next((at for at in shared[:kept] if not self._jobs[at]), "")
        return next((at for at in shared[kept:] if len(self._jobs[at]) < AHEAD * self._threads[at]), "")

    def _send(self, job: _Job, address: str) -> None:
        assert self._client is not None
        job.at = address
        self._jobs[address].append(job)
        job.theirs = self._client.submit(
            remote.work,
            job.task,
            key=f"gradlab-{uuid.uuid4().hex}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        job.theirs.add_done_callback(partial(self._returned, job))

    def _withdraw(self, job: _Job) -> None:
        """Take a block from its worker."""
        if job in self._jobs.get(job.at, ()):
            self._jobs[job.at].remove(job)
        theirs, job.theirs, job.at = job.theirs, None, ""
        _quietly(theirs.cancel)

    def _again(self, job: _Job, blamed: bool) -> None:
        """Have a block measured by another worker, or find it guilty."""
        self._withdraw(job)
        job.deaths += blamed
        if job.deaths >= MOST_DEATHS:
            job.ours.set_exception(WorkerDied())
        else:
            self._waiting.appendleft(job)

    def _change(self, threads: dict[str, int]) -> None:
        """Take note of the workers that there are now."""
        gone = {at: count for at, count in self._threads.items() if at not in threads}
        self._threads = dict(threads)
        self.count = sum(threads.values())
        for address in threads:
            self._jobs.setdefault(address, [])
        for address, count in gone.items():
            jobs = self._jobs.pop(address)
            for place, job in reversed(list(enumerate(jobs))):
                self._again(job, blamed=place < count)
        self._place()

    # --- what dask's threads and ours call ------------------------------------------------------------

    def _returned(self, job: _Job, theirs: Any) -> None:
        """Take a result; called in a thread of dask's."""
        from distributed import KilledWorker

        result: worker.Parts | None = None
        error: BaseException | None = None
        try:
            if job.theirs is theirs:  # else it was given up
                result = theirs.result()
        except BaseException as raised:  # whatever it is, the caller is to have it
            error = raised
        with self._lock:
            if job.theirs is not theirs:
                return
            if isinstance(error, KilledWorker | CancelledError):  # it died and came back; others cancelled it
                self._again(job, blamed=isinstance(error, KilledWorker))
            elif isinstance(error, OSError):  # the connection's: what a case raises comes as a result
                self._again(job, blamed=False)
                return  # whether there is still a scheduler is for the watch to find out
            else:
                self._jobs[job.at].remove(job)
                job.theirs = None
                if error is None:
                    job.ours.set_result(result or [])
                else:
                    job.ours.set_exception(error)
            theirs.release()
            self._place()

    def _watch(self, client: Client, ended: threading.Event) -> None:
        """Look from time to time which workers there are."""
        while not ended.wait(LOOK_SECONDS):
            try:
                threads = dict(client.nthreads())
                new = [at for at in threads if at not in self._threads and at not in self._refused]
                unfit = connection.unfit(client, new) if new else {}
            except Exception:  # the connection's, of many kinds
                if client.status == "closed" or time.monotonic() - self._answered > LOST_SECONDS:
                    self._give_up(ended, f"the scheduler {self.name} to answer", "no connection")
                continue
            self._answered = time.monotonic()
            with self._lock:
                if ended.is_set():
                    return
                self._refused |= unfit
                self._change({at: count for at, count in threads.items() if at not in self._refused})
                if self._threads:
                    self._staffed = self._answered
            if self._answered - self._staffed > EMPTY_SECONDS:
                self._give_up(ended, f"a worker at {self.name}", f"none for {EMPTY_SECONDS:g} s")

    def _give_up(self, ended: threading.Event, expected: str, got: str) -> None:
        """Let whatever is waited for fail."""
        hint = "What was finished is kept in an archive; run again to go on"
        mistake = UserMistake(Problem(self._where, expected, got, hint))
        with self._lock:
            if ended.is_set():
                return
            ended.set()
            jobs = [*self._waiting, *(job for jobs in self._jobs.values() for job in jobs)]
            self._waiting.clear()
            for job in jobs:
                job.theirs = None
                job.ours.set_exception(mistake)


def workers_at(scheduler: str | Client | Workers) -> Workers:
    """Return the workers of a scheduler, which is connected to."""
    workers = scheduler if isinstance(scheduler, Workers) else Cluster(scheduler)
    workers.start()
    return workers


def _heard(event: tuple[float, str]) -> None:
    """Pass on what a worker wants the user to be told."""
    notice(event[1])


def _quietly(call: Any, *arguments: Any) -> None:
    """Do what ends something; that it has ended already is no error."""
    with contextlib.suppress(Exception):
        call(*arguments)
