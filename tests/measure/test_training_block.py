"""A block of trainings: what it keeps on disk meanwhile, and that it goes on from there to the same bits."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from training import assert_same, trainee

from gradlab.experiment import estimate
from gradlab.learning import learners
from gradlab.learning.workspace import Workspace
from gradlab.measure import checkpoint, training_block
from gradlab.measure.checkpoint import Keeper, read_state, write_state
from gradlab.measure.history import ORDINARY
from gradlab.measure.training import Training
from gradlab.measure.training_block import Block

TASK = {"name": "temporal_order", "length": 10, "batch": 3}
SHORT = Training(updates=7, records=4, spacing="linear", evaluate=5)


class Killed(BaseException):
    """What a kill looks like to this process."""


def block(training=SHORT):
    rules = ({"name": "quantile", "percentile": 30.0}, "off", {"name": "norm", "threshold": 0.1})
    optimisers = (
        {"name": "adam", "rate": 0.01},
        {"name": "sgd", "rate": 0.1},
        {"name": "sgd", "rate": 1e200},
    )
    cases = [
        trainee(TASK, rule, optimiser, {"hidden": 4, "activation": "relu"}, seed=3)
        for rule, optimiser in zip(rules, optimisers, strict=True)
    ]
    return Block(tuple(cases), training, learners.registry.build("bptt", "learner"))


def measured(own, path=None):
    return own.measure(ORDINARY, 1 << 26, Workspace(), path)


def path_of(own, folder):
    return folder / own.checkpoint_name(ORDINARY)


@contextmanager
def patched(patch, **values):
    with patch.context() as own:
        for name, value in values.items():
            own.setattr(training_block if name == "SAVE_SECONDS" else Keeper, name, value)
        yield


def killed_after(patch, own, folder, saves):
    """Measure with a state kept after every update, and stop after so many."""
    count, save = [0], Keeper.save

    def counted(keeper, state):
        save(keeper, state)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    with patched(patch, SAVE_SECONDS=0.0, save=counted), pytest.raises(Killed):
        measured(own, path_of(own, folder))


def done_at_start(patch, own, folder):
    """Measure; return the records and the updates that every case had when it began (None: all anew)."""
    begun, start = [], Keeper.start

    def seen(keeper, begin):
        state = start(keeper, begin)
        begun.append(None if state is None else state["done"].tolist())
        return state

    with patched(patch, start=seen):
        return measured(own, path_of(own, folder)), begun[0]


@pytest.mark.parametrize("saves", [1, 4, 8])
def test_a_killed_block_goes_on_to_the_same_bits(saves, tmp_path, monkeypatch):
    own = block()
    whole = measured(own)
    killed_after(monkeypatch, own, tmp_path, saves)
    again, begun = done_at_start(monkeypatch, own, tmp_path)
    assert begun[:2] == [min(saves, SHORT.updates)] * 2
    assert begun[2] < SHORT.updates, "the case that diverged is frozen"
    assert_same(again, whole)


def test_cases_are_found_in_the_files_of_other_blocks(tmp_path, monkeypatch):
    """Another number of workers cuts the same cases otherwise: each goes on from where it was furthest."""
    own = block()
    whole = measured(own)
    killed_after(monkeypatch, own, tmp_path, 2)
    killed_after(monkeypatch, own.part(0, 1), tmp_path, 5)
    again, begun = done_at_start(monkeypatch, own.part(0, 2), tmp_path)
    assert begun[0] > begun[1]
    assert_same(again, {name: values[:2] for name, values in whole.items()})


@pytest.mark.parametrize("harm", ["cut", "one byte", "empty", "other text", "folder", "older"])
def test_a_state_that_is_not_whole_is_not_used(harm, tmp_path, monkeypatch):
    own = block()
    whole = measured(own)
    killed_after(monkeypatch, own, tmp_path, 4)
    path = path_of(own, tmp_path)
    content = path.read_bytes()
    if harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        harmed = bytearray(content)
        harmed[len(content) // 2] ^= 1
        harms = {
            "cut": content[: len(content) // 2],
            "one byte": bytes(harmed),
            "empty": b"",
            "other text": b"PK" + bytes(500),
            "older": content[:-32],
        }
        path.write_bytes(harms[harm])
    assert read_state(path) is None
    if harm == "folder":
        with pytest.warns(RuntimeWarning, match="could not be kept"):
            again, begun = done_at_start(monkeypatch, own, tmp_path)
    else:
        again, begun = done_at_start(monkeypatch, own, tmp_path)
    assert begun is None
    assert_same(again, whole)


def test_states_of_other_cases_settings_and_records_are_not_used(tmp_path, monkeypatch):
    own = block()
    killed_after(monkeypatch, own, tmp_path, 4)
    longer = block(replace(SHORT, updates=9))
    assert done_at_start(monkeypatch, longer, tmp_path)[1] is None
    moved = replace(own, runs=tuple(replace(run, replicate=1) for run in own.runs))
    assert done_at_start(monkeypatch, moved, tmp_path)[1] is None
    assert own.checkpoint_name(("loss",)) != own.checkpoint_name(ORDINARY)
    monkeypatch.setattr(training_block, "code_key", lambda: "0" * 16)
    assert done_at_start(monkeypatch, own, tmp_path)[1] is None


def test_a_disk_that_fills_leaves_the_last_state_whole_and_the_training_goes_on(tmp_path, monkeypatch):
    """The limit on the size of files is the operating system's own refusal, as a full disk is."""
    own = block()
    whole, path = measured(own), path_of(own, tmp_path)
    save, kept, limit = Keeper.save, [], resource.getrlimit(resource.RLIMIT_FSIZE)

    def filled(keeper, state):
        if len(kept) >= 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        try:
            save(keeper, state)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        kept.append(path.read_bytes())

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with patched(monkeypatch, SAVE_SECONDS=0.0, save=filled), pytest.warns(RuntimeWarning) as told:
            found = measured(own, path)
    finally:
        signal.signal(signal.SIGXFSZ, before)
    assert_same(found, whole)
    assert len(kept) == SHORT.updates + 1
    assert kept[0] != kept[1]
    assert set(kept[2:]) == {kept[1]}, "the last state stays as it was"
    assert [str(one.message) for one in told] == [
        f"{tmp_path}: the state of a training could not be kept (File too large). The training goes on; if "
        "it is stopped, it will go on from the last state that was kept."
    ]
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".partial"] == []
    again, begun = done_at_start(monkeypatch, own, tmp_path)
    assert begun[:2] == [2, 2]
    assert_same(again, whole)


