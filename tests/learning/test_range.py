"""Numbers far outside floating point: norms that are right at 1e-4000 and at 1e+4000."""

from __future__ import annotations

import numpy as np
import pytest
from engine import OFF, assert_same_records, block, case_of, clip, network, probe_case, task

from gradlab.measure.probe import probe
from gradlab.measure.records import OK, OVERFLOWED
from gradlab.tasks.noise import Noise

LOG10_2 = np.log10(2.0)


def rotation(radius, activation="identity", **table):
    return network(
        hidden=table.pop("hidden", 8),
        activation=activation,
        spectrum={"name": "orthogonal", "radius": radius},
        **table,
    )


@pytest.mark.parametrize(("radius", "length"), [(2.0, 20_000), (0.1, 5_000)])
def test_slope_is_the_radius(radius, length):
    """1e+6000 and 1e-5000: nothing is inf, nothing is zero, and the slope has all its digits."""
    got = probe_case(rotation(radius), task("zeros", length=length, batch=2, features=1, loss="unit"))
    assert got["status"] == OK
    slope = np.log10(radius)
    for name in (
        "log10_state_gradient_norm",
        "log10_preactivation_gradient_norm",
        "mean_log10_sample_gradient_norm",
    ):
        assert np.isfinite(got[name]).all()
        rise = (got[name][-1] - got[name][0]) / (length - 1)
        np.testing.assert_allclose(rise, slope, rtol=1e-12, atol=0, err_msg=name)
    np.testing.assert_allclose(got["growth_rate"], slope, rtol=1e-12, atol=0)
    assert abs(got["log10_state_gradient_norm"][-1]) > 4900
    assert got["regime"] == np.sign(slope)


def test_identity_matrix_of_radius_two():
    net = network(hidden=4, activation="identity", spectrum={"name": "identity", "radius": 2.0})
    got = probe_case(net, task("zeros", length=2_000, batch=1, features=1, loss="unit"))
    lag = np.arange(2_000)
    np.testing.assert_allclose(got["log10_state_gradient_norm"], lag * LOG10_2, rtol=1e-12, atol=1e-15)


def test_vanishing_goes_on_below_1e_minus_4000():
    net = network(hidden=8, activation="logistic", spectrum={"name": "ginibre", "gain": 0.5})
    got = probe_case(net, task(length=5000, batch=3, features=2))
    for name in (
        "log10_state_gradient_norm",
        "log10_preactivation_gradient_norm",
        "mean_log10_sample_gradient_norm",
    ):
        assert np.isfinite(got[name]).all(), name
        assert got[name][-1] < -4000, name
    assert np.isfinite(
        got["log10_weight_gradient_norm"][:-1]
    ).all()  # before the first step the state is zero
    assert np.isfinite(got["log10_gradient_norm"])
    assert got["regime"] == -1


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_float32_has_no_zeros_either(cell):
    net = network(
        cell=cell, hidden=6, activation="tanh", spectrum={"name": "ginibre", "norm": 0.2}, dtype="float32"
    )
    got = probe_case(net, task(length=400, batch=2, features=2))
    for name in (
        "log10_state_gradient_norm",
        "log10_preactivation_gradient_norm",
        "mean_log10_sample_gradient_norm",
    ):
        assert np.isfinite(got[name]).all(), name
    assert got["log10_state_gradient_norm"][-1] < -90  # far below the range of float32


def mirrored(net, dtype):
    return network(**{**net.to_table(), "dtype": dtype})


def test_float32_profile_follows_float64_through_the_whole_range():
    net = network(hidden=6, activation="tanh", spectrum={"name": "ginibre", "gain": 0.3})
    work = task(length=300, batch=2, features=2)
    single, double = probe_case(mirrored(net, "float32"), work), probe_case(net, work)
    for name in (
        "log10_state_gradient_norm",
        "log10_weight_gradient_norm",
        "log10_gradient_norm",
        "growth_rate",
    ):
        np.testing.assert_allclose(
            single[name], double[name], rtol=1e-4, atol=1e-4, err_msg=name
        )  # logs: 2e-4 of a norm


# --- gradients far out of range -------------------------------------------------------------------------


def scalar_chain(weight, length):
    """Return a one-unit linear network driven at the first step, and log10 of |dL/dW| as algebra gives it.

    h_t = w^t u, L = v (h_{T-1}) with v = +-1: dL/dw = sum_k dz_k h_{k-1} = (T-1) w^(T-2) u.
    """
    net = network(
        hidden=1,
        activation="identity",
        spectrum={"name": "identity", "radius": weight},
        input={"name": "constant", "value": 1.0},
    )
    return net, task("impulse", length=length, batch=1, features=1, loss="unit")


