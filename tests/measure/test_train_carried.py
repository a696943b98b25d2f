"""Training in which every update goes on where the last one ended: states, sequences, checkpoints, tiles."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from training import assert_same, copied, last_state, tight, trainee

from gradlab import tasks
from gradlab.core.errors import UserMistake
from gradlab.learning import learners
from gradlab.measure.history import ORDINARY
from gradlab.measure.train import train
from gradlab.measure.training import Training, TrainingBlock, check_trainee
from gradlab.network import cells
from gradlab.tasks._tail import following

TEXT = "the river town had a bridge and the bridge had a town; " * 6
ON = Training(updates=5, records=3, spacing="linear", evaluate=5, carry_state=True)
CELLS = {
    **{name: {"cell": name, "hidden": 6} for name in cells.registry.names()},
    "clockwork": {"cell": {"name": "clockwork", "periods": [1, 7]}, "hidden": 6},
    "two layers": {"cell": "gru", "hidden": 4, "layers": 2, "embedding": 3},
}


@pytest.fixture
def text(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "text.txt").write_text(TEXT)
    return {"name": "characters", "file": str(tmp_path / "text.txt"), "length": 7, "batch": 3}


@pytest.fixture
def series(tmp_path: Path) -> dict[str, object]:
    rows = np.cos(0.3 * np.arange(90)) + 0.01 * np.arange(90)
    (tmp_path / "series.csv").write_text("x\n" + "\n".join(map(str, rows.tolist())))
    return {"name": "series", "file": str(tmp_path / "series.csv"), "column": "x", "length": 8, "batch": 4}


def cases_of(task, network, count=2):
    rules = ("off", {"name": "norm", "threshold": 0.05}, {"name": "value", "threshold": 0.01})
    return tuple(
        trainee(task, rules[i % 3], {"name": "adam", "rate": 0.01}, network, seed=2, replicate=i)
        for i in range(count)
    )


@pytest.mark.parametrize(("steps", "length", "samples"), [(10, 10, 1), (23, 5, 4), (7, 3, 9), (100, 7, 3)])
def test_samples_go_on_until_the_end_and_then_begin_again(steps, length, samples):
    came = [following(steps, length, update, samples) for update in range(60)]
    assert came[0][1].all()
    assert came[0][0][0] == 0
    for places, _ in came:
        assert ((places >= 0) & (places + length <= steps)).all()
    for (before, _), (places, anew) in pairwise(came):
        assert (places[~anew] == before[~anew] + length).all()
        assert (places[anew] == 0).all()
        assert (before[anew] + 2 * length > steps).all()  # there was no room to go on
    assert len(set(came[0][0].tolist())) == min(samples, steps - length + 1)


def test_pieces_of_a_text_follow_each_other(text):
    task = tasks.registry.build(text, "task")
    part = task.parts()[0]
    for update in range(200):
        examples, anew = task.passage(update)
        places, again = following(len(part) - 1, 7, update, 3)
        assert (anew == again).all()
        read = examples.inputs.argmax(axis=1)
        for b, place in enumerate(places.tolist()):
            assert (read[:, b] == part[place : place + 7]).all()
            assert (examples.targets[:, b] == part[place + 1 : place + 8]).all()


def test_windows_of_a_series_follow_each_other(series):
    task = tasks.registry.build(series, "task")
    first, _ = task.passage(0)
    then, anew = task.passage(1)
    go_on = ~anew
    assert go_on.any()
    # the window slides by one reading a step: the last one's target is the next one's last reading
    assert (then.inputs[0, -1, go_on] == first.targets[-1, 0, go_on]).all()
    assert (then.inputs[0, 0, go_on] == first.inputs[-1, 1, go_on]).all()


@pytest.mark.parametrize("name", CELLS)
def test_a_case_has_the_same_bits_alone_and_in_any_memory(name, text):
    own = cases_of(text, CELLS[name])
    whole = train(TrainingBlock(own, ON), ORDINARY)
    assert np.isfinite(whole["loss"]).all()
    for i, case in enumerate(own):
        alone = train(TrainingBlock((case,), ON), ORDINARY)
        assert_same({k: v[i : i + 1] for k, v in whole.items()}, alone, name)
    block = TrainingBlock(own, ON)
    assert_same(whole, train(block, ORDINARY, tight(block, ORDINARY)), name)


@pytest.mark.parametrize("name", CELLS)
def test_it_matters(name, text):
    own = cases_of(text, CELLS[name], 1)
    without = Training(updates=5, records=3, spacing="linear", evaluate=5)
    a, b = (train(TrainingBlock(own, how), ("loss",))["loss"] for how in (ON, without))
    assert (a != b).any()


@pytest.mark.parametrize("name", ["elman", "lstm", "jordan", "two layers"])
def test_from_any_update_it_goes_on_to_the_same_bits(name, text):
    block = TrainingBlock(cases_of(text, CELLS[name]), ON)
    kept = []
    whole = train(block, ORDINARY, checkpoint=lambda state: kept.append(copied(state)), every=0.0)
    assert len(kept) == ON.updates + 1
    for state in kept[:-1]:
        assert_same(whole, train(block, ORDINARY, start=state), name)
    forgotten = copied(kept[3])
    for part in [part for part in forgotten if part.startswith("carried ")]:
        forgotten[part][...] = 0.0
    assert (train(block, ORDINARY, start=forgotten)["loss"] != whole["loss"]).any()


def stepped(case, update, state, start, learner="bptt"):
    """Return the loss of one update of a case from given states, by the engine without an update."""
    from gradlab.learning.workspace import Workspace
    from gradlab.measure.carrying import Carried
    from gradlab.measure.trainable import Trainable
    from gradlab.measure.updates import Pass

    count = sum(name.startswith("parameter ") for name in state)
    blocks = [state[f"parameter {i}"].copy() for i in range(count)]
    own = learners.registry.build(learner, "learner")
    work = Pass([case], Trainable(case.network, blocks), own, 3, Workspace())
    batch = Carried(start).draw([case], update, Workspace())
    return work.run(update, batch)


@pytest.mark.parametrize("name", CELLS)
def test_pieces_with_the_state_carried_over_are_one_long_sequence(name, text):
    """Without updates in between, two pieces lose what one of twice the length does."""
    case = cases_of(text, CELLS[name], 1)[0]
    state = last_state(TrainingBlock((case,), Training(2, records=1, evaluate=1, carry_state=True)))
    zero = [[np.zeros_like(part) for part in layer] for layer in stepped_zero(state)]
    one = stepped(case, 0, state, zero)
    two = stepped(case, 1, state, one.ends)
    long = trainee(text | {"length": 14}, network=CELLS[name], seed=2)
    again = stepped(long, 0, state, zero)
    anew = case.task.passage(1)[1]
    assert not anew.any()
    places = [following(len(case.task.parts()[0]) - 1, n, 0, 3)[0] for n in (7, 14)]
    same = places[0] == places[1]
    assert same[0]
    for ours, theirs in zip(two.ends, again.ends, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a[..., same], b[..., same], rtol=1e-12, atol=1e-15)


def stepped_zero(state):
    from gradlab.measure.carrying import Carried

    return Carried.of(state, np.array([0])).states


@pytest.mark.parametrize("learner", ["rtrl", {"name": "truncated", "window": 7}])
def test_other_learners_go_on_from_the_same_states(learner, text):
    case = cases_of(text, CELLS["elman"], 1)[0]
    state = last_state(TrainingBlock((case,), Training(2, records=1, evaluate=1, carry_state=True)))
    start = [[np.full_like(part, 0.3) for part in layer] for layer in stepped_zero(state)]
    expected, found = (stepped(case, 1, state, start, one).gradient.values() for one in ("bptt", learner))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)


def test_what_cannot_go_on_is_refused_all_at_once(text):
    case = trainee("temporal_order", network={"hidden": 4, "bidirectional": True})
    with pytest.raises(UserMistake) as caught:
        check_trainee(case, ON, learners.registry.build("bptt", "learner"))
    assert {problem.where for problem in caught.value.problems} == {
        "training.carry_state",
        "network.bidirectional",
    }
    assert "'characters' and of 'series' go on" in str(caught.value)
    plain = tasks.AbstractTask.passage
    going = {name for name in tasks.registry.names() if tasks.registry.get(name).passage is not plain}
    assert going == {"characters", "series"}
    bptt = learners.registry.build("bptt", "learner")
    check_trainee(trainee(text, network={"hidden": 4}), ON, bptt)
    check_trainee(trainee(text, network=CELLS["clockwork"]), ON, bptt)
    out_of_step = trainee(text, network={"cell": {"name": "clockwork", "periods": [2, 3]}, "hidden": 4})
    with pytest.raises(UserMistake, match=r"task.length: expected a multiple of 6 .*, got 7"):
        check_trainee(out_of_step, ON, bptt)
    with pytest.raises(UserMistake, match="carry_state: expected true or false, got 1"):
        Training(updates=1, carry_state=1)


def test_a_first_state_of_the_networks_own_is_where_samples_begin_anew(text):
    """As it is where nothing is carried over."""
    start = cases_of(text, {"hidden": 6, "initial_state": 0.5}, 1)
    state = last_state(TrainingBlock(start, Training(1, records=1, evaluate=1, carry_state=True)))
    plain = last_state(TrainingBlock(cases_of(text, {"hidden": 6}, 1), Training(1, records=1, evaluate=1)))
    own = last_state(TrainingBlock(start, Training(1, records=1, evaluate=1)))
    assert (plain["parameter 0"] != own["parameter 0"]).any()
    zero = [[np.zeros_like(part) for part in layer] for layer in stepped_zero(state)]
    half = [[np.full_like(part, 0.5) for part in layer] for layer in zero]
    ends = [stepped(start[0], 0, state, states).ends[0][0] for states in (zero, half)]
    assert (ends[0] == ends[1]).all()
