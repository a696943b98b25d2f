"""Worker processes: those that die, and those that start early."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from engine import assert_same_records, same
from runs import plan_of, run

from gradlab.core.errors import UserMistake
from gradlab.experiment import startup
from gradlab.experiment.plan import PlannedBlock
from gradlab.experiment.runner import _enough, _tapered
from gradlab.experiment.toml import to_toml
from gradlab.experiment.worker import linear_algebra
from gradlab.experiment.workers import Workers
from gradlab.measure.records import FAILED

MANY = {
    "replicates": 4,
    "network": {"hidden": 4},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 30},
    "sweep": {"task.batch": list(range(1, 13)), "seed": [0, 1]},  # blocks differ in their batch
}


forks = pytest.mark.skipif(not startup.CAN_FORK, reason="workers are not forked here")


@pytest.fixture(params=[False, pytest.param(True, marks=forks)], ids=["spawned", "forked"])
def forked(request):
    """Whether workers are forked of a process that has loaded what they need."""
    if request.param:
        startup.prepare_fork()
    return request.param


def worker_ids():
    return [child.pid for child in multiprocessing.active_children()]


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_a_worker_killed_between_blocks_is_replaced_and_its_block_repeated(pause, forked):
    """The pool is found broken while waiting (no pause), or when the next block is handed out (pause)."""
    plan = plan_of(MANY)
    killed = []

    def progress(done, failed):
        if not killed:
            killed.append(worker_ids()[0])
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(pause)

    sink, outcome = run(plan, workers=Workers(2, forked=forked), progress=progress)
    assert killed
    assert (outcome.done, outcome.failed) == (plan.grid.n_cases, 0)
    assert_same_records(sink.arrays, run(plan)[0].arrays)


PATCH = """
import os
if os.environ.get("GRADLAB_TEST_WORKER"):
    import multiprocessing.spawn as spawn
    kept = spawn.prepare
    def prepare(data):
        kept(data)
        from gradlab.tasks.noise import Noise
        inputs = Noise.inputs
        def patched(self, start, stop, seed, replicate):
            if (self.batch, seed, replicate) == (3, 1, 2):
                {what}
            return inputs(self, start, stop, seed, replicate)
        Noise.inputs = patched
    spawn.prepare = prepare
