"""The runner: the same bits however it is run, and whatever happens to it."""

from __future__ import annotations

import numpy as np
import pytest
from engine import assert_same_records, case_of, probe_case, same
from runs import plan_of, run

from gradlab.core.errors import UserMistake
from gradlab.experiment.runner import execute, memory_share
from gradlab.experiment.sink import MemorySink
from gradlab.measure.records import FAILED, NOT_RUN, OK, OVERFLOWED, RECORDS


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
