"""What mathematics says about the flow of gradients: equations with a known answer, line by line."""

from __future__ import annotations

import numpy as np
import pytest
from engine import OFF, assert_norms, case_of, clip, network, probe_case, task

from gradlab.network.activations import registry as activations

STATE = "log10_state_gradient_norm"


def unit(length, **table):
    return task(length=length, loss="unit", **{"batch": 3, "features": 2, **table})


def linear(spectrum, hidden=6, **table):
    return network(hidden=hidden, activation="identity", spectrum=spectrum, **table)


@pytest.mark.parametrize(
    "family", ["ginibre", "orthogonal", "symmetric", "antisymmetric", "delay_line", "nonnormal"]
)
def test_linear_adjoint_is_the_power_of_the_transposed_matrix(family):
    scale = {"norm": 1.1} if family == "delay_line" else {"radius": 0.9}
    net = linear({"name": family, **scale})
    case = case_of(net, unit(12))
    W, v = case.parameters["weight_hh_l0"], case.targets[0].T
    expected = [np.linalg.norm(np.linalg.matrix_power(W.T, k) @ v) / 3 for k in range(12)]
    assert_norms(probe_case(net, case.task)[STATE], expected, 1e-12)


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.3])
def test_orthogonal_slope_is_the_log_of_the_radius(radius):
    got = probe_case(linear({"name": "orthogonal", "radius": radius}), unit(100))
    np.testing.assert_allclose(np.diff(got[STATE]), np.log10(radius), rtol=1e-11, atol=1e-13)  # 0 at radius 1
    np.testing.assert_allclose(got["growth_rate"], np.log10(radius), rtol=1e-12, atol=1e-15)
    assert got["regime"] == np.sign(radius - 1.0)


@pytest.mark.parametrize("radius", [0.7, 1.0, 1.2])
def test_symmetric_matrix_never_exceeds_the_power_of_its_radius(radius):
    got = probe_case(linear({"name": "symmetric", "radius": radius}, hidden=12), unit(40))
    lag = np.arange(40)
    assert (got[STATE] - got[STATE][0] <= lag * np.log10(radius) + 1e-12).all()


def bounded_by_norm(activation, cell="elman"):
    return network(
        cell=cell,
        activation=activation,
        hidden=8,
        spectrum={"name": "nonnormal", "radius": 0.5, "feed_forward": 1.0},
        bias={"name": "normal", "gain": 1.0},
    )


@pytest.mark.parametrize("activation", activations.names())
def test_norm_times_derivative_bound_is_never_exceeded(activation):
    net = bounded_by_norm(activation)
    work = unit(15)
    got = probe_case(net, work)
    rate = np.log10(got["norm_drawn"][0]) + np.log10(net.activation.derivative_bound)
    assert (got[STATE] - got[STATE][0] <= np.arange(15) * rate + 1e-12).all()


def test_the_radius_version_of_the_bound_is_false():
    """Radius below 1, yet the adjoint grows at first: a non-normal matrix must show its transient."""
    net = linear({"name": "nonnormal", "radius": 0.8, "feed_forward": 5.0}, hidden=30)
    got = probe_case(net, unit(400, batch=8))
    assert got["radius_drawn"][0] == pytest.approx(0.8, rel=1e-9)
    rise = got[STATE] - got[STATE][0]
    assert rise.max() > 1.0  # tenfold at least, where radius^k never exceeds 1
    assert rise[-1] < rise.max() - 5  # and it does decay in the end


def test_late_rate_of_a_normal_matrix_is_its_radius():
    got = probe_case(linear({"name": "symmetric", "radius": 0.9}, hidden=8), unit(800))
    np.testing.assert_allclose((got[STATE][-1] - got[STATE][-101]) / 100, np.log10(0.9), rtol=1e-3, atol=0)


@pytest.mark.parametrize("forget_bias", [-2.0, 0.0, 1.0, 5.0])
def test_lstm_with_tiny_weights_forgets_at_the_rate_of_its_forget_gate(forget_bias):
    net = network(
        cell={"name": "lstm", "forget_bias": forget_bias},
        hidden=5,
        spectrum={"name": "ginibre", "gain": 1e-9},
        input={"name": "normal", "gain": 1e-9},
    )
    got = probe_case(net, unit(60))
    rate = np.log10(1.0 / (1.0 + np.exp(-forget_bias)))
    np.testing.assert_allclose(np.diff(got["log10_memory_gradient_norm"])[1:], rate, rtol=1e-7, atol=0)


def test_lstm_without_weights_is_exact():
    """With W = U = 0 the state has no past: dL/dh is zero at every lag but the first."""
    net = network(
        cell={"name": "lstm", "forget_bias": 2.0},
        hidden=3,
        spectrum={"name": "orthogonal", "radius": 0.0},
        input={"name": "constant", "value": 0.0},
    )
    got = probe_case(net, unit(30))
    rate = -np.log10(1.0 + np.exp(-2.0))
    np.testing.assert_allclose(np.diff(got["log10_memory_gradient_norm"]), rate, rtol=1e-12, atol=0)
    assert np.isfinite(got[STATE][0])
    assert np.isneginf(got[STATE][1:]).all()
    # Samples are dead in the state from lag 1 on, so no line can be fitted to their norms: a zero gradient.
    assert got["growth_rate"] == -np.inf
    assert got["regime"] == -1


