"""The error surface over a plane of weights: against formulas, and descents over it."""

from __future__ import annotations

import numpy as np
import pytest
from engine import case_of, network, probe_case, task

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.learning import clipping
from gradlab.measure.landscape import RECORDS, LandscapeView, Plane, landscape
from gradlab.measure.plane import LandscapeSettings, check_lines
from gradlab.running import check_plan, plan_of

W = {"parameter": "weight_hh_l0", "entry": [0, 0], "start": 4.0, "stop": 5.0, "num": 7}
B = {"parameter": "bias_ih_l0", "entry": 0, "start": -2.6, "stop": -2.1, "num": 5}
RANDOM = (
    {"direction": 0, "start": -1, "stop": 1, "num": 3},
    {"direction": 1, "start": -1, "stop": 1, "num": 4},
)
START = 0.5


def logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


def one_unit(length=50):
    net = network(
        hidden=1,
        activation="logistic",
        spectrum={"name": "constant", "radius": 1.0},
        input={"name": "constant", "value": 0.0},
        readout={"name": "constant", "value": 1.0},
        initial_state=float(logistic(START)),
    )
    return net, task(name="level", length=length, level=0.7, features=1, batch=1, outputs=1)


def by_hand(w, b, length=50):
    x = START
    for _ in range(length):
        x = w * logistic(x) + b
    return (logistic(x) - 0.7) ** 2


def settings(first=W, second=B, **more):
    return LandscapeSettings.build({"first": first, "second": second, **more})


def measured(net, what, plane, clips=("off",), **more):
    views = [LandscapeView(what, clipping.registry.build(clip), plane) for clip in clips]
    return landscape(net, 3, 1, views, **more)


def test_the_one_unit_surface_is_that_of_the_formula_with_its_complex_step_derivative():
    plane = settings()
    found = measured(*one_unit(), plane)
    for i, b in enumerate(plane.second.places):
        for j, w in enumerate(plane.first.places):
            slope = [by_hand(w + da, b + db).imag / 1e-30 for da, db in ((1e-30j, 0), (0, 1e-30j))]
            assert found["surface_loss"][0, i, j] == pytest.approx(by_hand(w, b), rel=1e-10, abs=0)
            norm = 10 ** found["log10_surface_gradient_norm"][0, i, j]
            assert norm == pytest.approx(np.hypot(*slope), rel=1e-10, abs=0)


def test_descent_goes_where_the_formula_goes_clipped_and_unclipped():
    clip = {"name": "norm", "threshold": 0.5}
    found = measured(*one_unit(), settings(begin=[4.5, -2.2], rate=0.05, updates=6), ["off", clip])
    for row, most in ((0, np.inf), (1, 0.5)):
        place = np.array([4.5, -2.2])
        for update in range(7):
            assert found["descent_first"][row, update] == pytest.approx(place[0], rel=1e-9, abs=0)
            assert found["descent_second"][row, update] == pytest.approx(place[1], rel=1e-9, abs=0)
            slope = np.array([by_hand(*(place + d)).imag / 1e-30 for d in (1e-30j * np.eye(2))])
            place = place - 0.05 * slope * min(1.0, most / np.hypot(*slope))


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "peephole_lstm"])
def test_slopes_of_the_surface_are_differences_of_its_losses(cell):
    net = network(cell=cell, hidden=4)
    what = task(name="noise", length=6, features=3, batch=2, outputs=2, at="every")
    plane = Plane(net, what, settings(*RANDOM), 3, 1)
    here, h = np.array([0.3, -0.2]), 1e-5
    places = here + h * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    found = plane.measure(places, clipping.registry.build("off"), _workspace())
    slopes = found.gradient.values()[0][0, 0]
    assert slopes[0] == pytest.approx((found.loss[1] - found.loss[2]) / (2 * h), rel=1e-7, abs=0)
    assert slopes[1] == pytest.approx((found.loss[3] - found.loss[4]) / (2 * h), rel=1e-7, abs=0)


def _workspace():
    from gradlab.learning.workspace import Workspace

    return Workspace()