@pytest.mark.parametrize(
    ("weight", "length"), [(0.5, 500), (0.5, 3400), (0.99, 1000), (1.01, 1000), (1.5, 1000)]
)
def test_parameter_gradient_of_one_linear_unit(weight, length):
    """dL/dW, dL/dU and dL/db in closed form; late states may be zero."""
    net, work = scalar_chain(weight, length)
    got = probe_case(net, work)
    log_w = np.log10(length - 1) + (length - 2) * np.log10(weight)
    log_u = (length - 1) * np.log10(weight)
    powers = np.arange(length) * np.log10(weight)  # dL/db = sum_k w^k
    log_b = powers.max() + np.log10((10.0 ** (powers - powers.max())).sum())
    parts = np.array([log_w, log_u, log_b])
    expected = parts.max() + 0.5 * np.log10((10.0 ** (2 * (parts - parts.max()))).sum())
    np.testing.assert_allclose(got["log10_gradient_norm"], expected, rtol=1e-12, atol=1e-12)


def test_gradient_of_a_tiny_adjoint_is_not_zero():
    """Shares of the weights' gradient are recorded down to 1e-2000."""
    net = network(hidden=3, activation="identity", spectrum={"name": "orthogonal", "radius": 0.1})
    got = probe_case(net, task(length=2000, batch=2, features=2, loss="unit"))
    assert got["log10_state_gradient_norm"][-1] == pytest.approx(-1999 - np.log10(2) / 2, rel=1e-12)
    shares = got["log10_weight_gradient_norm"]
    assert np.isfinite(shares[:-1]).all()
    np.testing.assert_allclose(np.polyfit(np.arange(1990), shares[:1990], 1)[0], -1.0, rtol=1e-3, atol=0)


def hidden_start(radius, length, **table):
    """A linear network without input or bias except noise: dL/db = sum of adjoints, up to radius^length."""
    net = rotation(radius, hidden=4, input={"name": "constant", "value": 0.0}, **table)
    return net, task(length=length, batch=2, features=1, loss="unit")


def exact_bias_gradient(net, work):
    """Return log10 |dL/db| and log10 |dL/dU| of a linear network from products scaled at every step."""
    case = case_of(net, work)
    W, v = case.parameters["weight_hh_l0"], case.targets[0].T
    x = case.inputs
    power, total_b, total_u, adjoint = 0.0, np.zeros(len(W)), np.zeros((len(W), work.features)), v.copy()
    for t in range(work.length - 1, -1, -1):
        total_b += adjoint.sum(axis=1) / work.batch
        total_u += adjoint @ x[t] / work.batch
        adjoint = W.T @ adjoint
        size = np.abs(adjoint).max()
        adjoint, total_b, total_u, power = (
            adjoint / size,
            total_b / size,
            total_u / size,
            power + np.log10(size),
        )
    return power + np.log10(np.sqrt((total_b**2).sum() + (total_u**2).sum()))


@pytest.mark.parametrize("length", [50, 900, 6700])
def test_gradients_of_1e_plus_2000(length):
    """Zero states and an exploding adjoint: dL/db and dL/dU leave the range long before 6700 steps."""
    net, work = hidden_start(2.0, length)
    got = probe_case(net, work)
    assert got["status"] == OK
    np.testing.assert_allclose(
        got["log10_gradient_norm"], exact_bias_gradient(net, work), rtol=1e-12, atol=1e-12
    )
    if length == 6700:
        assert got["log10_gradient_norm"] > 2000


# --- clip rules out there -------------------------------------------------------------------------------


def test_norm_rule_brings_1e_plus_2000_to_exactly_the_threshold():
    net, work = hidden_start(8.0, 2400)
    for threshold in (0.37, 1e5):
        got = probe_case(net, work, clip("norm", threshold=threshold))
        np.testing.assert_allclose(10.0 ** got["log10_clipped_gradient_norm"], threshold, rtol=1e-11, atol=0)
        assert got["clip_factor"] == 0.0  # 1e-2160 as a plain number; its logarithm stands in the two norms
        assert got["clip_angle"] == 0.0


def test_value_rule_out_there_keeps_signs():
    net, work = hidden_start(8.0, 2400)
    off, got = probe_case(net, work), probe_case(net, work, clip("value", threshold=0.01))
    assert got["log10_gradient_norm"] == off["log10_gradient_norm"]
    bounded = 8  # entries of dL/dU (4) and dL/db (4); dL/dW is zero because the state is
    np.testing.assert_allclose(
        10.0 ** got["log10_clipped_gradient_norm"], 0.01 * np.sqrt(bounded), rtol=1e-12, atol=0
    )
    assert 0 < got["clip_angle"] < np.pi / 2


