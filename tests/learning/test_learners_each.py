"""What one learner promises beyond the claims that all of them make."""

from __future__ import annotations

from functools import reduce

import numpy as np
import oracles
import pytest
from engine import apart, bptt_of, case_of, made_by, named_gradients, network, same, task, work_of

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.learning.learners import registry
from gradlab.learning.learners.truncated import Truncated
from gradlab.learning.online import Walk
from gradlab.network.cells import registry as cells

every_cell = pytest.mark.parametrize("cell", cells.names())
ONE_DIRECTION = [name for name in cells.names() if name != "jordan"]


def net(cell, hidden=4, **table):
    defaults = {"activation": "tanh", "spectrum": {"name": "ginibre", "radius": 0.95}}
    return network(cell=cell, hidden=hidden, **{**defaults, **table})


def truncated(window, every=1):
    return {"name": "truncated", "window": window, "every": every}


# --- truncated ------------------------------------------------------------------------------------------


def test_the_chunks_in_full():
    assert Truncated(3, 2).chunks(range(5)) == [((4,), 2), ((2, 3), 1), ((0, 1), 0)]
    assert Truncated(2).chunks([1, 4]) == [((4,), 3), ((1,), 0)]
    assert Truncated(9, 9).chunks(range(5)) == [((0, 1, 2, 3, 4), 0)]


@pytest.mark.parametrize(("window", "every"), [(1, 1), (5, 1), (5, 3), (4, 4), (30, 7), (7, 7)])
@pytest.mark.parametrize("looks", [range(1), range(20), (3, 4, 11, 19), range(19, 20)])
def test_every_loss_is_counted_once_and_within_its_window(window, every, looks):
    chunks = Truncated(window, every).chunks(looks)
    assert sorted(t for own, _ in chunks for t in own) == list(looks)
    for own, earliest in chunks:
        assert earliest <= own[0]
        assert own[-1] - own[0] < every
        assert own[-1] - earliest < window


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", cells.names())
def test_a_window_as_long_as_the_sequence_is_full_back_propagation(cell, layers):
    if cell == "jordan" and layers > 1:
        pytest.skip("a cell that feeds its output back has one layer")
    work = work_of(
        net(cell, layers=layers), task(length=13, features=2, batch=3, at="every"), ((0, 0), (0, 1)), 5
    )
    full = bptt_of(work)
    for every in (1, 4, 12):
        assert apart(made_by(truncated(13, every), work).gradient, full).max() < 1e-12
    for every in (13, 40):
        got = made_by(truncated(40, every), work).gradient
        for a, b in zip(got.values(), full.values(), strict=True):
            assert same(a, b)


def shares(problem, parameters, t):
    """Return dL_t/dz of every time step, by the complex step, for the loss of time step `t` alone."""
    alone = {**problem, "targets": {t: problem["targets"][t]}, "inputs": problem["inputs"][: t + 1]}
    _, _, by_nudge = oracles.complex_step(alone, parameters)
    return by_nudge["z"]


