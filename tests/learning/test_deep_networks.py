"""Deep and bidirectional networks: sharing, stretches of tape and neighbours change no bit; closed forms."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from engine import OFF, alone_of, assert_same_records, block, clip, network, probe_case, task

import gradlab.measure.probe as module
from gradlab.measure.arrays import probe_arrays
from gradlab.measure.probe import Run, probe
from gradlab.measure.records import OF_LEARNER, RECORDS
from gradlab.network.cells import registry as cells

ALL = tuple(name for name in RECORDS if name not in OF_LEARNER and name != "log10_online_gradient_norm")
DEEP = sorted(set(cells.names()) - {"jordan"})
RULES = (
    OFF,
    clip("adjoint_norm", threshold=0.05),
    clip("adjoint_value", threshold=0.01),
    clip("norm", threshold=0.1),
)


def net(cell="elman", **table):
    defaults = {"hidden": 4, "layers": 2, "spectrum": {"name": "ginibre", "gain": 1.1}}
    return network(cell=cell, **{**defaults, **table})


def cut(values, alone):
    """Cut lags (and loss times) that are another case's; they must be NaN."""
    for axis, (have, want) in enumerate(zip(np.shape(values), np.shape(alone), strict=True)):
        if have > want:
            rest = np.take(values, range(want, have), axis=axis)
            assert np.isnan(rest).all()
            values = np.take(values, range(want), axis=axis)
    return values


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", DEEP)
def test_a_case_is_the_same_alone_as_in_a_stack(cell, bidirectional):
    nets = [
        net(cell, bidirectional=bidirectional, spectrum={"name": "ginibre", "gain": g}) for g in (0.3, 1.7)
    ]
    works = [task(length=9, features=2, batch=3, at=at) for at in ("final", "every", (2, 5))]
    works += [] if bidirectional else [task(length=5, features=2, batch=3)]
    views = list(itertools.product(works, RULES))
    together = probe(block(nets, views), record=ALL)
    for r, one in enumerate(nets):
        for v, (work, rule) in enumerate(views):
            alone = alone_of(Run(one, 0, 0), work, rule, record=ALL)
            assert_same_records({k: cut(x[r, v], alone[k]) for k, x in together.items()}, alone)


@pytest.mark.parametrize("segment", [1, 3, 7])
@pytest.mark.parametrize("cell", DEEP)
def test_stretches_of_tape_change_no_bit(cell, segment, monkeypatch):
    whole = block(
        [net(cell, layers=3), net(cell, layers=3, spectrum={"name": "ginibre", "gain": 2.0})],
        [
            (task(length=8, features=2, batch=3, at=at), rule)
            for at in ("final", "every")
            for rule in RULES[:2]
        ],
    )
    full = probe(whole, record=ALL)
    monkeypatch.setattr(module, "tile_and_segment", lambda *args, **named: (1, segment))
    assert_same_records(probe(whole, record=ALL), full)


def test_linear_layers_are_powers_of_their_matrices():
    """Two linear layers, weights I: the lower state is a sum over time, its adjoint counts the ways down."""
    table = {"activation": "identity", "spectrum": {"name": "identity", "radius": 1.0}, "hidden": 3}
    one = net(**table, input={"name": "given", "values": np.eye(3).tolist()})
    got = alone_of(Run(one, 0, 0), task("zeros", length=6, features=3, batch=2, loss="unit"), OFF)
    profile = 10 ** got["log10_state_gradient_norm"][:, 0]
    # dL/dh of the lower layer at lag k arrives from the upper one at lags 0..k: k + 1 times the same vector.
    unit = 1 / np.sqrt(2)
    np.testing.assert_allclose(profile[1], np.full(6, unit), rtol=1e-14, atol=0)
    np.testing.assert_allclose(profile[0], unit * np.arange(1, 7), rtol=1e-14, atol=0)


def test_layers_far_outside_the_range_of_floating_point():
    """Radius 1/4 in linear layers over 3000 steps: a power of the lag times the same power of the radius."""
    table = {"activation": "identity", "hidden": 4, "spectrum": {"name": "orthogonal", "radius": 0.25}}
    got = alone_of(Run(net(**table, layers=3), 0, 0), task("zeros", length=3000, batch=2, loss="unit"), OFF)
    profile = got["log10_state_gradient_norm"][:, 0]
    assert np.isfinite(profile).all()
    assert profile[2, -1] == pytest.approx(2999 * np.log10(0.25) + profile[2, 0], rel=1e-12)
    slopes = (profile[:, -1] - profile[:, 100]) / 2899
    np.testing.assert_allclose(slopes, np.log10(0.25), rtol=5e-3, atol=0)
    assert profile[0, -1] > profile[1, -1] > profile[2, -1]  # more ways down, as a power of the lag


def handed_down(a, b, above, below, looks):
    """Log10 of the adjoints of two layers of one unit each, exactly: `above` and `below` are derivatives."""
    upper = lower = Fraction(0)
    logs = []
    for t in range(len(above) - 1, -1, -1):
        upper = (upper * above[t + 1] * b if t + 1 < len(above) else 0) + (t in looks)
        lower = (lower * below[t + 1] * a if t + 1 < len(above) else 0) + upper * above[t]
        logs.append([log10_of(lower), log10_of(upper)])
    return np.array(logs).T