def test_a_place_has_the_same_bits_whatever_is_measured_beside_it():
    net, what = network(hidden=5), task(name="noise", length=6, features=3, batch=2)
    whole = measured(net, what, settings(*RANDOM))
    small = measured(net, what, settings(*RANDOM), memory=1)
    for name in ("surface_loss", "log10_surface_gradient_norm"):
        assert np.array_equal(whole[name], small[name])


def test_overflow_is_marked_and_the_rest_goes_on():
    net = network(hidden=1, activation="identity", spectrum={"name": "constant", "radius": 1.0})
    what = task(name="noise", length=400, features=1, batch=1, outputs=1)
    wide = {"parameter": "weight_hh_l0", "entry": [0, 0], "start": 0.5, "stop": 100.0, "num": 3}
    found = measured(net, what, settings(wide, B))
    assert np.isfinite(found["surface_loss"][0, :, 0]).all()
    assert np.isposinf(found["surface_loss"][0, :, -1]).all()
    assert found["status"][0] == 2
    assert found["first_overflow"][0] > 0


def test_what_is_not_asked_for_is_not_there():
    found = measured(*one_unit(5), settings(), record=["surface_loss"])
    assert {name for name in found if name in RECORDS} == {"surface_loss"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"first": {**W, "parameter": "weight_xx_l0"}}, "landscape.first.parameter"),
        ({"first": {**W, "entry": [0]}}, "landscape.first.entry"),
        ({"first": {**W, "direction": 1}}, "landscape.first"),
        ({"first": {"start": 0, "stop": 1}}, "landscape.first"),
        ({"first": {**W, "num": 1}}, "landscape.first.num"),
        ({"first": {**W, "num": 1 << 40}}, "landscape.first.num"),
        ({"first": {**W, "stop": 4.0}}, "landscape.first.stop"),
        ({"second": W}, "landscape.second"),
        ({"begin": [1.0]}, "landscape.begin"),
        ({"begin": [True, 0.0]}, "landscape.begin[0]"),
        ({"begin": [0.0, 10**400]}, "landscape.begin[1]"),
        ({"rate": 0.0}, "landscape.rate"),
        ({"updates": -1}, "landscape.updates"),
        ({"pace": 2}, "landscape.pace"),
    ],
)
def test_wrong_settings_are_refused_by_name(change, where):
    with pytest.raises(UserMistake) as caught:
        LandscapeSettings.build({"first": W, "second": B, **change})
    assert where in [problem.where for problem in caught.value.problems]


def test_the_memory_that_is_asked_for_has_the_surface_in_it():
    table = {
        "measure": "landscape",
        "network": {"hidden": 1},
        "task": {"name": "level", "level": 0.7, "length": 3},
        "landscape": {"first": {**W, "num": 3000}, "second": {**B, "num": 3000}},
    }
    plan = plan_of(gradlab.Spec.from_dict(table))
    with pytest.raises(UserMistake, match=r"expected at least \d+ MiB .*, got 400 MiB") as told:
        check_plan(plan, 400 << 20)
    needed = int(str(told.value).split("at least ")[1].split(" MiB")[0])
    assert needed > 64 * 3000 * 3000 >> 20
    check_plan(plan, needed << 20)


def test_an_entry_that_was_not_given_is_not_told_as_one():
    with pytest.raises(UserMistake, match=r"first.entry: expected a row and a column .*, got nothing"):
        LandscapeSettings.build({"first": {k: v for k, v in W.items() if k != "entry"}, "second": B})


@pytest.mark.parametrize(
    ("line", "net", "where"),
    [
        ({**W, "parameter": "weight_hh_l1"}, {}, "landscape.first.parameter"),
        ({**W, "entry": [0, 4]}, {}, "landscape.first.entry"),
        ({**W, "parameter": "weight_ho", "entry": [9, 0]}, {}, "landscape.first.entry"),
        (W, {"cell": "antisymmetric"}, "network"),
        (W, {"embedding": 2}, "network"),
    ],
)
def test_parameters_that_a_network_has_not_are_refused(line, net, where):
    with pytest.raises(UserMistake) as caught:
        check_lines(settings(line), network(hidden=4, **net), task(name="noise", features=3))
    assert where in [problem.where for problem in caught.value.problems]