"""


def patched_workers(monkeypatch, folder, what):
    """Make every worker process misbehave at batch 3, seed 1, replicate 2."""
    (folder / "sitecustomize.py").write_text(PATCH.replace("{what}", what), encoding="utf-8")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), root]))
    monkeypatch.setenv("GRADLAB_TEST_WORKER", "1")


@pytest.mark.parametrize(
    ("what", "error"),
    [("raise RuntimeError('no such noise')", "no such noise"), ("os._exit(9)", "A worker process died")],
)
def test_only_the_case_at_fault_fails_in_a_worker(monkeypatch, tmp_path, what, error):
    """A case that raises, and one that takes its worker down: all the others must be measured."""
    plan = plan_of(MANY)
    assert len(list(plan.blocks())) == 12
    reference = run(plan)[0].arrays
    patched_workers(monkeypatch, tmp_path, what)
    sink, outcome = run(plan, workers=2)
    failed = sink.arrays["status"] == FAILED
    assert failed[2, 1, 2]
    assert all(error in text for text in outcome.errors)
    # An exception takes the one run; a death may take the block it happened in, and no other.
    assert set(np.argwhere(failed)[:, 0].tolist()) == {2}
    assert outcome.failed == failed.sum() == (1 if "raise" in what else failed[2].sum())
    others = ~failed
    for name in reference:
        assert same(sink.arrays[name][others], reference[name][others]), name


def test_a_script_without_a_main_guard_may_use_workers(tmp_path):
    """Workers are started by spawning; they must not run the user's script again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import gradlab
            print("begun")
            ds = gradlab.run({
                "replicates": 2, "network": {"hidden": 3}, "task": {"name": "noise", "length": 5},
                "sweep": {"network.activation": ["tanh", "relu"]},
            }, workers=2)
            print("status", sorted(set(ds.status.values.ravel().tolist())))
            """
        ),
        encoding="utf-8",
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["begun", "status [1]"]
    assert done.stderr == ""


def libraries(told):
    """Return libraries of linear algebra whatever was loaded first."""
    return sorted(tuple(pool.items()) for pool in told)


@pytest.mark.parametrize("count", [1, 2])
def test_workers_say_with_what_they_measure(count):
    with Workers(count) as workers:
        workers.start()
        told = workers.linear_algebra()
    assert libraries(told) == libraries(linear_algebra())
    assert {pool["num_threads"] for pool in told} == {1}


def test_a_worker_that_died_is_not_waited_for():
    with Workers(2) as workers:
        workers.start()
        for pid in worker_ids():
            os.kill(pid, signal.SIGKILL)
        assert workers.linear_algebra() == linear_algebra()


def test_no_worker_outlives_a_run(plan):
    run(plan_of(MANY), workers=2)
    deadline = time.monotonic() + 60
    while worker_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker_ids() == []


def gone(seconds=60.0):
    """Whether all workers end within some time."""
    deadline = time.monotonic() + seconds
    while worker_ids() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not worker_ids()


@forks
@pytest.mark.parametrize("again", [False, True])
def test_when_the_process_that_workers_are_forked_of_dies_another_takes_its_place(again):
    """Killed between two blocks, or before the first."""
    plan = plan_of(MANY)
    startup.prepare_fork()
    killed, orphans = [], []

    def kill(*_):
        if not killed:
            orphans.extend(worker_ids())
            killed.append(parent_of(orphans[0]))
            os.kill(killed[0], signal.SIGKILL)

    with Workers(2, forked=True) as workers:
        workers.start()
        if again:
            kill()
        sink, outcome = run(plan, workers=workers, progress=kill)
    assert killed != [os.getpid()]
    assert len(orphans) == 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (outcome.done, outcome.failed) == (plan.grid.n_cases, 0)
    assert_same_records(sink.arrays, run(plan)[0].arrays)


@forks
def test_workers_start_though_what_they_are_forked_of_is_just_being_killed():
    startup.prepare_fork()
    for _ in range(5):
        with Workers(2, forked=True) as workers:
            workers.start()
            os.kill(parent_of(worker_ids()[0]), signal.SIGKILL)
        with Workers(2, forked=True) as workers:
            workers.start()
            assert len(workers._processes) == 2
    assert gone()


def parent_of(pid):
    """Return the process that a process was started or forked by."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@forks
def test_where_the_path_of_a_socket_is_too_long_workers_load_what_they_need_themselves(tmp_path):
    """The folder for temporary files is the user's business, and may lie deep."""
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    spec = tmp_path / "spec.toml"
    spec.write_text(to_toml(MANY), encoding="utf-8")
    words = ["run", spec, "--out", tmp_path / "a", "--workers", "2", "--no-figures", "--quiet"]
    program = [sys.executable, "-c", "from gradlab.cli.main import main; main()"]
    environment = {**os.environ, "TMPDIR": str(deep)}
    done = subprocess.run([*program, *map(str, words)], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "a" / "provenance.json").read_text())["runs"][-1]["workers"] == 2
    assert not list(deep.glob("gradlab-*"))


