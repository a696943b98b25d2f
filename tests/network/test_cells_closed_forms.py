"""Networks of which the answer is known in closed form, or that must be another network."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from engine import PER_LAG, assert_norms, case_of, network, probe_case, raw_gradients, task
from recorded import PLACES, net


def profile(network_settings, work):
    """Return the recorded log10 norms of the state's adjoint by lag."""
    return probe_case(network_settings, work)["log10_state_gradient_norm"]


def test_gru_with_its_update_gate_shut_keeps_the_adjoint_bit_for_bit():
    shut = net("gru", "tanh", bias={"name": "constant", "value": 800.0}, hidden=5)
    logs = profile(shut, task(length=60, features=2, batch=3, loss="unit"))
    np.testing.assert_array_equal(logs, logs[0])


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_gru_with_open_gates_is_the_elman_network(activation):
    """Reset gate 1 and update gate 0 by their biases; the same matrix and input weights in both."""
    n, eye = 4, {"name": "identity", "radius": 0.9}
    gates = [800.0] * n + [-800.0] * n + [0.3] * n + [0.1] * n
    common = {
        "hidden": n,
        "activation": activation,
        "spectrum": eye,
        "input": {"name": "constant", "value": 0.5},
    }
    gru = network(cell="gru", bias={"name": "given", "values": [[b] for b in gates]}, **common)
    elman = network(cell="elman", bias={"name": "constant", "value": 0.4}, **common)
    work = task(length=30, features=2, batch=3, outputs=2, at="every")
    one, other = probe_case(gru, work), probe_case(elman, work)
    for name in ("loss", "log10_state_gradient_norm", "mean_log10_sample_gradient_norm"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-13, err_msg=name)
    gradients, expected = (raw_gradients(case_of(settings, work)) for settings in (gru, elman))
    np.testing.assert_allclose(
        gradients["weight_hh_l0"][2 * n :], expected["weight_hh_l0"], rtol=1e-11, atol=0
    )


def test_antisymmetric_network_neither_loses_nor_gains_much():
    """A linear one without diffusion: each step's Jacobian is normal, of moduli sqrt(1 + (eps w)^2)."""
    step, length = 0.02, 200
    cell = {"name": "antisymmetric", "step": step, "diffusion": 0.0}
    settings = net(cell, "identity", hidden=6)
    work = task(length=length, features=2, batch=3, loss="unit")
    logs = profile(settings, work)
    drawn = case_of(settings, work).parameters["weight_hh_l0"]
    most = 0.5 * np.log10(1.0 + (step * np.linalg.norm(drawn - drawn.T, 2)) ** 2)
    assert (np.diff(logs) > 0).all()
    assert (np.diff(logs) <= most * (1 + 1e-9)).all()
    assert logs[-1] - logs[0] < 0.5


def test_antisymmetric_diffusion_alone_decays_as_it_should():
    """With A symmetric the product is only ``-gamma h``: a factor ``1 - eps gamma`` a step, exactly."""
    cell = {"name": "antisymmetric", "step": 0.1, "diffusion": 0.5}
    settings = net(cell, "identity", hidden=4, spectrum={"name": "symmetric", "gain": 1.0})
    logs = profile(settings, task(length=40, features=1, batch=2, loss="unit"))
    np.testing.assert_allclose(np.diff(logs), np.log10(0.95), rtol=1e-12, atol=0)


@pytest.mark.parametrize("radius", [0.5, 0.97, 1.0, 1.3])
def test_linear_diagonal_slope_is_the_logarithm_of_the_ring(radius):
    cell = {"name": "linear_diagonal", "normalised": False}
    settings = net(cell, "relu", hidden=8, spectrum={"name": "normal", "radius": radius})
    work = task(length=50, features=2, batch=3, loss="unit")
    np.testing.assert_allclose(np.diff(profile(settings, work)), np.log10(radius), rtol=1e-11, atol=1e-14)
    growth = probe_case(settings, work)["growth_rate"]
    np.testing.assert_allclose(growth, np.log10(radius), rtol=1e-11, atol=1e-14)


def test_linear_diagonal_is_the_linear_network_in_the_basis_of_its_eigenvectors():
    """Adjoints of the eigenvalues' own network: at lag k every unit pair has shrunk by ``|lambda|^k``."""
    cell = {"name": "linear_diagonal", "normalised": False}
    settings = net(cell, "tanh", hidden=6, spectrum={"name": "ginibre", "radius": 0.9})
    work = task(length=20, features=2, batch=1, loss="unit")
    case = case_of(settings, work)
    modulus = np.hypot(case.parameters["diagonal_l0"], case.parameters["rotation_l0"])
    powers = modulus[None, :] ** np.arange(20)[:, None]
    expected = np.linalg.norm(powers * case.targets[0, 0], axis=1)
    assert_norms(profile(settings, work), expected, 1e-12)


