"""Every learner of the catalogue with every cell: what it claims, and what all of them share."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from engine import (
    OFF,
    apart,
    assert_same_records,
    bptt_of,
    case_of,
    clip,
    made_by,
    named_gradients,
    network,
    same,
    task,
    work_of,
)

from gradlab.core.errors import UserMistake
from gradlab.experiment.spec import Spec
from gradlab.learning.learners import registry
from gradlab.measure.probe import Block, Run, View, check_memory, probe
from gradlab.measure.records import RECORDS
from gradlab.network.cells import registry as cells
from gradlab.network.cells.linear_diagonal import LinearDiagonal

SETTINGS = {"truncated": {"window": 4, "every": 3}, "uoro": {"draws": 3}}
ALL = [registry.build({"name": name, **SETTINGS.get(name, {})}) for name in registry.names()]
PROBED = [one for one in ALL if not one.for_training]
MAKERS = [one for one in PROBED if one.name != "bptt"]
every_cell = pytest.mark.parametrize("cell", cells.names())
every_maker = pytest.mark.parametrize("learner", MAKERS, ids=lambda one: one.name)
TWO = ((3, 0), (3, 1))


def net(cell, hidden=4, **table):
    defaults = {"activation": "tanh", "spectrum": {"name": "ginibre", "radius": 0.95}}
    return network(cell=cell, hidden=hidden, **{**defaults, **table})


def fits(learner, settings):
    try:
        learner.check_network(settings, "learner")
    except UserMistake:
        return False
    return True


def skip_unfit(learner, settings):
    if not fits(learner, settings):
        pytest.skip(f"{learner.name}: {learner.cells}")


def online(learner):
    return learner in MAKERS and learner.online


# --- exact learners -------------------------------------------------------------------------------------


def exact_variants():
    """Every exact learner, and the settings with which the others are exact."""
    return [
        *(one for one in MAKERS if one.exact),
        *(
            registry.build(t)
            for t in (
                {"name": "truncated", "window": 12},
                {"name": "truncated", "window": 50, "every": 5},
            )
        ),
    ]


every_exact = pytest.mark.parametrize("learner", exact_variants(), ids=repr)


@every_cell
@every_exact
@pytest.mark.parametrize("table", [{}, {"at": "every"}, {"at": [2, 7, 8], "loss": "cross_entropy"}], ids=str)
def test_exact_ones_equal_full_back_propagation(learner, cell, table):
    settings = net(cell)
    for segment in (None, 5):
        work = work_of(settings, task(length=12, features=3, outputs=2, batch=3, **table), TWO, segment)
        assert apart(made_by(learner, work).gradient, bptt_of(work)).max() < 1e-12


@every_cell
@every_exact
@pytest.mark.parametrize("loss", ["mse", "unit"])
def test_exact_ones_equal_the_complex_step(learner, cell, loss):
    settings, job = net(cell), task(length=7, features=2, batch=2, outputs=3, loss=loss, at=[3, 6])
    work = work_of(settings, job)
    got = named_gradients(settings, work, made_by(learner, work).gradient)
    problem, parameters = oracles.problem_of(case_of(settings, job))
    _, wanted, _, rtol = oracles.derivatives(problem, parameters)
    checked = 0
    for mine, gradient in wanted.items():
        name = oracles.NAMES[mine]
        if name in got:
            scale = rtol * np.abs(gradient).max()
            assert np.abs(got[name].reshape(gradient.shape) - gradient).max() <= scale, name
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize("output", ["logistic", "softmax"])
@every_exact
def test_exact_through_an_output_that_is_fed_back(learner, output):
    settings = net("jordan", output=output)
    work = work_of(settings, task(length=12, features=2, outputs=3, batch=2, at="every"), TWO)
    assert apart(made_by(learner, work).gradient, bptt_of(work)).max() < 1e-12


@every_exact
@pytest.mark.parametrize(("radius", "tolerance"), [(2.0, 1e-12), (0.3, 1e-12)])
def test_exact_far_outside_the_range(learner, radius, tolerance):
    """Sensitivities of 1e+900: the state is zero, its derivatives are not."""
    settings = net("elman", activation="identity", spectrum={"name": "orthogonal", "radius": radius})
    length = 3000 if learner.online else 12
    work = work_of(settings, task("zeros", length=length, batch=2, features=1, loss="unit"))
    got, wanted = made_by(learner, work).gradient, bptt_of(work)
    assert apart(got, wanted).max() < tolerance
    if radius > 1 and learner.online:
        assert wanted.log2_norm()[0] > 2990


@every_exact
def test_exact_with_saturated_units(learner):
    """Derivatives of 1e-280 and below: nothing is lost by products of small numbers."""
    settings = net("elman", activation="logistic", bias={"name": "constant", "value": 300.0})
    work = work_of(settings, task(length=10, batch=2, features=2, loss="unit"), TWO)
    wanted = bptt_of(work)
    assert (wanted.log2_norm() < -380).all()
    assert apart(made_by(learner, work).gradient, wanted).max() < 1e-12


@every_exact
def test_exact_in_float32(learner):
    settings = net("lstm", dtype="float32", spectrum={"name": "orthogonal", "radius": 1.5})
    work = work_of(settings, task(length=12, batch=2, features=2, at="every"), TWO)
    got = made_by(learner, work).gradient
    assert {m.dtype for m in got.mantissas} == {np.dtype("float32")}
    assert apart(got, bptt_of(work)).max() < 1e-5


def growing_units(length, radius):
    """Return exact numbers (in extended precision) of a linear network whose states reach 1e+270."""
    cell = {"name": "linear_diagonal", "normalised": False}
    settings = net(cell, spectrum={"name": "orthogonal", "radius": radius})
    work = work_of(settings, task(length=length, batch=2, features=2, loss="unit"))
    stack = work.layers.top[0].stack
    d, r = stack.diagonal[:, 0].astype(np.longdouble)
    affine, x = stack.affine[0].astype(np.longdouble), stack.inputs(0, length)[:, 0].astype(np.longdouble)
    states = [np.zeros((4, 2), np.longdouble)]
    for t in range(length):
        old = states[-1]
        states.append(d * old + r * np.roll(old, 2, axis=0) + affine[:, 4:-1] @ x[t] + affine[:, -1:])
    slope = work.lane.look([length - 1], states[-1].astype(float)[None, None])[1][0]
    adjoint, by_d, by_r = slope[0].astype(np.longdouble), 0, 0
    for t in reversed(range(length)):
        by_d, by_r = by_d + (adjoint * states[t]).sum(1), by_r + (adjoint * np.roll(states[t], 2, 0)).sum(1)
        adjoint = d * adjoint + np.roll(r * adjoint, 2, axis=0)
    return work, np.concatenate([by_d, by_r])


@pytest.mark.skipif(np.finfo(np.longdouble).maxexp < 10_000, reason="needs extended precision")
@pytest.mark.parametrize("length", [300, 700, 900, 1000])
@pytest.mark.parametrize("name", ["rtrl", "snap1"])
def test_elementwise_parameters_of_growing_units(name, length):
    """The gradient multiplies states of 1e+270 with sensitivities of 1e+270."""
    work, wanted = growing_units(length, 2.0)
    gradient = made_by(name, work).gradient
    got = np.ldexp(gradient.mantissas[1][0, :, 0].astype(np.longdouble), int(gradient.exponents[1][0]))
    assert np.abs(got - wanted).max() <= 1e-12 * np.abs(wanted).max()


# --- claims ---------------------------------------------------------------------------------------------


@every_cell
@every_maker
def test_what_it_refuses_and_what_it_fits(learner, cell):
    """What `check_network` lets pass works; the claim in words agrees with it."""
    settings = net(cell)
    if not fits(learner, settings):
        assert "feed their state back" in learner.cells
        return
    work = work_of(settings, task(length=6, features=2, batch=2))
    made = made_by(learner, work)
    assert [m.shape for m in made.gradient.mantissas] == [m.shape for m in bptt_of(work).mantissas]
    assert np.isfinite(made.gradient.log2_norm()).all()


@every_maker
@pytest.mark.parametrize("table", [{"layers": 2}, {"bidirectional": True}], ids=str)
def test_layers_and_directions(learner, table):
    settings = net("elman", **table)
    words = "all" if learner.cells.startswith("all,") and "one layer" not in learner.cells else "one layer"
    assert fits(learner, settings) == (words == "all" and "bidirectional" not in table)
    with pytest.raises(UserMistake, match="learner: expected"):
        learner.check_network(net("elman", bidirectional=True), "learner")


@every_cell
@every_maker
def test_only_exact_ones_are_exact(learner, cell):
    """The negative control: whoever does not claim it, is not."""
    settings = net(cell, hidden=4, spectrum={"name": "ginibre", "radius": 1.2})
    skip_unfit(learner, settings)
    work = work_of(settings, task(length=12, features=2, batch=2), TWO)
    distance = apart(made_by(learner, work).gradient, bptt_of(work))
    alone = learner.name == "snap1" and cell == "linear_diagonal"
    assert ((distance < 1e-12) == (learner.exact or alone)).all()


def test_a_wrong_jacobian_is_found(monkeypatch):
    work = work_of(net("linear_diagonal"), task(length=12, features=2, batch=2))
    assert apart(made_by("rtrl", work).gradient, bptt_of(work)).max() < 1e-12
    monkeypatch.setattr(LinearDiagonal, "partners", lambda self, hidden: np.arange(hidden)[:, None])
    assert apart(made_by("rtrl", work).gradient, bptt_of(work)).max() > 1e-3


@every_cell
@every_maker
def test_online_ones_tell_what_they_add_at_every_time_step(learner, cell):
    """What a time step adds is the gradient with the loss at that step alone; they sum to the whole."""
    settings = net(cell)
    skip_unfit(learner, settings)
    job = {"length": 9, "features": 2, "batch": 2, "outputs": 2}
    whole = made_by(learner, work_of(settings, task(**job, at=[1, 4, 7]), TWO))
    if not learner.online:
        assert whole.online is None
        return
    assert whole.online.shape == (2, 9)
    shares = [made_by(learner, work_of(settings, task(**job, at=[t]), TWO)).gradient for t in (1, 4, 7)]
    assert apart(shares[0].plus(shares[1]).plus(shares[2]), whole.gradient).max() < 1e-12
    silent = np.setdiff1d(np.arange(9), [1, 4, 7])
    assert np.isneginf(whole.online[:, silent]).all()
    wanted = np.stack([one.log2_norm() * np.log10(2.0) - np.log10(2) for one in shares], axis=1)
    np.testing.assert_allclose(whole.online[:, [1, 4, 7]], wanted, rtol=1e-13, atol=1e-13)


@every_maker
def test_stochastic_ones_draw(learner):
    settings, job = net("elman"), task(length=9, features=2, batch=2)
    made = made_by(learner, work_of(settings, job))
    if not learner.stochastic:
        assert made.draws == ()
        return
    assert len(made.draws) == learner.draws
    assert made.draws[0] is made.gradient
    assert apart(made.draws[1], made.draws[0]).min() > 1e-3
    again = made_by(learner, work_of(settings, job))
    for one, other in zip(made.draws, again.draws, strict=True):
        assert all(same(a, b) for a, b in zip(one.mantissas, other.mantissas, strict=True))


# --- purity ---------------------------------------------------------------------------------------------

WANTED = tuple(n for n in RECORDS if n not in ("log10_path_gradient_norm", "log10_credit_norm"))


@every_cell
@every_maker
def test_a_case_is_the_same_alone_and_in_company(learner, cell):
    nets = [net(cell, hidden=4, spectrum={"name": "ginibre", "radius": r}) for r in (0.5, 1.0, 1.5)]
    skip_unfit(learner, nets[0])
    jobs = [task(length=9, features=3, batch=3, at="every"), task(length=6, features=3, batch=3)]
    views = (View(jobs[0], OFF), *(View(job, OFF, learner) for job in jobs))
    runs = tuple(Run(one, 1, r) for one in nets for r in (0, 1))
    together = probe(Block(runs, views), WANTED)
    small = probe(Block(runs, views), WANTED, memory=1 << 16 if learner.name == "truncated" else 1 << 20)
    assert_same_records(together, small)
    for r, run in enumerate(runs):
        for v, view in enumerate(views[1:], start=1):
            alone = probe(Block((run,), (view,)), WANTED)
            for name, values in alone.items():
                mine = together[name][r, v][tuple(slice(n) for n in values.shape[2:])]
                assert same(mine, values[0, 0]), name


@every_maker
def test_an_overflowed_neighbour_changes_nothing(learner):
    def growing(radius):
        return net("elman", activation="identity", spectrum={"name": "identity", "radius": radius})

    job = task(length=1100, features=1, batch=1, loss="unit")
    runs = tuple(Run(growing(r), 0, 0) for r in (1.0, 3.0, 0.5))
    together = probe(Block(runs, (View(job, OFF, learner),)), WANTED)
    assert np.isposinf(together["log10_gradient_norm"][1, 0])
    for i in (0, 2):
        alone = probe(Block((runs[i],), (View(job, OFF, learner),)), WANTED)
        assert_same_records({k: x[i, 0] for k, x in together.items()}, {k: x[0, 0] for k, x in alone.items()})


@pytest.mark.parametrize("learner", [one for one in MAKERS if one.online], ids=lambda one: one.name)
def test_the_online_record_alone(learner):
    run, view = Run(net("elman"), 0, 0), View(task(length=5, features=2, batch=2), OFF, learner)
    one = probe(Block((run,), (view,)), ("log10_online_gradient_norm",))["log10_online_gradient_norm"]
    both = probe(Block((run,), (view,)), WANTED)
    assert same(one, both["log10_online_gradient_norm"])
    np.testing.assert_allclose(one[0, 0, -1], both["log10_gradient_norm"][0, 0], rtol=1e-14, atol=0)


# --- what is refused before anything runs -----------------------------------------------------------------


def mistake(**table):
    with pytest.raises(UserMistake) as caught:
        Spec.from_dict({"network": {"hidden": 4}, "task": {"name": "noise", "length": 5}, **table})
    return str(caught.value)


def test_rules_on_adjoints_belong_to_full_back_propagation():
    rule = {"name": "adjoint_norm", "threshold": 1.0}
    assert (
        "clip: expected a rule on the gradient, or 'off', with the learner 'rtrl', got adjoint_norm"
        in mistake(clip=rule, learner="rtrl")
    )
    both = {"clip": ["off", rule], "learner": ["bptt", {"name": "truncated", "window": 3}]}
    assert "with the learner 'truncated'" in mistake(sweep=both)
    kept = {**both, "where": "clip == 'off' or learner == 'bptt'"}
    Spec.from_dict({"task": {"name": "noise", "length": 5}, "sweep": kept})
    norm = {"name": "norm", "threshold": 1.0}
    Spec.from_dict({"task": {"name": "noise", "length": 5}, "clip": norm, "learner": "rtrl"})


def test_a_network_that_does_not_fit():
    assert "one layer in one direction of time for 'rtrl', got 2 layers" in mistake(
        network={"hidden": 4, "layers": 2}, learner="rtrl"
    )
    assert "'snap1'" in mistake(network={"hidden": 4, "cell": "jordan"}, learner="snap1")


def test_a_learner_for_training_is_refused_in_a_probe():
    assert "learner: expected a learner that makes a gradient, got 'kalman'" in mistake(learner="kalman")


def test_too_little_memory_names_the_size_that_fits():
    learner, job = registry.build("rtrl"), task(length=5, features=8, batch=32)

    def check(hidden):
        runs, views = (Run(net("lstm", hidden), 0, 0),), (View(job, OFF, learner),)
        check_memory(Block(runs, views), WANTED, 256 << 20)

    with pytest.raises(UserMistake) as caught:
        check(256)
    told = str(caught.value)
    largest = int(told.rsplit("is ", 1)[1].rstrip("."))
    assert "The learner 'rtrl' alone takes" in told
    check(largest)
    with pytest.raises(UserMistake, match=f"is {largest}"):
        check(largest + 1)


@every_maker
def test_the_bytes_it_says_it_needs_are_those_it_takes(learner):
    """Peak memory of making a gradient, over what is there already, is about what the bound counts."""
    import tracemalloc

    settings, job = net("lstm", hidden=24), task(length=20, features=4, batch=6, at="every")
    work = work_of(settings, job)
    made_by(learner, work)
    tracemalloc.start()
    made_by(learner, work)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = learner.bytes_needed(settings, job)
    assert peak <= 1.25 * said + (1 << 20)
    assert said <= 4 * peak + (1 << 20)


def test_rules_on_the_gradient_act_on_the_learners_own():
    learner, rule = registry.build("snap1"), clip("norm", threshold=1e-3)
    run, job = Run(net("elman"), 0, 0), task(length=6, features=2, batch=2)
    got = probe(Block((run,), (View(job, OFF, learner), View(job, rule, learner))))
    np.testing.assert_allclose(got["log10_clipped_gradient_norm"][0, 1], -3.0, rtol=1e-14, atol=0)
    assert same(got["log10_gradient_norm"][0, 0], got["log10_gradient_norm"][0, 1])
    assert same(got["cosine_to_bptt"][0, 0], got["cosine_to_bptt"][0, 1])