@forks
def test_what_workers_are_forked_of_has_loaded_what_they_need():
    """In a process of its own: this one's may have been started by other tests, and not so."""
    code = """
    import multiprocessing
    from gradlab.experiment import startup
    startup.prepare_fork()
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        loaded = pool.apply(eval, ("set(__import__('sys').modules)",))
        assert loaded >= {"gradlab.measure.probe", "gradlab.experiment.worker", "scipy.linalg"}
        assert not loaded & {"xarray", "zarr", "pydantic", "typer"}
        seen = "[p['num_threads'] for p in __import__('threadpoolctl').threadpool_info()]"
        threads = pool.apply(eval, (seen,))
        assert set(threads) == {1}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_workers_are_there_before_there_is_work_and_measure_the_same_bits(plan, reference, forked):
    with Workers(2, forked=forked) as workers:
        workers.start()
        early = set(worker_ids())
        assert len(early) == 2
        used = []
        sink, _ = run(plan, workers=workers, progress=lambda *_: used.append(set(worker_ids())))
        assert used[0] == early
    assert_same_records(sink.arrays, reference)
    assert gone()


def test_more_workers_than_are_of_use_end_before_they_work():
    with Workers(3) as workers:
        workers.start()
        early = set(worker_ids())
        workers.reduce(3)
        assert set(worker_ids()) == early
        workers.reduce(2)
        assert workers.count == 2
        workers.start()
        deadline = time.monotonic() + 60
        while early & set(worker_ids()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not early & set(worker_ids())
        assert len(worker_ids()) == 2
        workers.reduce(0)
        assert workers.here
        assert gone()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library may keep memory or not")
def test_a_worker_keeps_the_memory_of_a_block_for_the_next():
    code = """
    import resource, numpy as np
    from gradlab.experiment import worker
    worker.prepare()
    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(3 << 17) for _ in range(12)]
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    first, again = faults(), [faults() for _ in range(3)]
    pages = 12 * (3 << 20) // resource.getpagesize()
    assert first > pages // 2, first
    assert max(again) < pages // 20, again
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_one_worker_is_this_process():
    with Workers(1) as workers:
        workers.start()
        assert worker_ids() == []


@pytest.mark.parametrize("error", [UserMistake([]), KeyboardInterrupt()])
def test_workers_end_with_an_error_without_having_worked(error):
    def mistaken():
        with Workers(2) as workers:
            workers.start()
            raise error

    with pytest.raises(type(error)):
        mistaken()
    assert gone(5)


def test_nothing_left_to_run_ends_the_workers_too(plan):
    sink, _ = run(plan)
    with Workers(2) as workers:
        workers.start()
        _, outcome = run(plan, sink, workers=workers)
        assert gone()
    assert outcome.done == 0


def test_workers_that_died_before_there_was_work_are_replaced(plan, reference):
    with Workers(2) as workers:
        workers.start()
        for pid in worker_ids():
            os.kill(pid, signal.SIGKILL)
        sink, outcome = run(plan, workers=workers)
    assert outcome.failed == 0
    assert_same_records(sink.arrays, reference)


def test_what_can_be_done_meanwhile_is_done_once_after_the_first_blocks_left(plan):
    calls = []
    run(
        plan,
        workers=2,
        meanwhile=lambda: calls.append("meanwhile"),
        progress=lambda *_: calls.append("block"),
    )
    assert calls[0] == "meanwhile"
    assert calls.count("meanwhile") == 1


def test_the_last_blocks_are_cut_so_that_the_workers_end_together():
    blocks = list(plan_of(MANY).blocks())
    tapered = _tapered(blocks, 2)
    assert tapered[:-8] == blocks[:-2]
    assert [len(planned.block.runs) for planned in tapered[-8:]] == [2] * 8
    places = np.concatenate([planned.index.reshape(-1, planned.index.shape[-1]) for planned in tapered])
    assert len(np.unique(places, axis=0)) == len(places) == sum(planned.cases for planned in blocks)


@pytest.mark.parametrize(("seconds", "ahead"), [(10.0, 4), (0.5, 4), (0.3, 7), (0.0, 16)])
def test_short_blocks_are_handed_over_in_larger_numbers(monkeypatch, seconds, ahead):
    """While this process loads what it needs, two workers have a second of work each, within bounds."""
    monkeypatch.setattr(PlannedBlock, "seconds", seconds)
    planned = next(plan_of(MANY).blocks())
    enough = [_enough([planned] * count, 2) for count in range(20)]
    assert enough == [count >= ahead for count in range(20)]