def test_a_folder_that_is_gone_stops_no_training(tmp_path, monkeypatch):
    own = block()
    with pytest.warns(RuntimeWarning, match="No such file or directory"):
        found = measured(own, tmp_path / "gone" / "state.npz")
    assert_same(found, measured(own))


def test_an_interrupted_write_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    write_state(path, {"done": np.arange(3)})

    def stop(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_state(path, {"done": np.arange(4)})
    np.testing.assert_array_equal(read_state(path)["done"], np.arange(3))


def test_it_tells_how_far_it_is(tmp_path):
    own = block()
    path = path_of(own, tmp_path)
    measured(own, path)
    told = json.loads(path.with_name(path.name + ".json").read_text())
    assert told["done"] == told["total"] == 3 * SHORT.updates
    assert told["diverged"] == 1
    assert told["group"] == "elman, temporal_order of length 10, 3 cases"


@pytest.mark.parametrize(
    ("settings", "record", "judged"),
    [
        ({"updates": 100, "records": 10, "spacing": "linear", "evaluate": 250}, ORDINARY, 11 * 3),
        ({"updates": 100, "records": 10, "spacing": "linear", "evaluate_every": 4}, ORDINARY, 5 * 10),
        ({"updates": 1, "evaluate": 7}, ORDINARY, 2),
        ({"updates": 100}, ("loss",), 0),
    ],
)
def test_an_estimate_counts_updates_and_what_is_judged(settings, record, judged, monkeypatch):
    """With a clock that runs as fast as updates and evaluations take, it is exact."""
    whole, now = block(Training(**settings)), [0.0]
    update, evaluation = 0.25, 0.75

    def run(own, recorded, memory, workspace, checkpoint=None):
        evaluated = int(own.training.evaluated().sum()) + 1 if judged else 0
        pieces = -(-own.training.evaluate // 100)
        now[0] += own.size * (update * own.training.updates + evaluation * evaluated * pieces)
        return {}

    monkeypatch.setattr(Block, "measure", run)
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    assert whole.units(record) == (3.0 * whole.training.updates, 3.0 * judged)
    rates = estimate._seconds_per_unit(whole, record, 1 << 26, Workspace(), warm=False)
    expected = 3 * (update * whole.training.updates + evaluation * judged)
    assert np.dot(whole.units(record), rates) == pytest.approx(expected, rel=1e-12)


def test_a_filter_is_known_to_take_longer():
    """The yardstick by which heavy blocks go first."""
    own = block()
    seconds = {
        name: training_block.case_seconds(own.runs[0], SHORT, learners.registry.build(learner, "learner"))
        for name, learner in {
            "bptt": "bptt",
            "unit": {"name": "kalman", "groups": "unit"},
            "global": {"name": "kalman", "groups": "global"},
        }.items()
    }
    assert seconds["bptt"] < seconds["unit"] < seconds["global"]
    assert (
        training_block.case_seconds(own.runs[0], replace(SHORT, evaluate=100), own.learner) > seconds["bptt"]
    )


def test_whole_numbers_may_be_written_as_others():
    training = Training(4.0, "linear", records=2.0, evaluate=10.0, evaluate_every=2.0)
    assert training == Training(4, "linear", records=2, evaluate=10, evaluate_every=2)
    assert training.recorded().tolist() == [0, 3]
