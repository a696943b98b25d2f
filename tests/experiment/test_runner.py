"""The runner: the same bits however it is run, and whatever happens to it."""

from __future__ import annotations

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
from engine import assert_same_records, case_of, probe_case, same

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.runner import _tapered, execute, memory_share
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.spec import Spec
from gradlab.experiment.workers import Workers
from gradlab.measure.records import FAILED, NOT_RUN, OK, OVERFLOWED, RECORDS

TABLE = {
    "replicates": 3,
    "network": {"hidden": 3, "activation": "identity"},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 9},
    "sweep": [
        {
            "network.spectrum.radius": [0.5, 1.0, 40.0],
            "task.length": [4, 9, 250],
            "clip": ["off", {"name": "norm", "threshold": 0.1}, {"name": "adjoint_value", "threshold": 0.1}],
            "where": "radius < 2 or length != 9",
        },
        {"network.cell": ["elman", "lstm"]},
    ],
}


def plan_of(table=TABLE):
    return make_plan(expand(Spec.from_dict(table)))


def run(plan, sink=None, **options):
    sink = MemorySink(plan) if sink is None else sink
    outcome = execute(plan, sink, **options)
    return sink, outcome


@pytest.fixture(scope="module")
def plan():
    return plan_of()


@pytest.fixture(scope="module")
def reference(plan):
    return run(plan)[0].arrays


# --- the same bits --------------------------------------------------------------------------------------


def test_every_case_of_a_sweep_is_what_it_is_alone(plan, reference):
    grid = plan.grid
    for row, point in enumerate(grid.points.tolist()):
        for replicate in range(grid.replicates):
            net, work, rule = (
                part[index[row]]
                for part, index in (
                    (grid.networks, grid.network_index),
                    (grid.tasks, grid.task_index),
                    (grid.clips, grid.clip_index),
                )
            )
            alone = probe_case(net, work, rule, grid.seeds[grid.seed_index[row]], replicate)
            place = (*point, replicate)
            for name in plan.record:
                got = reference[name][place]
                if "lag" in RECORDS[name]:
                    assert np.isnan(got[work.lags :]).all(), name
                    got = got[: work.lags]
                elif "gate" in RECORDS[name]:
                    got = got[[plan.gates.index(block) for block in net.cell.drawn_blocks]]
                assert same(got, alone[name].reshape(got.shape)), (name, place)
            assert reference["status"][place] == alone["status"]
            assert reference["first_overflow"][place] == alone["first_overflow"]


def test_the_sweep_above_has_all_there_is(plan, reference):
    """Else the test above would show little: holes, overflow, two cells, three lengths."""
    assert set(np.unique(reference["status"])) == {NOT_RUN, OK, OVERFLOWED}
    holes = reference["status"] == NOT_RUN
    assert np.isnan(reference["growth_rate"][holes]).all()
    assert (reference["first_overflow"][reference["status"] == OVERFLOWED] > 0).all()
    assert plan.gates


def test_two_workers_give_the_same_bits(plan, reference):
    sink, outcome = run(plan, workers=2)
    assert_same_records(sink.arrays, reference)
    assert (outcome.done, outcome.failed, outcome.kept) == (plan.grid.n_cases, 0, 0)


def test_memory_does_not_touch_a_bit(plan, reference):
    tight = memory_share(0, 1)
    for spare in (6 << 20, 2 << 20):
        assert_same_records(run(plan, memory=spare - tight)[0].arrays, reference)


class Interrupted(MemorySink):
    """Stops the run after some writes, before or after the data are kept."""

    left = 3

    def write(self, index, records):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(index, records)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_interrupted_run_goes_on_to_the_same_bits(plan, reference, writes):
    sink = Interrupted(plan)
    sink.left = writes
    with pytest.raises(KeyboardInterrupt):
        execute(plan, sink)
    done = int(sink.finished().sum())
    assert (done > 0) == (writes > 0)
    assert done < plan.grid.n_cases
    sink.left = 10**9
    _, outcome = run(plan, sink)
    assert (outcome.kept, outcome.done) == (done, plan.grid.n_cases - done)
    assert_same_records(sink.arrays, reference)


def test_cases_missing_here_and_there_are_filled_in_with_the_same_bits(plan, reference):
    """Blocks are then cut otherwise than in a whole run."""
    sink, _ = run(plan)
    rng = np.random.default_rng(0)
    gone = (rng.random(plan.grid.shape) < 0.4) & sink.finished()
    sink.arrays["status"][gone] = NOT_RUN
    for name in plan.record:
        if name != "regime":
            sink.arrays[name][gone] = np.nan
    _, outcome = run(plan, sink)
    assert outcome.done == gone.sum()
    assert_same_records(sink.arrays, reference)


def test_a_finished_run_does_nothing(plan):
    sink, _ = run(plan)
    calls = []
    _, outcome = run(plan, sink, progress=lambda *counts: calls.append(counts))
    assert (outcome.done, outcome.kept, calls) == (0, plan.grid.n_cases, [])


def test_progress_adds_up(plan):
    calls = []
    run(plan, progress=lambda done, failed: calls.append((done, failed)))
    assert sum(done for done, _ in calls) == plan.grid.n_cases
    assert not any(failed for _, failed in calls)


# --- what raises ----------------------------------------------------------------------------------------


