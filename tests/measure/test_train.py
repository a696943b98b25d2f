"""Training: pure, frozen where it diverges, and resumed to the same bits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from training import assert_same, copied, last_state, tight, trainee

from gradlab.core.errors import UserMistake
from gradlab.learning import learners
from gradlab.learning.backward import backpropagate
from gradlab.learning.workspace import Workspace
from gradlab.measure import evaluation
from gradlab.measure.history import BY_LOSS, BY_PARAMETERS, TRAINING_RECORDS
from gradlab.measure.records import DIVERGED, OK
from gradlab.measure.size import tile_and_segment
from gradlab.measure.train import train
from gradlab.measure.trainable import Trainable, draw_blocks
from gradlab.measure.training import Training, TrainingBlock, check_trainee
from gradlab.measure.training_size import training_sizes
from gradlab.measure.updates import Pass, draw

ALL = tuple(TRAINING_RECORDS)
ADDING = {"name": "adding", "length": 24, "batch": 3}
RULES = (
    "off",
    {"name": "norm", "threshold": 0.1},
    {"name": "value", "threshold": 0.01},
    {"name": "quantile", "percentile": 30.0},
    {"name": "unitwise", "threshold": 0.01},
    {"name": "per_sample", "threshold": 0.2},
)
OPTIMISERS = (
    {"name": "sgd", "rate": 0.1},
    {"name": "momentum", "rate": 0.02},
    {"name": "nesterov", "rate": 0.03},
    {"name": "rmsprop", "rate": 0.001},
    {"name": "adam", "rate": 0.01},
    {"name": "sgd", "rate": 0.2},
)
SHORT = Training(updates=6, records=4, spacing="linear", evaluate=5)


def alone(block, i, **options):
    return train(replace(block, cases=(block.cases[i],)), ALL, **options)


def check_pure(block, **options):
    """Every case is bit for bit what it is alone."""
    together = train(block, ALL, **options)
    for i in range(len(block.cases)):
        assert_same({name: values[i : i + 1] for name, values in together.items()}, alone(block, i), str(i))
    return together


def mixed(network, task=ADDING, **more):
    cases = [
        trainee(task, rule, optimiser, network, seed=1, replicate=replicate, **more)
        for replicate, (rule, optimiser) in itertools.product(range(2), zip(RULES, OPTIMISERS, strict=True))
    ]
    return TrainingBlock(tuple(cases), SHORT)


NETWORKS = {
    "elman": {"hidden": 5},
    "lstm": {"cell": "lstm", "hidden": 4},
    "float32": {"hidden": 5, "dtype": "float32"},
    "deep": {"hidden": 4, "layers": 2, "bidirectional": True},
    "embedding": {"hidden": 5, "embedding": 3},
    "antisymmetric": {"cell": "antisymmetric", "hidden": 5},
    "diagonal": {"cell": "linear_diagonal", "hidden": 4, "spectrum": {"name": "ginibre", "radius": 0.4}},
    "jordan": {"cell": "jordan", "hidden": 5},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_case_is_what_it_is_alone(name):
    out = check_pure(mixed(NETWORKS[name]))
    assert (out["status"] == OK).all()
    assert np.isfinite(out["loss"]).all()
    assert out["clip_active"][0].max() == 0.0
    assert out["clip_active"][[1, 2, 4, 5]].max() == 1.0, "the rules must have something to do"


def test_tiles_and_stretches_change_no_bit():
    block = mixed({"cell": "lstm", "hidden": 4})
    whole = train(block, ALL)
    least = tight(block, ALL)
    assert tile_and_segment(training_sizes(block, ALL), least)[0] == 1
    assert tile_and_segment(training_sizes(block, ALL), least)[1] < 24
    for memory in (least, 2 * least):
        assert_same(whole, train(block, ALL, memory=memory), str(memory))


def exploding(rates, **network):
    spectrum = {"name": "ginibre", "radius": 1.0}
    settings = {"hidden": 5, "activation": "relu", "spectrum": spectrum, **network}
    noise = {"name": "noise", "length": 30, "features": 3, "outputs": 2, "batch": 4}
    return tuple(trainee(noise, "off", {"name": "adam", "rate": r}, settings, seed=2) for r in rates)


def test_a_diverged_case_is_frozen_and_its_neighbours_go_on():
    cases = exploding([1e-3, 1e250, 1e-2, 1e200])
    training = Training(updates=8, records=8, spacing="linear", evaluate=4)
    block = TrainingBlock(cases, training)
    out = check_pure(block)
    np.testing.assert_array_equal(out["status"], [OK, DIVERGED, OK, DIVERGED])
    np.testing.assert_array_equal(out["diverged_at"] >= 0, [False, True, False, True])
    for i in (1, 3):
        at = out["diverged_at"][i]
        assert np.isnan(out["loss"][i, at + 1 :]).all()
        assert not np.isnan(out["loss"][i, : at + 1]).any()
        assert out["final_metric"][i] == np.inf
    assert np.isfinite(out["loss"][[0, 2]]).all()
    assert np.isfinite(out["final_metric"][[0, 2]]).all()


def test_both_criteria_of_divergence():
    steps = exploding([1e-3])[0]
    huge = replace(steps, optimiser=replace(steps.optimiser, rate=1e308))
    big = replace(steps, optimiser=replace(steps.optimiser, rate=1e200))
    out = train(TrainingBlock((huge, big), replace(SHORT, records=6)), ALL)
    assert set(out["diverged_by"].tolist()) <= {BY_LOSS, BY_PARAMETERS}
    assert out["diverged_by"][1] == BY_LOSS
    assert out["diverged_at"][1] == 1
    assert out["loss"][1, 1] == np.inf
    linear = {"hidden": 20, "activation": "identity", "spectrum": {"name": "ginibre", "radius": 9.0}}
    sgd = trainee({"name": "noise", "length": 300}, "off", {"name": "sgd", "rate": 1e300}, linear)
    out = train(TrainingBlock((sgd,), SHORT), ALL)
    assert out["diverged_by"][0] in (BY_LOSS, BY_PARAMETERS)
    assert out["diverged_at"][0] == 0


def test_parameters_of_a_case_without_a_gradient_stay():
    big = exploding([1e200, 1e-3])
    state = last_state(TrainingBlock(big, SHORT))
    after_one = last_state(TrainingBlock(big, replace(SHORT, updates=1)))
    for i in range(2):
        np.testing.assert_array_equal(state[f"parameter {i}"][0], after_one[f"parameter {i}"][0])
        assert (state[f"parameter {i}"][1] != after_one[f"parameter {i}"][1]).any()


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_interrupted_at_every_update(name):
    block = mixed(NETWORKS[name])
    block = replace(block, cases=block.cases[:6])
    states = []
    whole = train(block, ALL, checkpoint=lambda state: states.append(copied(state)), every=0.0)
    assert len(states) == SHORT.updates + 1
    for state in states:
        kept = copied(state)
        assert_same(train(block, ALL, start=state), whole)
        assert_same(state, kept, "the state is left as it is")


def test_interrupted_between_tiles_and_after_a_divergence():
    block = TrainingBlock(exploding([1e-3, 1e200, 1e-2, 1e3, 1e-1]), SHORT)
    states, small = [], tight(block, ALL)
    whole = train(block, ALL)
    train(block, ALL, memory=small, checkpoint=lambda s: states.append(copied(s)), every=0.0)
    assert len(states) > SHORT.updates + 2, "several tiles"
    for state in states:
        assert_same(train(block, ALL, start=state), whole)


def test_an_exception_between_updates_loses_nothing():
    block, states = mixed(NETWORKS["elman"]), []

    def stop(state):
        states.append(copied(state))
        if len(states) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(block, ALL, checkpoint=stop, every=0.0)
    assert_same(train(block, ALL, start=states[-1]), train(block, ALL))


def test_what_is_recorded_changes_nothing():
    block = mixed(NETWORKS["elman"])
    whole = train(block, ALL)
    for name in ALL:
        assert_same(train(block, (name,)), {"status": whole["status"], name: whole[name]})


@pytest.mark.parametrize("learner", ["truncated", "rtrl", "snap1", "uoro"])
def test_other_learners(learner):
    table = {"name": learner, **({"window": 5, "every": 2} if learner == "truncated" else {})}
    own = learners.registry.build(table, "learner")
    cases = mixed(NETWORKS["elman"]).cases
    cases = tuple(case for case in cases if "samples" not in case.clip.needs)
    together = train(TrainingBlock(cases, SHORT, own), ALL)
    single = train(TrainingBlock(cases[3:4], SHORT, own), ALL)
    assert_same({name: values[3:4] for name, values in together.items()}, single)
    full = train(TrainingBlock(cases, SHORT), ALL)
    np.testing.assert_allclose(together["loss"][:, 0], full["loss"][:, 0], rtol=1e-14, atol=0)
    if learner == "rtrl":
        for name in ("loss", "log10_gradient_norm"):
            np.testing.assert_allclose(together[name], full[name], rtol=1e-9, atol=0)
    else:
        assert (together["loss"][:, -1] != full["loss"][:, -1]).all()


def test_a_learner_that_draws_draws_anew_each_update():
    own = learners.registry.build("uoro", "learner")
    case = trainee({"name": "constant", "length": 6, "batch": 2}, optimiser={"name": "sgd", "rate": 1e-300})
    out = train(TrainingBlock((case,), replace(SHORT, records=6), own), ("loss", "log10_gradient_norm"))
    assert len(set(out["log10_gradient_norm"][0].tolist())) == 6


def test_a_rule_on_adjoints():
    rule = {"name": "adjoint_value", "threshold": 1e-3}
    cases = [trainee(ADDING, rule, o, NETWORKS["elman"], replicate=r) for r in (0, 1) for o in OPTIMISERS]
    out = check_pure(TrainingBlock(tuple(cases), SHORT))
    assert (out["clip_active"] == 1.0).any()
    assert (out["clip_angle"][out["clip_active"] == 1.0] > 0).all()
    assert ((out["clip_active_share"] > 0) >= (out["clip_active"] == 1.0)).all()


@pytest.mark.parametrize("rule", ["adjoint_norm", "adjoint_value"])
@pytest.mark.parametrize(
    ("network", "task"),
    [
        ({"hidden": 4}, ADDING),
        ({"cell": "lstm", "hidden": 4, "layers": 2}, ADDING),
        ({"cell": "gru", "hidden": 4, "bidirectional": True}, ADDING),
        ({"cell": "jordan", "hidden": 4}, {"name": "noise", "length": 6, "batch": 3, "at": "every"}),
    ],
    ids=["elman", "deep", "both ways", "jordan"],
)
def test_how_often_a_rule_on_adjoints_acted(network, task, rule):
    """It acts where the largest adjoint is beyond the threshold: at some updates, here, and not at others."""
    names = ("clip_active", "clip_active_share")
    every = Training(updates=12, records=12, spacing="linear", evaluate=1)
    sparse = replace(every, records=4)

    def share(threshold, how=every, rows=(0, 1)):
        cases = [
            trainee(task, {"name": rule, "threshold": threshold}, OPTIMISERS[0], network, replicate=r)
            for r in rows
        ]
        return train(TrainingBlock(tuple(cases), how), names)

    low, high = -9.0, 9.0  # decades between which it acts at some updates
    while not 0 < (out := share(middle := 10 ** ((low + high) / 2)))["clip_active"].mean() < 1:
        low, high = ((low + high) / 2, high) if out["clip_active"].any() else (low, (low + high) / 2)
    np.testing.assert_array_equal(out["clip_active"], out["clip_active_share"])
    assert (share(1e9)["clip_active_share"] == 0).all()
    assert (share(1e-9)["clip_active_share"] == 1).all()
    few, ends = share(middle, sparse), sparse.recorded()
    groups = np.split(out["clip_active"], ends[:-1] + 1, axis=1)
    expected = np.stack([group.mean(axis=1) for group in groups], axis=1)
    np.testing.assert_allclose(few["clip_active_share"], expected, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(
        share(middle, rows=(1,))["clip_active_share"][0], out["clip_active_share"][1]
    )


def test_it_learns_and_says_when():
    task = {"name": "temporal_order", "length": 10, "batch": 20}
    network = {"cell": "lstm", "hidden": 20}
    case = trainee(task, {"name": "norm", "threshold": 1.0}, {"name": "adam", "rate": 0.02}, network)
    never = replace(case, optimiser=replace(case.optimiser, rate=1e-12))
    training = Training(updates=150, records=16, spacing="linear", evaluate=200, stop_when_solved=True)
    out = train(TrainingBlock((never, case), training), ALL)
    assert out["solved_at"][0] == -1
    assert out["metric"][0, -1] > 0.5
    at = out["solved_at"][1]
    assert 0 < at <= 150
    assert out["final_metric"][1] < 0.01
    after = training.recorded() > at
    assert np.isnan(out["loss"][1, after]).all()
    going_on = train(TrainingBlock((case,), replace(training, stop_when_solved=False)), ALL)
    assert going_on["solved_at"][0] == at
    assert np.isfinite(going_on["loss"]).all()
    np.testing.assert_allclose(out["chance"], np.log(4.0), rtol=1e-15, atol=0)


def test_evaluation_in_chunks_adds_up(monkeypatch):
    case = trainee({"name": "temporal_order", "length": 10, "batch": 7}, network=NETWORKS["elman"])
    training = Training(updates=1, records=1, evaluate=130)
    (metric,) = train(TrainingBlock((case,), training), ("final_metric",))["final_metric"]
    assert round(metric * 130) == pytest.approx(metric * 130, rel=1e-12)
    monkeypatch.setattr(evaluation, "CHUNK", 130)
    whole = train(TrainingBlock((case,), training), ("final_metric",))["final_metric"]
    assert whole[0] * 130 == pytest.approx(round(whole[0] * 130), rel=1e-12)
    assert 0.5 < metric < 0.95


def test_recorded_updates():
    for training in (Training(100, "log", 20), Training(100, "linear", 20), Training(3), Training(1)):
        recorded = training.recorded()
        assert recorded[0] == 0
        assert recorded[-1] == training.updates - 1
        assert (np.diff(recorded) > 0).all()
        assert len(recorded) <= min(training.records, training.updates)
    assert len(Training(1000, "linear", 20).recorded()) == 20
    assert np.diff(Training(1000, "log", 20).recorded())[-1] > 200
    np.testing.assert_array_equal(Training(10, "linear", 5, evaluate_every=3).evaluated(), [1, 0, 0, 1, 1])


def test_all_that_is_wrong_with_a_training_is_told_at_once():
    with pytest.raises(UserMistake) as raised:
        Training(updates=0, records=0, evaluate=5, spacing="lin", carry_state=1)
    assert [one.where for one in raised.value.problems] == ["updates", "records", "spacing", "carry_state"]


def test_progress_is_told():
    told = []
    block = mixed(NETWORKS["elman"])
    train(block, ("loss",), progress=told.append)
    assert told[-1].done == told[-1].total == len(block.cases) * SHORT.updates


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"name": "noise", "loss": "unit"}}, "task.loss: expected a loss that can be trained"),
        ({"schedule": {"name": "cosine", "updates": 3}}, "schedule"),
    ],
)
def test_refused_before_anything_runs(change, message):
    with pytest.raises(UserMistake, match=message):
        check_trainee(trainee(**change), SHORT, learners.registry.build("bptt", "learner"))


def test_rules_without_what_they_need_are_refused():
    rtrl = learners.registry.build("rtrl", "learner")
    for rule in ({"name": "per_sample", "threshold": 1.0}, {"name": "adjoint_value", "threshold": 1.0}):
        with pytest.raises(UserMistake):
            check_trainee(trainee(clip=rule), SHORT, rtrl)


def test_the_regulariser_is_added_to_the_gradient():
    """One small step of plain descent: the difference is rate * omega * dOmega/dW, by central differences.

    The immediate derivative keeps adjoints and derivatives as they are, so they are kept here, too.
    """
    cases = [
        trainee(ADDING, "off", {"name": "sgd", "rate": 1.0}, NETWORKS["elman"], omega=omega, seed=5)
        for omega in (0.0, 1e-3)
    ]
    block = TrainingBlock(tuple(cases), replace(SHORT, updates=1))
    check_pure(block)
    with_and_without = last_state(block)["parameter 0"]
    work = Pass(
        cases[:1], Trainable(cases[0].network, draw_blocks(cases[:1])), block.learner, 99, Workspace()
    )
    adjoints, derivatives = [], []
    layers = work.layers(draw(cases[:1], "training", 0, None, work.workspace), keep=True)
    lane = work.lane(draw(cases[:1], "training", 0, None, work.workspace))

    def watch(t, dz, exponent):
        adjoints.append(np.ldexp(dz[0, 0, 0], exponent[0, 0]))
        derivatives.append(layers.top[0].local(t)[0, 0].copy())

    with np.errstate(all="ignore"):
        backpropagate(layers, [lane], (), gradients=True, workspace=work.workspace, watch=watch)

    def omega(matrix):
        total = 0.0
        for later, derivative in zip(adjoints, derivatives[1:], strict=False):
            size = (later**2).sum(axis=0)
            arrived = derivative * (matrix.T @ later)
            ratio = (arrived**2).sum(axis=0)[size > 1e-20] / size[size > 1e-20]
            total += ((ratio - 1) ** 2).sum() / later.shape[1]
        return total

    n = cases[0].network.hidden
    matrix = work.parameters.blocks[0][0][:, :n]
    expected = np.zeros((n, n))
    for i, j in itertools.product(range(n), range(n)):
        step = np.zeros((n, n))
        step[i, j] = 1e-5
        expected[i, j] = (omega(matrix + step) - omega(matrix - step)) / 2e-5
    moved = (with_and_without[0] - with_and_without[1]) / 1e-3
    np.testing.assert_allclose(moved[:, :n], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    assert np.abs(moved[:, n:]).max() == 0.0


def test_the_regulariser_is_refused_beside_a_rule_on_single_samples():
    case = trainee(clip={"name": "per_sample", "threshold": 1.0}, omega=0.5)
    with pytest.raises(UserMistake, match=r"omega: expected 0 beside the rule 'per_sample', got 0.5"):
        check_trainee(case, SHORT, learners.registry.build("bptt", "learner"))