def test_linear_diagonal_normalisation_scales_the_drawn_input_weights():
    work = task(length=3, features=4)
    spectrum = {"name": "ginibre", "radius": 0.9}
    one, other = (
        case_of(net({"name": "linear_diagonal", "normalised": on}, "tanh", hidden=6, spectrum=spectrum), work)
        for on in (True, False)
    )
    ratio = one.parameters["weight_ih_l0"] / other.parameters["weight_ih_l0"]
    square = one.parameters["diagonal_l0"] ** 2 + one.parameters["rotation_l0"] ** 2
    np.testing.assert_allclose(ratio, np.sqrt(1 - square)[:, None] * np.ones((6, 4)), rtol=1e-12, atol=0)


def test_clockwork_unit_keeps_its_adjoint_while_it_waits():
    """Modules of periods 1 and 64 without connections between them: one decays, the other stands still."""
    settings = net(
        {"name": "clockwork", "periods": [1, 64]},
        "identity",
        hidden=4,
        spectrum={"name": "identity", "radius": 0.5},
    )
    work = task(length=40, features=2, batch=1, loss="unit")
    vector = case_of(settings, work).targets[0, 0]
    fast, slow = np.sum(vector[:2] ** 2), np.sum(vector[2:] ** 2)
    expected = np.sqrt(fast * 0.25 ** np.arange(40) + slow)
    assert_norms(profile(settings, work), expected, 1e-13)


def test_clockwork_of_one_slow_module_does_not_change_the_adjoint():
    settings = net({"name": "clockwork", "periods": [50]}, "tanh", hidden=4)
    logs = profile(settings, task(length=50, features=2, batch=3, loss="unit"))
    np.testing.assert_array_equal(logs, logs[0])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_jordan_with_a_transparent_readout_is_the_elman_network(activation):
    """``V = I`` and the identity as output: what is fed back is the state."""
    n = 4
    readout = {"name": "given", "values": np.eye(n).tolist()}
    jordan, elman = (net(cell, activation, hidden=n, readout=readout) for cell in ("jordan", "elman"))
    for at in PLACES:
        work = task(length=20, features=2, batch=3, outputs=n, at=at)
        one, other = probe_case(jordan, work), probe_case(elman, work)
        for name in ("loss", *(name for name in PER_LAG if name in other)):
            # Of logarithms: the tolerance is the relative one of the norms.
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-12, err_msg=name)
        gradients, expected = (raw_gradients(case_of(settings, work)) for settings in (jordan, elman))
        for name in ("weight_hh_l0", "weight_ih_l0", "bias_ih_l0"):
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(
                gradients[name], expected[name], rtol=1e-12, atol=1e-13 * scale, err_msg=name
            )


def test_jordan_knows_no_output_before_the_first_time_step():
    """``y`` is 0 there, not the readout's activation of 0: with logistic outputs W has no part in ``h_0``."""
    settings = net("jordan", "tanh", output="logistic")
    case = case_of(settings, task(length=1, features=2, batch=2))
    assert not raw_gradients(case)["weight_hh_l0"].any()


@pytest.mark.parametrize("cell", ["gru", "lstm", "peephole_lstm"])
def test_the_path_through_the_memory_alone_is_the_product_of_its_gates(cell):
    """Whatever else flows: from the loss on, this share is multiplied with the gate of every time step."""
    settings, work = net(cell, "tanh"), task(length=12, features=2, batch=2, outputs=2)
    problem, parameters = oracles.problem_of(case_of(settings, work))
    _, _, by_nudge = oracles.complex_step(problem, parameters)
    zero = {name: np.zeros_like(values) for name, values in by_nudge.items()}
    _, _, met = oracles.simulate(np, problem, parameters, zero)
    total = by_nudge["h" if cell == "gru" else "c"]
    expected, share = [], total[-1]
    for arguments in reversed(met):
        expected.append(np.linalg.norm(share))
        share = share / (1.0 + np.exp(-arguments[1][1]))  # the update gate, or the forget gate
    paths = probe_case(settings, work, record=("log10_path_gradient_norm",))["log10_path_gradient_norm"]
    assert_norms(paths[0], np.array(expected), 1e-12)
    assert_norms(paths[2], np.sqrt((total**2).sum(axis=(1, 2)))[::-1], 1e-12)
