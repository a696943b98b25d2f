"""Training by the extended Kalman filter: derivatives, closed forms, bookkeeping, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training import assert_same, copied, last_state, tight, trainee

from gradlab.core.errors import UserMistake
from gradlab.learning import learners
from gradlab.learning.workspace import Workspace
from gradlab.measure.filtering import observations
from gradlab.measure.history import TRAINING_RECORDS
from gradlab.measure.records import DIVERGED, OK
from gradlab.measure.train import train
from gradlab.measure.trainable import Trainable, draw_blocks
from gradlab.measure.training import Training, TrainingBlock, check_trainee
from gradlab.measure.updates import Pass, draw
from gradlab.network.readout import OUTPUTS

ALL = tuple(TRAINING_RECORDS)
SHORT = Training(updates=5, records=5, spacing="linear", evaluate=5)
NOISE = {"name": "noise", "length": 6, "features": 2, "outputs": 2, "batch": 3, "at": [2, -1]}


def kalman(groups="global", **settings):
    return learners.registry.build({"name": "kalman", "groups": groups, **settings}, "learner")


def cases(network, task=NOISE, count=3):
    return tuple(trainee(task, network=network, seed=4, replicate=replicate) for replicate in range(count))


NETWORKS = {
    "elman": {"hidden": 4},
    "logistic": {"hidden": 4, "output": "logistic"},
    "lstm": {"cell": "lstm", "hidden": 3},
    "jordan": {"cell": "jordan", "hidden": 3},
    "deep": {"hidden": 3, "layers": 2, "bidirectional": True},
    "embedding": {"hidden": 3, "embedding": 2},
    "antisymmetric": {"cell": "antisymmetric", "hidden": 4},
    "diagonal": {"cell": "linear_diagonal", "hidden": 4, "spectrum": {"name": "ginibre", "radius": 0.4}},
}


def outputs_of(own, blocks, batch):
    """Return the outputs at the time steps looked at, (look, case, outputs, batch)."""
    work = Pass(own, Trainable(own[0].network, blocks), kalman(), 99, Workspace())
    layers = work.layers(batch, keep=True)
    readout, output = work.parameters.readout, OUTPUTS[own[0].network.output]
    return np.stack(
        [output.value(readout[:, :, :-1] @ layers.state(t) + readout[:, :, -1:]) for t in batch.looks]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_of_all_outputs_by_central_differences(name):
    own = cases(NETWORKS[name], count=2)
    blocks, workspace = draw_blocks(own), Workspace()
    work = Pass(own, Trainable(own[0].network, blocks), kalman(), 99, workspace)
    batch = draw(own, "training", 0, None, workspace)
    jacobian, error = observations(work, batch, work.run(0, batch))
    assert jacobian.shape == (2, sum(block[0].size for block in blocks), 2 * 2 * 3)
    wanted, step, row = np.empty_like(jacobian), 1e-6, 0
    for block in blocks:
        for place in np.ndindex(block.shape[1:]):
            kept, sides = block[(slice(None), *place)].copy(), []
            for sign in (1, -1):
                block[(slice(None), *place)] = kept + sign * step
                sides.append(outputs_of(own, blocks, batch))
            block[(slice(None), *place)] = kept
            difference = (sides[0] - sides[1]) / (2 * step)
            wanted[:, row] = difference.transpose(1, 0, 2, 3).reshape(2, -1)
            row += 1
    np.testing.assert_allclose(jacobian, wanted, rtol=1e-6, atol=1e-8 * np.abs(wanted).max())
    left = batch.targets - outputs_of(own, blocks, batch)
    np.testing.assert_allclose(error, left.transpose(1, 0, 2, 3).reshape(2, -1), rtol=1e-13, atol=1e-14)


def test_a_sample_of_less_weight_is_seen_with_more_noise():
    own, workspace = cases(NETWORKS["elman"], count=1), Workspace()
    work = Pass(own, Trainable(own[0].network, draw_blocks(own)), kalman(), 99, workspace)
    batch = draw(own, "training", 0, None, workspace)
    plain, error = observations(work, batch, work.run(0, batch))
    weight = np.ones((2, 1, 3))
    weight[0, 0, 1], weight[1, 0, 2] = 0.25, 0.0
    weighted = replace(batch, weight=weight)
    jacobian, left = observations(work, weighted, work.run(0, weighted))
    root = np.repeat(np.sqrt(weight[:, 0])[:, None], 2, axis=1).reshape(-1)
    assert sorted(set(root)) == [0.0, 0.5, 1.0]
    np.testing.assert_array_equal(jacobian[0], plain[0] * root)
    np.testing.assert_array_equal(left[0], error[0] * root)


@pytest.mark.parametrize("groups", ["global", "unit"])
def test_one_update_of_the_readout_is_bayesian_ridge_regression(groups):
    """With V = 0 no output depends on anything but V and b: the model is linear, the states its inputs."""
    prior, noise = 2.5, 0.3
    settings = {"hidden": 4, "readout": {"name": "normal", "gain": 1e-200}}
    own, training = cases(settings, count=2), replace(SHORT, updates=1, records=1)
    learner = kalman(groups, initial_covariance=prior, measurement_noise=noise)
    state = last_state(TrainingBlock(own, training, learner))
    blocks, workspace = draw_blocks(own), Workspace()
    batch = draw(own, "training", 0, None, workspace)
    layers = Pass(own, Trainable(own[0].network, blocks), learner, 99, workspace).layers(batch, keep=True)
    for c in range(2):
        seen = [np.vstack([layers.state(t)[c], np.ones((1, 3))]).T for t in batch.looks]
        design = np.concatenate(seen)  # (look * sample, hidden + 1)
        precision = np.eye(5) / prior + design.T @ design / noise
        targets = np.concatenate([batch.targets[look, c].T for look in range(2)])
        wanted = np.linalg.solve(precision, design.T @ targets / noise).T
        np.testing.assert_allclose(state["parameter 1"][c], wanted, rtol=1e-10, atol=0)
        moved = state["parameter 0"][c] - blocks[0][c]
        assert np.abs(moved).max() < 1e-190, "the rest tells nothing"
        left = np.linalg.inv(precision)
        if groups == "global":
            own_block = state["covariance 0"][c, -10:-5, -10:-5]
            np.testing.assert_array_equal(state["covariance 0"][c, 0, :-10], [prior] + [0.0] * 27)
        else:
            own_block = state["covariance 4"][c]
            np.testing.assert_array_equal(state["covariance 0"][c], prior * np.eye(7))
        np.testing.assert_allclose(own_block, left, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("groups", ["global", "unit"])
@pytest.mark.parametrize("name", ["elman", "lstm", "deep", "embedding"])
def test_a_case_is_what_it_is_alone(name, groups):
    block = TrainingBlock(cases(NETWORKS[name]), SHORT, kalman(groups, process_noise=1e-3))
    together, least = train(block, ALL), tight(block, ALL)
    assert (together["status"] == OK).all()
    for i in range(3):
        single = train(replace(block, cases=(block.cases[i],)), ALL, memory=least)
        assert_same({record: values[i : i + 1] for record, values in together.items()}, single, str(i))
    assert (together["clip_active"] == 0).all()
    assert (together["clip_factor"] == 1).all()


def test_interrupted_at_every_update():
    block = TrainingBlock(cases(NETWORKS["elman"]), SHORT, kalman("unit"))
    states = []
    whole = train(block, ALL, checkpoint=lambda state: states.append(copied(state)), every=0.0)
    assert len(states) == SHORT.updates + 1
    for state in states:
        assert_same(train(block, ALL, start=state), whole)
    forgetful = {**states[1], "covariance 0": states[0]["covariance 0"] * 2}
    assert (train(block, ALL, start=forgetful)["loss"][:, -1] != whole["loss"][:, -1]).all()


def test_rates_and_optimisers_mean_nothing_and_recorded_gradients_are_those_of_back_propagation():
    own = cases(NETWORKS["elman"], count=1)
    other = replace(own[0], optimiser=trainee(optimiser={"name": "adam", "rate": 0.5}).optimiser)
    assert_same(
        train(TrainingBlock(own, SHORT, kalman()), ALL), train(TrainingBlock((other,), SHORT, kalman()), ALL)
    )
    full = train(TrainingBlock(own, SHORT), ALL)
    filtered = train(TrainingBlock(own, SHORT, kalman()), ALL)
    for record in ("loss", "log10_gradient_norm", "log10_state_gradient_norm"):
        np.testing.assert_array_equal(filtered[record][:, 0], full[record][:, 0])
        assert (filtered[record][:, 1] != full[record][:, 1]).all()


def test_a_case_without_finite_derivatives_diverges_and_its_neighbours_go_on():
    own = cases({"hidden": 4, "activation": "relu", "spectrum": {"name": "ginibre", "radius": 1.0}}, count=2)
    block = TrainingBlock(own, SHORT, kalman())
    states = []
    whole = train(block, ALL, checkpoint=lambda state: states.append(copied(state)), every=0.0)
    states[1]["covariance 0"][0] *= -1.0  # as rounding might leave it: no covariance
    found = train(block, ALL, start=states[1])
    np.testing.assert_array_equal(found["status"], [DIVERGED, OK])
    assert found["diverged_at"].tolist() == [2, -1]
    assert_same({k: v[1:] for k, v in found.items()}, {k: v[1:] for k, v in whole.items()})


def test_it_learns_a_series_better_than_the_naive_forecast(tmp_path):
    t = np.arange(300)
    path = tmp_path / "series.csv"
    path.write_text("v\n" + "\n".join(str(v) for v in np.sin(t / 3) + 0.3 * np.sin(t / 7.1)))
    task = {"name": "series", "file": str(path), "column": "v", "length": 10, "batch": 4}
    training = Training(updates=30, records=4, spacing="linear", evaluate=20)
    own = cases({"hidden": 5}, task, count=2)
    naive = own[0].task.baselines(4, 0)["last_value"]
    plain = train(TrainingBlock(own, training), ALL)
    for groups in ("global", "unit"):
        learner = kalman(groups, measurement_noise=0.1)
        for case in own:
            check_trainee(case, training, learner)
        out = train(TrainingBlock(own, training, learner), ALL)
        assert (out["loss"][:, -1] < 0.05 * out["loss"][:, 0]).all()
        assert (out["final_metric"] < 0.2 * naive).all()
        assert (out["final_metric"] < 0.2 * plain["final_metric"]).all(), "plain descent is slower"


@pytest.mark.parametrize(
    ("task", "clip", "keys", "message"),
    [
        (NOISE, {"name": "norm", "threshold": 1.0}, {}, "clip: expected 'off' with the learner 'kalman'"),
        ({**NOISE, "loss": "cross_entropy"}, "off", {}, "task.loss: expected 'mse' for the learner 'kalman'"),
        (NOISE, "off", {"omega": 0.5}, "training.omega: expected 0 beside"),
        (NOISE, "off", {"network": {"hidden": 3, "output": "softmax"}}, "learner: expected a readout of"),
    ],
)
def test_what_it_cannot_train_is_refused(task, clip, keys, message):
    with pytest.raises(UserMistake, match=message):
        check_trainee(trainee(task, clip, **keys), SHORT, kalman())