def log10_of(number):
    return math.log10(number.numerator) - math.log10(number.denominator) if number else -np.inf


def two_units(a, b, bias, inputs, activation, looks):
    """What is measured of two layers of one unit each with weights `a` below and `b` above."""
    weights = {
        "weight_hh_l0": [[a]],
        "weight_ih_l0": [[1.0]],
        "weight_hh_l1": [[b]],
        "weight_ih_l1": [[-1.0]],
        "bias_ih_l1": [bias],
    }
    steps = np.reshape(inputs, (-1, 1, 1))
    ones, name = np.ones((len(looks), 1, 1)), "log10_state_gradient_norm"
    given = {"loss": "unit", "at": looks, "record": [name]}
    return probe_arrays(weights, steps, ones, activation=activation, **given)[name][:, 0]


@pytest.mark.parametrize(("a", "b"), [(4.0, 0.25), (0.25, 4.0), (0.25, 0.125), (2.0, 2.0)])
def test_layers_that_drift_apart(a, b):
    """One explodes while the other vanishes, over 3000 linear steps: against exact fractions."""
    ones = [Fraction(1)] * 3000
    looks = [10, 1500, 2999]
    got = two_units(a, b, 0.0, np.zeros(3000), "identity", looks)
    expected = handed_down(Fraction(a), Fraction(b), ones, ones, looks)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-12)


def test_a_layer_above_that_is_dead_for_a_while_sends_nothing_down():
    """A rectified unit that is shut at one time cuts its adjoint; what a later loss sends counts in full."""
    inputs = np.ones(3000)
    inputs[1500] = 10.0
    a = b = 0.25
    below, above, h, u = [], [], 0.0, 0.0
    for x in inputs:
        h = max(a * h + x, 0.0)
        z = b * u - h + 2.0
        u = max(z, 0.0)
        below.append(Fraction(1))
        above.append(Fraction(int(z > 0)))
    assert 0 < above.count(0) < 10
    got = two_units(a, b, 2.0, inputs, "relu", [10, 2999])
    expected = handed_down(Fraction(a), Fraction(b), above, below, [10, 2999])
    assert np.isneginf(expected).any()
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-12)


def test_reverse_direction_counts_lags_in_its_own_time():
    """With the loss at the last step the top layer's reverse direction has seen one step: lag 0 alone."""
    work = task(length=7, features=2, batch=2)
    got = alone_of(Run(net(bidirectional=True), 0, 0), work, OFF)["log10_state_gradient_norm"]
    assert got.shape == (2, 2, 7)
    assert np.isfinite(got[1, 1, 0])
    assert np.isnan(got[1, 1, 1:]).all()
    assert np.isfinite(got[0]).all()
    every = alone_of(Run(net(bidirectional=True), 0, 0), task(length=7, features=2, batch=2, at="every"), OFF)
    assert np.isfinite(every["log10_state_gradient_norm"]).all()


def test_the_lowest_layer_is_that_of_a_network_of_one_layer():
    """Streams of layer 0 do not depend on how many layers there are: saturation there is the same."""
    work = task(length=7, features=2, batch=2)
    one, two = (alone_of(Run(net(layers=n), 0, 0), work, OFF)["saturation"] for n in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])


def test_the_rule_on_norms_bounds_every_layer():
    work = task(length=12, features=2, batch=3)
    rule = clip("adjoint_norm", threshold=1e-3)
    got = alone_of(Run(net(layers=3, spectrum={"name": "orthogonal", "radius": 3.0}), 0, 0), work, rule)
    assert (got["mean_log10_sample_gradient_norm"] <= -3 + 1e-12).all()
    assert np.isclose(got["mean_log10_sample_gradient_norm"], -3).any()


@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole_lstm"])
def test_credit_of_a_loss_time_is_the_profile_of_a_loss_there(cell):
    work = task(length=8, features=2, batch=3, at="every")
    credit = probe_case(net(cell, layers=1), work, record=("log10_credit_norm",))["log10_credit_norm"]
    for t in range(8):
        alone = probe_case(net(cell, layers=1), task(length=8, features=2, batch=3, at=(t,)))
        np.testing.assert_array_equal(credit[t, : t + 1], alone["log10_state_gradient_norm"])
        assert np.isnan(credit[t, t + 1 :]).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_paths_do_not_depend_on_where_else_the_loss_looks_last(cell):
    """Of one look: memory and rest are bounded by the triangle with the total."""
    record = ("log10_path_gradient_norm",)
    got = probe_case(net(cell, layers=1), task(length=30, features=2, batch=3), record=record)
    memory, rest, total = 10 ** got["log10_path_gradient_norm"]
    assert rest[0] == 0
    np.testing.assert_array_equal(memory[0], total[0])
    assert (total <= (memory + rest) * (1 + 1e-12)).all()
    assert (total >= np.abs(memory - rest) * (1 - 1e-12)).all()
    assert np.isnan(
        probe_case(net(layers=1), task(length=3), record=record)["log10_path_gradient_norm"]
    ).all()