@pytest.mark.parametrize(("window", "every"), [(1, 1), (3, 1), (3, 2), (4, 4)])
@pytest.mark.parametrize("cell", ["elman", "lstm", "jordan", "clockwork"])
def test_truncation_by_the_definition(cell, window, every):
    """The bias gets dL_t/dz of the time steps in the window, each loss once; from the complex step."""
    settings = net(cell)
    job = task(length=8, features=2, batch=2, outputs=2, at="every")
    problem, parameters = oracles.problem_of(case_of(settings, job))
    work = work_of(settings, job)
    got = named_gradients(settings, work, made_by(truncated(window, every), work).gradient)
    wanted = np.zeros(parameters["b"].shape[0])
    for t in range(8):
        end = min((t // every + 1) * every, 8)
        dz = shares(problem, parameters, t)
        wanted += dz[max(end - window, 0) :].sum(axis=(0, 2))
    np.testing.assert_allclose(got["bias_ih_l0"], wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


def test_adjoints_of_all_layers_end_at_the_same_time_step():
    """With a window of one, a layer's bias gets what comes down through this time step alone."""
    settings = net("elman", layers=2)
    work = work_of(settings, task(length=6, features=2, batch=2))
    gradient = made_by(truncated(1), work).gradient.values()
    lower, upper = work.layers.trajectories[0][0], work.layers.trajectories[1][0]
    slope = work.lane.look([5], upper.state(5)[None])[1][0]
    dh = work.lane.readout[:, :, :-1].transpose(0, 2, 1) @ slope
    dz = upper.local(5)[0] * dh
    below = lower.local(5)[0] * (upper.stack.affine[:, :, 4:-1].transpose(0, 2, 1) @ dz)
    np.testing.assert_allclose(gradient[1][:, :, -1], dz.sum(axis=-1), rtol=1e-13, atol=0)
    np.testing.assert_allclose(gradient[0][:, :, -1], below.sum(axis=-1), rtol=1e-13, atol=0)


def test_a_window_that_misses_losses_is_refused():
    with pytest.raises(UserMistake, match="every: expected at most the window, 3, got 4"):
        registry.build(truncated(3, 4))
    for table in ({"window": 0}, {"window": 3, "every": 0}):
        with pytest.raises(UserMistake, match="at least 1"):
            registry.build({"name": "truncated", **table})


# --- snap1 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [c for c in ONE_DIRECTION if c not in ("clockwork", "linear_diagonal")])
def test_snap1_of_a_single_unit_is_exact(cell):
    """All state parts of a unit are kept: with one unit nothing is left out."""
    work = work_of(net(cell, hidden=1), task(length=15, features=2, batch=3, at="every"), ((0, 0), (0, 1)))
    assert apart(made_by("snap1", work).gradient, bptt_of(work)).max() < 1e-12


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "peephole_lstm"])
def test_snap1_of_units_that_see_only_themselves_is_exact(cell):
    settings = net(cell, spectrum={"name": "identity", "radius": 0.9})
    work = work_of(settings, task(length=15, features=2, batch=3, at="every"), ((0, 0), (0, 1)))
    got, wanted = made_by("snap1", work).gradient, bptt_of(work)
    # The entries of W off the diagonal move one unit by another's state; that is kept as well.
    assert apart(got, wanted).max() < 1e-12


def test_snap1_is_exact_for_numbers_that_turn():
    for seed in range(3):
        work = work_of(net("linear_diagonal", 6), task(length=15, features=2, batch=2), ((seed, 0),))
        turn = work.layers.top[0].stack.diagonal[1]
        assert np.abs(turn).max() > 0.1
        assert apart(made_by("snap1", work).gradient, bptt_of(work)).max() < 1e-12


def test_snap1_of_an_elman_network_by_its_definition():
    """S_ij = phi'(z_i) (W_ii S_ij + x_j), gathered by a loop."""
    work = work_of(net("elman"), task(length=9, features=2, batch=1, at="every"))
    (top,) = work.layers.top
    weights = np.diag(top.stack.affine[0][:, :4])
    S, total = np.zeros((4, 7)), np.zeros((4, 7))
    for t in range(9):
        S = top.local(t)[0][0] * (weights[:, None] * S + top.affine_input(t)[0].T)
        slope = work.lane.look([t], top.state(t)[None])[1][0]
        total += (work.lane.readout[0, :, :-1].T @ slope[0]) * S
    got = made_by("snap1", work).gradient.values()[0][0]
    np.testing.assert_allclose(got, total, rtol=1e-12, atol=1e-13)


# --- uoro -----------------------------------------------------------------------------------------------


def drawn(cell, draws, **table):
    """Return many gradients of one case as vectors, (draw, parameters), and full back-propagation's."""
    settings = net(cell, hidden=table.pop("hidden", 4), spectrum={"name": "ginibre", "radius": 0.7})
    work = work_of(settings, task(length=6, features=1, batch=2, outputs=1, **table))
    made = made_by({"name": "uoro", "draws": draws}, work)

    def flat(gradient):
        return np.concatenate([g[0].ravel() for g in gradient.values()])

    return np.stack([flat(one) for one in made.draws]), flat(bptt_of(work))


@every_cell
def test_the_mean_of_many_draws_is_the_exact_gradient(cell):
    """In every coordinate and in 20 random directions within four standard errors."""
    draws, wanted = drawn(cell, 1000, at="every")
    directions = np.concatenate(
        [np.eye(len(wanted)), np.random.RandomState(0).standard_normal((20, len(wanted)))]
    )
    values = draws @ directions.T
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    distance = np.abs(values.mean(axis=0) - directions @ wanted)
    sure = error < 1e-10 * np.abs(wanted).max()  # such as the readout, which nothing random touches
    assert (distance[sure] < 1e-9 * np.abs(wanted).max()).all()
    assert (distance[~sure] <= 4.0 * error[~sure]).all()
    assert (~sure).sum() > 20
    # The negative control: the standard errors are small enough to tell a biased learner.
    assert np.median(error[~sure]) < 0.2 * np.abs(directions @ wanted).max()


def test_the_bias_falls_as_the_root_of_the_draws():
    draws, wanted = drawn("elman", 4096)
    size = np.linalg.norm(wanted)
    spread = np.sqrt(((draws - draws.mean(axis=0)) ** 2).sum(axis=1).mean()) / size
    for count in (4, 16, 64, 256):
        means = draws.reshape(-1, count, draws.shape[1]).mean(axis=1)
        bias = np.sqrt((((means - wanted) ** 2).sum(axis=1)).mean()) / size
        np.testing.assert_allclose(bias, spread / np.sqrt(count), rtol=0.3, atol=0)


def test_draws_are_independent():
    draws, wanted = drawn("elman", 1000)
    off = draws - wanted
    halves = off[:500] @ wanted, off[500:] @ wanted
    assert abs(np.corrcoef(*halves)[0, 1]) < 4 / np.sqrt(500)


def test_more_draws_change_no_draw():
    few, _ = drawn("lstm", 3)
    many, _ = drawn("lstm", 8)
    assert same(few, many[:3])


def test_a_longer_task_begins_with_the_same_signs():
    """Looks at the same early time step: what comes later changes nothing."""
    settings, sizes = net("elman"), {"features": 2, "batch": 2, "at": [3]}
    gradients = [made_by("uoro", work_of(settings, task(length=n, **sizes))).gradient for n in (4, 90)]
    for a, b in zip(gradients[0].values(), gradients[1].values(), strict=True):
        assert same(a, b)


def test_uoro_through_chunks_of_signs():
    """Beyond the first 64 time steps signs are new ones; of a single unit without memory, all is exact."""
    settings = net("elman", hidden=1, spectrum={"name": "identity", "radius": 1e-3})
    work = work_of(settings, task(length=150, features=1, batch=1, at=[0, 63, 64, 149]))
    got, wanted = made_by("uoro", work).gradient, bptt_of(work)
    assert apart(got, wanted).max() < 0.1
    two = work_of(net("elman"), task(length=200, features=1, batch=1, at="every"))
    norms = made_by("uoro", two).online
    assert np.isfinite(norms).all()


@pytest.mark.parametrize("radius", [2.0, 0.1])
def test_uoro_far_outside_the_range(radius):
    settings = net("elman", activation="identity", spectrum={"name": "orthogonal", "radius": radius})
    work = work_of(settings, task("zeros", length=3000, batch=2, features=1, loss="unit"))
    ratio = made_by("uoro", work).gradient.log2_norm() - bptt_of(work).log2_norm()
    assert np.abs(ratio).max() < 8  # a factor of 250 in 1e+900


@pytest.mark.parametrize("loss", ["mse", "unit"])
@pytest.mark.parametrize("learner", ["rtrl", {"name": "uoro", "draws": 2000}])
def test_a_readout_that_is_fed_back_is_learnt_whatever_the_loss_sees(learner, loss):
    work = work_of(net("jordan", hidden=2, output="logistic"), task(length=4, batch=1, loss=loss))
    made = made_by(learner, work)
    draws = made.draws or (made.gradient,)
    mean = reduce(lambda a, b: a.plus(b), draws).times(1.0 / len(draws))
    assert apart(mean, bptt_of(work))[0] < (1e-13 if learner == "rtrl" else 0.1)


def test_the_norm_at_each_step_is_by_the_parameters_there_are():
    """With one look it is that of the gradient, also where inputs are read through an embedding."""
    found = gradlab.run(
        {
            "network": {"hidden": 2, "embedding": 2},
            "task": {"name": "symbols", "length": 3, "batch": 2, "features": 3, "at": [2]},
            "learner": "rtrl",
            "record": ["log10_online_gradient_norm", "log10_gradient_norm"],
        }
    ).isel(replicate=0)
    online = found["log10_online_gradient_norm"].values
    assert np.isneginf(online[:-1]).all()
    assert online[-1] == pytest.approx(float(found["log10_gradient_norm"]), rel=1e-13, abs=0.0)


def test_weights_that_there_are_not_move_nothing():
    clockwork = net({"name": "clockwork", "periods": [1, 2]})
    mask = clockwork.cell.mask(4)
    assert not mask.all()
    for t, local in Walk(work_of(clockwork, task(length=5, batch=2, features=2))):
        own = local.immediate[0][..., :4]
        assert (own[..., mask == 0] == 0.0).all()
        assert t == 0 or (own[..., mask == 1] != 0.0).any()