class Closing(MemorySink):
    closed = 0

    def close(self):
        self.closed += 1


def test_a_case_that_raises_fails_alone_with_its_error(plan, reference, monkeypatch):
    from gradlab.tasks.noise import Noise

    kept = Noise.inputs

    def inputs(self, start, stop, seed, replicate):
        if replicate == 1:
            raise RuntimeError("no such noise")
        return kept(self, start, stop, seed, replicate)

    monkeypatch.setattr(Noise, "inputs", inputs)
    sink, outcome = run(plan, Closing(plan))
    there = reference["status"] != NOT_RUN
    np.testing.assert_array_equal(sink.arrays["status"][..., 1][there[..., 1]], FAILED)
    for name in reference:
        assert same(sink.arrays[name][:, :, :, :, [0, 2]], reference[name][:, :, :, :, [0, 2]]), name
    assert outcome.failed == there[..., 1].sum() == outcome.done / 2
    assert all("RuntimeError: no such noise" in error for error in outcome.errors)
    index, error, settings = sink.failures[0]
    assert "no such noise" in error
    assert len(index) == len(settings)
    for place, table in zip(index.tolist(), settings, strict=True):
        assert table["replicate"] == place[-1] == 1
        assert table == plan.grid.settings_at(place)
    assert sink.closed == 1
    monkeypatch.undo()
    _, outcome = run(plan, sink)  # failed cases are tried again
    assert outcome.failed == 0
    assert_same_records(sink.arrays, reference)


def test_a_matrix_file_lost_after_planning_fails_its_cases_only(tmp_path):
    paths = [tmp_path / f"{i}.npy" for i in range(2)]
    for i, path in enumerate(paths):
        np.save(path, np.random.default_rng(i).normal(size=(3, 3)))
    lost = plan_of({
        "network": {"hidden": 3},
        "task": {"name": "noise", "length": 5},
        "sweep": {"network.spectrum": [{"name": "file", "path": str(path)} for path in paths]},
    })  # fmt: skip
    np.save(paths[0], np.ones((3, 3)))
    sink, outcome = run(lost)
    assert sink.arrays["status"].ravel().tolist() == [FAILED, OK]
    assert outcome.failed == outcome.done == 1


def test_a_sink_that_cannot_write_ends_the_run_and_is_closed(plan):
    class Full(Closing):
        def write(self, index, records):
            raise OSError(28, "No space left on device")

    sink = Full(plan)
    with pytest.raises(OSError, match="No space left"):
        execute(plan, sink)
    assert sink.closed == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_too_little_memory_is_said_before_anything_runs(plan, workers):
    sink = MemorySink(plan)
    with pytest.raises(
        UserMistake, match=r"memory: expected at least \d+ MiB for cases of this size, got 50 MiB"
    ) as caught:
        execute(plan, sink, workers=workers, memory=50 << 20)
    assert not sink.finished().any()
    needed = int(str(caught.value).split("at least ")[1].split(" MiB")[0])
    execute(plan, sink, workers=1, memory=needed << 20)
    assert sink.finished().any()


# --- workers that die -----------------------------------------------------------------------------------

MANY = {
    "replicates": 4,
    "network": {"hidden": 4},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 30},
    "sweep": {"task.batch": list(range(1, 13)), "seed": [0, 1]},  # blocks differ in their batch
}


def worker_ids():
    return [child.pid for child in multiprocessing.active_children()]


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_a_worker_killed_between_blocks_is_replaced_and_its_block_repeated(pause):
    """The pool is found broken while waiting (no pause), or when the next block is handed out (pause)."""
    plan = plan_of(MANY)
    killed = []

    def progress(done, failed):
        if not killed:
            killed.append(worker_ids()[0])
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(pause)

    sink, outcome = run(plan, workers=2, progress=progress)
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


def test_no_worker_outlives_a_run(plan):
    run(plan_of(MANY), workers=2)
    deadline = time.monotonic() + 10
    while worker_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker_ids() == []


# --- workers that start early ---------------------------------------------------------------------------


def gone(seconds=10.0):
    """Whether all workers end within some time."""
    deadline = time.monotonic() + seconds
    while worker_ids() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not worker_ids()


def test_workers_are_there_before_there_is_work_and_measure_the_same_bits(plan, reference):
    with Workers(2) as workers:
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
        deadline = time.monotonic() + 10
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
    assert tapered[:-8] == blocks[:-4]
    assert [len(planned.block.runs) for planned in tapered[-8:]] == [4] * 8
    places = np.concatenate([planned.index.reshape(-1, planned.index.shape[-1]) for planned in tapered])
    assert len(np.unique(places, axis=0)) == len(places) == sum(planned.cases for planned in blocks)


def test_drawn_case_belongs_to_the_measured_one(plan, reference):
    """What `draw` gives is what was measured: the loss computed from its arrays is the loss recorded."""
    grid = plan.grid
    row = 0
    net, work = grid.networks[grid.network_index[row]], grid.tasks[grid.task_index[row]]
    for replicate in range(3):
        case = case_of(net, work, replicate=replicate)
        error = case.forward()["outputs"][case.looks[0]] - case.targets[0]
        np.testing.assert_allclose(
            (error**2).mean(), reference["loss"][(*grid.points[row], replicate)], rtol=1e-13, atol=0
        )