def test_irnn_with_all_units_on_keeps_the_adjoint():
    """W = I and relu (Le, Jaitly and Hinton 2015): with all units on the adjoint does not change."""
    net = network(
        hidden=5,
        activation="relu",
        spectrum={"name": "identity", "radius": 1.0},
        input={"name": "constant", "value": 1.0},
    )
    got = probe_case(net, task("constant", value=0.5, length=300, batch=2, features=1))
    assert np.unique(got[STATE]).size == 1
    assert got["growth_rate"] == 0.0
    assert got["regime"] == 0
    np.testing.assert_array_equal(got["saturation"], 1.0)


def test_irnn_with_all_units_off_has_no_gradient():
    """Zero means zero: every record says -inf, and nothing is NaN."""
    net = network(
        hidden=5,
        activation="relu",
        spectrum={"name": "identity", "radius": 1.0},
        input={"name": "constant", "value": -1.0},
    )
    got = probe_case(net, task("constant", value=0.5, length=10, batch=2, features=1, loss="unit"))
    assert np.isfinite(got[STATE][0])
    assert np.isneginf(got[STATE][1:]).all()
    assert np.isneginf(got["log10_preactivation_gradient_norm"]).all()
    assert np.isneginf(got["log10_gradient_norm"])
    assert got["clip_factor"] == 1.0
    assert got["clip_angle"] == 0.0
    assert not any(np.isnan(values).any() for name, values in got.items() if "memory" not in name)


def test_tanh_without_input_stays_at_the_origin_and_is_linear_there():
    net = network(hidden=6, activation="tanh", spectrum={"name": "orthogonal", "radius": 1.5})
    got = probe_case(net, task("zeros", length=50, batch=2, features=1, loss="unit"))
    np.testing.assert_allclose(got["growth_rate"], np.log10(1.5), rtol=1e-12, atol=0)
    np.testing.assert_array_equal(got["saturation"], 1.0)


def test_logistic_at_the_origin_loses_a_quarter():
    """Zero weights from the state: every unit sits at 1/2 where the derivative is exactly 1/4."""
    net = network(
        hidden=6, activation="logistic", spectrum={"name": "orthogonal", "radius": 1e-3}, input="normal"
    )
    got = probe_case(net, task("zeros", length=30, batch=2, features=1, loss="unit"))
    np.testing.assert_allclose(np.diff(got[STATE]), np.log10(0.25e-3), rtol=1e-6, atol=0)


@pytest.mark.parametrize("weight", [1.0, 1.01, 0.99, 0.01])
def test_one_linear_unit_over_a_thousand_steps(weight):
    """The lecture's chain: y_1000 = w^999, dy/dw = 999 w^998; 1, about 20000, about 0, and 0."""
    net = network(
        hidden=1,
        activation="identity",
        spectrum={"name": "identity", "radius": weight},
        input={"name": "constant", "value": 1.0},
    )
    work = task("impulse", length=1000, batch=1, features=1, loss="unit")
    got = probe_case(net, work)
    state = case_of(net, work).forward()["states"][-1, 0, 0]
    np.testing.assert_allclose(state, weight**999, rtol=1e-11, atol=0)
    log = np.log10(weight)
    powers = 10.0 ** (np.arange(1000) * log)
    squares = (999 * weight**998) ** 2 + (weight**999) ** 2 + powers.sum() ** 2
    np.testing.assert_allclose(10.0 ** got["log10_gradient_norm"], np.sqrt(squares), rtol=1e-11, atol=0)
    np.testing.assert_allclose(got[STATE][-1], 999 * log, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "norm"), [("float64", 1e-160), ("float32", 1e-20)])
@pytest.mark.parametrize("cell", ["lstm", "peephole_lstm"])
def test_a_state_far_below_the_memory_has_its_adjoint_recorded(cell, dtype, norm):
    """It is about the norm of the matrix times that of the memory, whose power of two it shares."""
    spectrum = {"name": "orthogonal", "radius": norm}
    net = network(cell=cell, hidden=3, spectrum=spectrum, dtype=dtype)
    ordinary = network(cell=cell, hidden=3, spectrum={**spectrum, "radius": 1e-6})
    work = task(length=6, batch=2, features=2, loss="unit")
    for rule in (OFF, clip("adjoint_norm", threshold=0.5)):
        got, other = probe_case(net, work, rule), probe_case(ordinary, work, rule)
        for name in ("log10_state_gradient_norm", "mean_log10_sample_gradient_norm"):
            shift = np.where(np.arange(6) > 0, np.log10(norm) + 6, 0.0)
            np.testing.assert_allclose(got[name], other[name] + shift, rtol=0, atol=1e-4, err_msg=name)