def test_parameter_rules_leave_vanished_gradients_alone():
    net = network(hidden=3, activation="identity", spectrum={"name": "orthogonal", "radius": 0.1})
    quiet = task("impulse", length=2000, batch=2, features=2, loss="unit", at=[1999])
    off = probe_case(net, quiet)
    for rule in (clip("norm", threshold=1e6), clip("value", threshold=1e6)):
        assert_same_records(probe_case(net, quiet, rule), off)


def test_adjoint_norm_holds_its_bound_against_an_explosion():
    net = rotation(2.0)
    work = task("zeros", length=2000, batch=3, features=1, loss="unit")
    got = probe_case(net, work, clip("adjoint_norm", threshold=0.25))
    # Every sample is clipped at every lag, so each has norm 1/4 and the batch's mean loss has 1/4/sqrt(3).
    np.testing.assert_allclose(got["mean_log10_sample_gradient_norm"], np.log10(0.25), rtol=1e-13, atol=0)
    np.testing.assert_allclose(
        got["log10_state_gradient_norm"], np.log10(0.25 / np.sqrt(3)), rtol=1e-13, atol=0
    )
    assert np.abs(got["std_log10_sample_gradient_norm"]).max() < 1e-14
    assert got["regime"] == 0


def test_adjoint_value_holds_its_bound_against_an_explosion():
    net = rotation(2.0)
    work = task("zeros", length=2000, batch=1, features=1, loss="unit")
    got = probe_case(net, work, clip("adjoint_value", threshold=0.25))
    assert got["log10_state_gradient_norm"].max() <= np.log10(0.25 * np.sqrt(8)) + 1e-14
    assert got["log10_state_gradient_norm"].min() >= np.log10(0.25)  # the orthogonal map doubles its length


# --- forward overflow -----------------------------------------------------------------------------------


def first_overflow(case):
    """Return the first time step at which the naive state is not finite."""
    p = case.parameters
    h = np.zeros((case.network.hidden, case.task.batch), dtype=case.network.dtype)
    with np.errstate(all="ignore"):
        for t, x in enumerate(case.inputs):
            h = p["weight_hh_l0"] @ h + p["weight_ih_l0"] @ x.T + p["bias_ih_l0"][:, None]
            if not np.isfinite(h).all():
                return t
    return -1


def blow_up(radius=2.0, **table):
    return network(hidden=4, activation="identity", spectrum={"name": "identity", "radius": radius}, **table)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_overflow_is_a_status_with_its_step(dtype):
    work = task(length=1500, batch=2, features=2, loss="unit")
    case = case_of(blow_up(dtype=dtype), work)
    got = probe_case(case.network, work)
    assert got["status"] == OVERFLOWED
    assert got["first_overflow"] == first_overflow(case)
    for name in ("log10_state_gradient_norm", "log10_gradient_norm", "growth_rate", "loss", "saturation"):
        assert np.isposinf(got[name]).all(), name


@pytest.mark.parametrize(("dtype", "length", "rtol"), [("float64", 700, 1e-12), ("float32", 90, 1e-5)])
def test_a_loss_that_overflows_has_a_gradient_that_does_not(dtype, length, rtol):
    """A state of 1e+200 is finite, and so is what its error sends back; the square is not."""
    work = task(length=length, batch=2, features=2, loss="mse")
    got = probe_case(blow_up(dtype=dtype), work)
    assert got["status"] == OK
    assert got["first_overflow"] == -1
    assert np.isposinf(got["loss"])
    norms = got["log10_state_gradient_norm"].squeeze()
    assert np.isfinite(got["log10_gradient_norm"]).all()
    assert norms[0] > (150 if dtype == "float64" else 19)
    np.testing.assert_allclose(np.diff(norms), np.log10(2.0), rtol=rtol)


def test_neighbours_of_an_overflow_are_untouched():
    nets = [blow_up(1.0), blow_up(2.0), blow_up(0.5), blow_up(3.0)]
    works = [task(length=n, batch=2, features=2, loss="unit") for n in (1100, 900, 300)]
    together = probe(block(nets, [(w, OFF) for w in works]))
    status = together["status"]
    np.testing.assert_array_equal(status[:, 0], [OK, OVERFLOWED, OK, OVERFLOWED])
    assert status[1, 1] == status[1, 2] == OK  # shorter than the overflow at about 1020
    for r, net in enumerate(nets):
        for v, work in enumerate(works):
            alone = {k: x[0, 0] for k, x in probe(block([net], [(work, OFF)])).items()}
            cut = {k: x[r, v] for k, x in together.items()}
            cut = {k: x[..., : work.lags] if np.shape(x)[-1:] == (1100,) else x for k, x in cut.items()}
            assert_same_records(cut, alone)