def test_the_initial_state_is_where_the_network_begins():
    net = network(hidden=3, initial_state=0.25)
    case = case_of(net, task(name="noise", length=2, features=2, batch=2))
    p, x = case.parameters, case.inputs[0]
    first = np.tanh(x @ p["weight_ih_l0"].T + 0.25 * p["weight_hh_l0"].sum(axis=1) + p["bias_ih_l0"])
    assert np.allclose(case.forward()["states"][0], first, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "what", [{"name": "adding", "length": 30}, {"name": "copy_memory", "length": 3}, {"name": "sentiment"}]
)
def test_the_surface_at_the_weights_drawn_is_the_loss_of_the_probe(what):
    """The weights of looks are in it."""
    net, work = network(hidden=3), task(**{"batch": 3, **what})
    plane = settings({"direction": 0, "start": -1, "stop": 1, "num": 3}, {**RANDOM[1], "num": 3})
    surface = measured(net, work, plane)["surface_loss"][0]
    assert surface[1, 1] == pytest.approx(
        probe_case(net, work, seed=3, replicate=1)["loss"], rel=1e-13, abs=0.0
    )


def test_a_line_may_be_given_downwards():
    up, down = settings(), settings({**W, "start": 5.0, "stop": 4.0}, {**B, "start": -2.1, "stop": -2.6})
    np.testing.assert_array_equal(down.first.places, up.first.places)
    np.testing.assert_array_equal(
        measured(*one_unit(), down)["surface_loss"], measured(*one_unit(), up)["surface_loss"]
    )


@pytest.mark.parametrize(
    ("parameter", "entry"),
    [("weight_ih_l0", [4, 1]), ("weight_hh_l0", [4, 0]), ("bias_ih_l0", [5]), ("bias_hh_l0", [4])],
)
def test_entries_of_a_gru_are_those_of_its_arrays(parameter, entry):
    """Rows of a GRU are those of three gates, though its candidate has two blocks."""
    net = network(hidden=2, cell="gru", bias={"name": "normal", "gain": 0.3})
    work = task(name="noise", length=3, features=2, batch=2)
    case = case_of(net, work, seed=3, replicate=1)
    value = case.parameters[parameter][tuple(entry)]
    along = {"parameter": parameter, "entry": entry, "start": value, "stop": value + 0.5, "num": 2}
    surface = measured(net, work, settings(along, RANDOM[0]))["surface_loss"][0]
    assert surface[1, 0] == pytest.approx(
        probe_case(net, work, seed=3, replicate=1)["loss"], rel=1e-13, abs=0.0
    )
    assert surface[1, 1] != surface[1, 0]


@pytest.mark.parametrize(
    ("parameter", "entry", "message"),
    [
        ("weight_ih_l0", [6, 0], "which has 6 rows and 2 columns"),
        ("bias_hh_l0", [3], r"expected a row from 4 to 5 of bias_hh_l0, got 3. .*stands in bias_ih"),
    ],
)
def test_what_is_no_parameter_of_a_gru_is_refused(parameter, entry, message):
    along = {"parameter": parameter, "entry": entry, "start": 0.0, "stop": 0.5, "num": 2}
    with pytest.raises(UserMistake, match=message):
        check_lines(settings(along), network(hidden=2, cell="gru"), task(name="noise", features=2))


def test_a_direction_without_length_has_no_gradient():
    zeros = {"name": "constant", "value": 0.0}
    spec = {
        "measure": "landscape",
        "network": {"hidden": 1, "spectrum": zeros, "input": zeros, "readout": zeros},
        "task": {"name": "level", "length": 5},
        "landscape": {
            axis: {"direction": i, "start": -1.0, "stop": 1.0, "num": 5}
            for i, axis in enumerate(("first", "second"))
        },
    }
    ds = gradlab.run(spec)
    assert (ds["status"] == 1).all()
    assert np.isneginf(ds["log10_surface_gradient_norm"]).all()
