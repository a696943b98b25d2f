"""A dask cluster in place of processes: the same bits, whatever happens to its workers."""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np
import pytest
from dask_processes import dask
from engine import assert_same_records, same
from runs import plan_of, run
from test_runner_workers import MANY, patched_workers

from gradlab.core import fingerprint
from gradlab.core.errors import UserMistake
from gradlab.experiment import cluster as clusters
from gradlab.experiment import connection, remote
from gradlab.experiment.cluster import Cluster, _Job
from gradlab.experiment.runner import memory_share
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.worker import Order
from gradlab.measure.records import FAILED

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def plan():
    return plan_of(MANY)


@pytest.fixture(scope="module")
def reference(plan):
    return run(plan)[0].arrays


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A scheduler with a worker of one thread and one of two."""
    with dask(tmp_path_factory.mktemp("two"), 1, 2) as cluster:
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield cluster


# --- what may be named ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "local:0", "local:-1", "local:", "local", "local:2.0", "local: 2", "local:²", "tcp:/x", "tcp://x", "tcp://:1",
        "tcp://x:0", "tcp://x:65536", "tcp://x:1/", "http://x:1", "x:1", "", "tcp://x:1\n", 4, None, object(),
    ],
)  # fmt: skip
def test_what_is_no_scheduler_is_refused_at_once(name):
    with pytest.raises(UserMistake, match=r"^scheduler: expected tcp://HOST:PORT .* or local:N"):
        Cluster(name)


@pytest.mark.parametrize("name", ["tcp://10.0.0.1:8786", "tls://a-b.c_d:1", "tcp://[::1]:65535", "local:16"])
def test_what_may_be_a_scheduler_is_taken(name):
    assert connection.checked(name, "x") == name


def test_nobody_there_is_told_within_seconds(monkeypatch, capfd):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(UserMistake, match=r"a dask scheduler that answers at tcp://127.0.0.1:9, got none"):
        Cluster("tcp://127.0.0.1:9").start()
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserMistake, match=r"pip install 'gradlab\[cluster\]'"):
        Cluster("local:2")


def test_a_scheduler_without_workers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "WORKER_SECONDS", 0.5)
    with dask(tmp_path) as none, pytest.raises(UserMistake, match="at least one worker, got none"):
        Cluster(none.address).start()


# --- the same bits --------------------------------------------------------------------------------------


def test_a_cluster_gives_the_same_bits_and_keeps_nothing(plan, reference, two):
    def tasks_left(dask_scheduler):  # sent by value, for dask's processes have not got this file
        return len(dask_scheduler.tasks)

    with distributed.Client(two.address, set_as_default=False) as client:
        with Cluster(client) as workers:
            assert workers.sharers == 2  # a worker has two threads; the other one is another machine's
            assert workers.count == 3
            counts = []
            sink, outcome = run(plan, workers=workers, progress=lambda *both: counts.append(both))
        assert client.status == "running"  # the user's own
        deadline = time.monotonic() + 60
        while (left := client.run_on_scheduler(tasks_left)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == 0
    assert (outcome.done, outcome.failed) == (plan.grid.n_cases, 0)
    assert sum(done for done, _ in counts) == plan.grid.n_cases
    assert_same_records(sink.arrays, reference)


def test_its_workers_have_one_blas_thread_each(two):
    def blas_threads():
        import threadpoolctl

        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    with Cluster(two.address) as workers:
        for block in list(plan_of(MANY).blocks())[:8]:
            workers.submit(block.block, Order(("loss",), 1 << 28)).result()
        threads = workers._client.run(blas_threads)
    assert len(threads) == 2
    assert set(itertools.chain(*threads.values())) == {1}


def test_what_is_sent_is_settings_and_nothing_else(plan):
    block = next(iter(plan.blocks())).block
    assert len(remote.packed(block, Order(plan.record, 1 << 28))) < 20_000


def test_too_little_memory_is_said_before_anything_runs(plan, two):
    sink = MemorySink(plan)
    with pytest.raises(UserMistake, match=r"memory: expected at least \d+ MiB"):
        run(plan, sink, workers=Cluster(two.address), memory=50 << 20)
    assert not sink.finished().any()


def test_processes_of_its_own_share_the_memory(monkeypatch):
    workers = Cluster("local:4")
    monkeypatch.setattr(workers, "start", lambda: None)
    assert memory_share(1 << 30, workers.sharers) == memory_share(1 << 30, 4)


# --- other code -----------------------------------------------------------------------------------------


def test_workers_with_other_code_are_refused(monkeypatch, two):
    monkeypatch.setattr(fingerprint, "code_key", lambda: "0123456789abcdef")
    with pytest.raises(UserMistake, match=r"code of gradlab \w{16} in place of 0123456789abcdef at tcp://"):
        Cluster(two.address).start()


def test_differences_are_named():
    mine = remote.facts()
    assert set(mine) == {"gradlab", "code", "numpy", "scipy"}
    assert connection._difference(mine, dict(mine)) == ""
    assert connection._difference(mine, mine | {"numpy": "1.0"}) == f"numpy 1.0 in place of {mine['numpy']}"
    missing = connection._difference(mine, ModuleNotFoundError("No module named 'gradlab'"))
    assert missing == "no such gradlab (No module named 'gradlab')"
    assert connection._difference(mine, None).startswith("no answer")


def test_a_late_worker_that_does_not_fit_is_not_used(monkeypatch, tmp_path, plan, reference):
    with dask(tmp_path, 1) as cluster, Cluster(cluster.address) as workers:
        workers.start()
        monkeypatch.setattr(connection, "unfit", lambda client, new: dict.fromkeys(new, "numpy 1.0"))
        cluster.worker()
        wait_until(lambda: workers._refused)
        with pytest.warns(RuntimeWarning, match=r"The worker at tcp://.* is not used: numpy 1.0"):
            sink, _ = run(plan, workers=workers)
        assert workers.count == 1
    assert_same_records(sink.arrays, reference)


def wait_until(happened, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- workers that come and go ---------------------------------------------------------------------------


def test_a_worker_is_killed_and_another_one_comes_in_the_middle(tmp_path, plan, reference):
    """The second one has to be used, for there is no other when the first one is gone."""
    with dask(tmp_path) as cluster:
        first, later = cluster.worker(), []

        def progress(done, failed):
            if not later:
                later.append(cluster.worker())
                first.kill()

        sink, outcome = run(plan, workers=Cluster(cluster.address), progress=progress)
    assert first.returncode is not None
    assert (outcome.done, outcome.failed) == (plan.grid.n_cases, 0)
    assert_same_records(sink.arrays, reference)


@pytest.mark.parametrize(
    ("what", "error"),
    [("raise RuntimeError('no such noise')", "no such noise"), ("os._exit(9)", "A worker process died")],
)
def test_only_the_case_at_fault_fails(monkeypatch, tmp_path, plan, reference, what, error):
    patched_workers(monkeypatch, tmp_path, what)
    sink, outcome = run(plan, workers=Cluster("local:2"))
    failed = sink.arrays["status"] == FAILED
    assert np.argwhere(failed).tolist() == [[2, 1, 2]]
    assert all(error in text for text in outcome.errors)
    for name in reference:
        assert same(sink.arrays[name][~failed], reference[name][~failed]), name


def test_a_scheduler_that_goes_away_ends_the_run(monkeypatch, tmp_path, plan):
    monkeypatch.setattr(clusters, "LOST_SECONDS", 1.0)
    sink = MemorySink(plan)
    with (
        dask(tmp_path, 1) as cluster,
        pytest.raises(UserMistake, match=r"expected the scheduler tcp://.* to answer"),
    ):
        run(plan, sink, workers=Cluster(cluster.address), progress=lambda *_: cluster.scheduler.kill())
    assert sink.finished().any()


def test_a_cluster_that_stays_without_workers_ends_the_run(monkeypatch, tmp_path, plan):
    monkeypatch.setattr(clusters, "EMPTY_SECONDS", 1.0)
    with dask(tmp_path, 1) as cluster:
        worker = cluster.processes[-1]
        with pytest.raises(UserMistake, match=r"expected a worker at tcp://.*, got none"):
            run(plan, workers=Cluster(cluster.address), progress=lambda *_: worker.kill())


# --- who is to blame ------------------------------------------------------------------------------------


class Promise:
    """What a cluster calls a block."""

    def cancel(self):
        """Nothing is under way on paper."""


class Placed(Cluster):
    """A cluster on paper."""

    def __init__(self):
        super().__init__("local:2")

    def _send(self, job, address):
        job.at, job.theirs = address, Promise()
        self._jobs[address].append(job)


def paper(*jobs, **threads):
    cluster = Placed()
    cluster._waiting.extend(jobs)
    cluster._change(threads)
    return cluster


def job(deaths=0):
    return _Job(b"", clusters.Future(), deaths)


def test_a_thread_has_a_block_to_come_and_no_more():
    cluster = paper(*(job() for _ in range(9)), a=1, b=2)
    assert {at: len(jobs) for at, jobs in cluster._jobs.items()} == {"a": 2, "b": 4}
    assert len(cluster._waiting) == 3


def test_those_under_way_are_suspects_and_those_to_come_are_not():
    jobs = [job() for _ in range(4)]
    cluster = paper(*jobs, a=2)
    cluster._change({})
    assert [each.deaths for each in jobs] == [1, 1, 0, 0]
    assert list(cluster._waiting) == jobs


def test_a_suspect_has_its_worker_alone():
    first, suspect, *others = job(), job(1), *(job() for _ in range(6))
    cluster = paper(first, a=1)
    cluster._waiting.extend([suspect, *others])
    cluster._place()
    assert cluster._jobs["a"] == [first]  # kept free for the suspect, which waits until it is
    cluster._change({"a": 1, "b": 1})
    assert cluster._jobs["b"] == [suspect]
    assert cluster._jobs["a"] == [first, others[0]]
    cluster._change({"a": 1})
    assert isinstance(suspect.ours.exception(0), clusters.WorkerDied)


def test_a_connection_that_breaks_is_no_result():
    """Whether the scheduler is gone is found out by looking, not by what a block's result raised."""

    from distributed.comm.core import CommClosedError

    class Broken(Promise):
        def result(self):
            raise CommClosedError("gone")

    cluster = paper(job(), a=1)
    kept = cluster._jobs["a"][0]
    kept.theirs = Broken()
    cluster._returned(kept, kept.theirs)
    assert not kept.ours.done()
    assert (list(cluster._waiting), kept.deaths) == ([kept], 0)
    cluster._change({"a": 1})
    assert cluster._jobs["a"] == [kept]


def test_a_job_of_a_stranger_is_not_taken():
    cluster = paper(job(), a=1)
    kept = cluster._jobs["a"][0]
    cluster._returned(kept, Promise())
    assert not kept.ours.done()