def test_overflow_step_is_that_of_the_state_for_every_longer_case():
    net = blow_up(2.0)
    step = first_overflow(case_of(net, task(length=1500, batch=2, features=2)))
    for length, overflowed in ((step, False), (step + 1, True), (step + 30, True)):
        got = probe_case(net, task(length=length, batch=2, features=2, loss="unit"))
        assert got["first_overflow"] == (step if overflowed else -1), length


@pytest.mark.parametrize("length", [520, 700, 1000])
def test_large_finite_states_give_finite_gradients(length):
    """States of 1e+156 to 1e+300: squares overflow, the norms recorded must not."""
    net, work = blow_up(2.0), task(length=length, batch=2, features=2, loss="unit")
    got = probe_case(net, work)
    assert got["status"] == OK
    for name in ("log10_state_gradient_norm", "log10_preactivation_gradient_norm", "log10_gradient_norm"):
        assert np.isfinite(got[name]).all(), name
    assert np.isfinite(got["log10_weight_gradient_norm"][:-1]).all()


def test_lstm_with_a_huge_memory_gives_finite_norms():
    """An unbounded activation lets the memory reach 1e+270; ``dz_f = c' s'(f) dc`` is then as large."""
    still = {"name": "orthogonal", "radius": 0.0}
    gates = {"input_gate": still, "forget_gate": still, "output_gate": still}
    net = network(
        cell="lstm",
        hidden=4,
        activation="identity",
        spectrum={**gates, "candidate": {"name": "orthogonal", "radius": 20.0}},
    )
    got = probe_case(net, task(length=400, features=2, batch=2, loss="unit"))
    assert got["status"] == OK
    for name in (
        "log10_state_gradient_norm",
        "log10_memory_gradient_norm",
        "log10_preactivation_gradient_norm",
    ):
        assert np.isfinite(got[name]).all(), name
    assert np.isfinite(got["log10_weight_gradient_norm"][:-1]).all()
    assert np.isfinite(got["log10_gradient_norm"])


def test_inputs_beyond_float32_are_an_overflow_at_their_step():
    work = task("constant", value=1e300, length=5, features=8, batch=2)
    got = probe_case(network(hidden=4, activation="tanh", dtype="float32"), work)
    assert (got["status"], got["first_overflow"]) == (OVERFLOWED, 0)


# --- samples that die -----------------------------------------------------------------------------------


def test_share_of_the_weights_survives_a_dead_sample():
    """With relu a sample can die exactly; another far below 2^-512 must still be seen in every share.

    One unit, weight w: while it lives, the share of a time step is |dz| |h'| of the living sample alone.
    """
    net = network(
        hidden=1,
        activation="relu",
        spectrum={"name": "identity", "radius": 0.25},
        input={"name": "constant", "value": 1.0},
    )

    class TwoSamples(Noise):
        def inputs(self, start, stop, seed, replicate):
            rows = np.ones((stop - start, 1, 2))
            rows[:, 0, 1] = -1.0  # the second sample is off from the first step
            return rows

    length = 700
    work = TwoSamples(features=1, batch=2, length=length, loss="unit")
    got = probe_case(net, work)
    lag = np.arange(length - 1)
    state = np.cumsum(0.25 ** np.arange(length))  # h_t = sum of 0.25^k
    expected = lag * np.log10(0.25) + np.log10(state[length - 2 - lag]) - np.log10(2)
    np.testing.assert_allclose(got["log10_weight_gradient_norm"][:-1], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rule", [OFF, clip("adjoint_norm", threshold=1e200)], ids=repr)
@pytest.mark.parametrize(("radius", "length"), [(6.0, 90), (2.0, 400), (2.0, 1000)])
def test_gradient_where_only_the_late_states_are_large(radius, length, rule):
    """Late states beyond 1e+45 are scaled down before they are multiplied; the early ones are not."""
    net, work = blow_up(radius), task(length=length, batch=2, features=2, loss="unit")
    case = case_of(net, work)
    states = np.concatenate([np.zeros((1, 2, 4)), case.forward()["states"]])
    # W = radius * I: the adjoint at time t is radius^(T-1-t) v; every term is below 1e+303 here.
    sums = np.zeros((4, 4 + 2 + 1))
    for t in range(length):
        right = np.concatenate([states[t], case.inputs[t], np.ones((2, 1))], axis=1)
        sums += 1e-290 * (radius ** (length - 1 - t) * case.targets[0].T @ right) / 2
    size = np.abs(sums).max()
    expected = np.log10(np.linalg.norm(sums / size)) + np.log10(size) + 290
    np.testing.assert_allclose(
        probe_case(net, work, rule)["log10_gradient_norm"], expected, rtol=1e-12, atol=0
    )
