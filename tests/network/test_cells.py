"""Every cell of the catalogue, with every activation, loss and place of the loss, against an oracle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import oracles
import pytest
from engine import PER_LAG, affine_of, assert_norms, case_of, network, probe_case, raw_gradients, task

from gradlab.network.activations import registry as activations
from gradlab.network.cells import registry as cells
from gradlab.network.cells.elman import Elman
from gradlab.network.cells.lstm import Lstm

LOSSES = ("mse", "cross_entropy", "unit")
PLACES = ("final", "every", (0, 2, -2))
CELLS = cells.names()
ACTIVATIONS = activations.names()


def net(cell, activation, **table):
    defaults = {
        "hidden": 3,
        "spectrum": {"name": "ginibre", "gain": 1.2},
        "bias": {"name": "normal", "gain": 0.4},
    }
    return network(cell=cell, activation=activation, **{**defaults, **table})


def check_records(case, rtol=None):
    """Compare all that a probe records for a case, and all its parameter gradients, with the oracle."""
    expected, tight, by_parameter = oracles.expected_records(case)
    rtol = rtol or tight
    got = probe_case(case.network, case.task, seed=case.seed, replicate=case.replicate)
    for name in ("loss", "saturation"):
        np.testing.assert_allclose(got[name], expected.pop(name), rtol=rtol, atol=0, err_msg=name)
    np.testing.assert_allclose(
        got["mean_log10_sample_gradient_norm"],
        expected.pop("mean_log10_sample_gradient_norm"),
        rtol=0,
        atol=rtol,  # of a logarithm: the relative tolerance of the norm
    )
    logs = expected.pop("std_log10_sample_gradient_norm")
    # A spread of logarithms that each bear an error of `rtol` cannot be known better than `rtol`.
    np.testing.assert_allclose(got["std_log10_sample_gradient_norm"], spread(logs), rtol=rtol, atol=rtol)
    for name, norms in expected.items():
        assert_norms(got[name], norms, rtol, name)
    check_gradients(case, by_parameter, rtol)


def spread(logs):
    """Return the standard deviation over samples: 0 where all are dead (-inf), inf where only some are."""
    dead = np.isneginf(logs)
    some, every = dead.any(axis=1), dead.all(axis=1)
    return np.where(every, 0.0, np.where(some, np.inf, np.where(dead, 0.0, logs).std(axis=1)))


def check_gradients(case, by_parameter, rtol):
    """Compare gradients entry by entry: the tolerance is relative to the largest entry of a parameter."""
    affine, readout = raw_gradients(case)
    n = case.network.hidden
    got = {"W": affine[:, :n], "U": affine[:, n:-1], "b": affine[:, -1:]}
    if readout is not None:
        got |= {"V": readout[:, :n], "bo": readout[:, n:]}
    assert got.keys() == by_parameter.keys()
    for name, gradient in got.items():
        # Entries that cancel cannot be better than the terms they are made of, hence the largest entry.
        scale = np.abs(by_parameter[name]).max()
        np.testing.assert_allclose(gradient, by_parameter[name], rtol=rtol, atol=rtol * scale, err_msg=name)


def test_oracles_know_every_entry():
    """A new cell or activation needs its naive formula in oracles.py, and is then tested by being there."""
    assert set(CELLS) == set(oracles.STEPS)
    assert set(ACTIVATIONS) == set(oracles.ACTIVATIONS)


def test_oracles_agree_with_each_other():
    """Complex step and reverse mode are independent; where both apply they must give the same."""
    problem, parameters = oracles.problem_of(
        case_of(net("lstm", "tanh"), task(length=6, features=2, batch=2))
    )
    one, other = oracles.complex_step(problem, parameters), oracles.reverse_mode(problem, parameters)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-14, atol=0)
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-9, atol=1e-16, err_msg=name)


@pytest.mark.parametrize("at", PLACES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_records_and_gradients(cell, activation, loss, at):
    work = task(length=5, features=2, batch=2, outputs=3, loss=loss, at=at)
    check_records(case_of(net(cell, activation), work))


@pytest.mark.parametrize(
    ("hidden", "batch", "length"), [(1, 1, 1), (1, 3, 2), (4, 1, 50), (3, 5, 6), (3, 3, 4), (2, 2, 1)]
)
@pytest.mark.parametrize("at", ["final", "every"])
@pytest.mark.parametrize("cell", CELLS)
def test_sizes(cell, at, hidden, batch, length):
    """Batches below, at and above the hidden size take different ways to the norm of a weight share."""
    work = task(length=length, features=1, batch=batch, outputs=2, at=at)
    check_records(case_of(net(cell, "tanh", hidden=hidden), work))
    check_records(case_of(net(cell, "softsign", hidden=hidden), work, replicate=1))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cell", CELLS)
def test_float32_is_right_to_its_own_precision(cell, loss):
    work = task(length=12, features=2, batch=3, outputs=3, loss=loss, at="every")
    check_records(case_of(net(cell, "tanh", hidden=4, dtype="float32"), work), rtol=2e-4)
    mild = {"spectrum": {"name": "ginibre", "gain": 0.5}}
    check_records(case_of(net(cell, "silu", hidden=2, dtype="float32", **mild), work), rtol=2e-4)


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("cell", CELLS)
def test_vanished_gradients_are_right_to_the_last_digits(cell, activation):
    """Norms of 1e-30: an absolute tolerance would accept zero here."""
    work = task(length=50, features=1, batch=2, outputs=1)
    sizes = {
        "hidden": 2,
        "spectrum": {"name": "ginibre", "norm": 0.3},
        "bias": {"name": "constant", "value": -1.0},
    }
    case = case_of(net(cell, activation, **sizes), work)
    assert probe_case(case.network, work)["log10_state_gradient_norm"][-1] < -30
    check_records(case)


@pytest.mark.parametrize(
    "cell", [{"name": "lstm", "forget_bias": 1.5}, {"name": "lstm", "chrono": True}], ids=str
)
def test_lstm_biases_reach_drawn_arrays_and_probe_alike(cell):
    check_records(case_of(net(cell, "tanh"), task(length=7, features=2, batch=2)))


def test_chrono_biases_lie_in_their_interval():
    case = case_of(network(cell={"name": "lstm", "chrono": True}, hidden=200), task(length=30, batch=1))
    i, f, g, o = np.split(case.parameters["bias_ih_l0"], 4)
    assert f.min() >= 0
    assert f.max() <= np.log(29)
    assert np.exp(f).mean() == pytest.approx(15, rel=0.1)  # uniform in [1, 29]
    np.testing.assert_array_equal(i, -f)
    assert not g.any()
    assert not o.any()


def test_forget_bias_is_added_to_the_forget_gate_alone():
    arrays = [
        case_of(network(cell={"name": "lstm", "forget_bias": b}, hidden=5), task(length=3)).parameters[
            "bias_ih_l0"
        ]
        for b in (0.0, 2.5)
    ]
    np.testing.assert_array_equal(arrays[1] - arrays[0], np.repeat([0.0, 2.5, 0.0, 0.0], 5))


def test_one_spectrum_a_gate_reaches_its_own_block():
    gates = {
        gate: {"name": "identity", "radius": float(k + 1)}
        for k, gate in enumerate(("input_gate", "forget_gate", "candidate", "output_gate"))
    }
    weights = case_of(network(cell="lstm", hidden=3, spectrum=gates), task(length=2)).parameters[
        "weight_hh_l0"
    ]
    np.testing.assert_array_equal(weights, np.concatenate([k * np.eye(3) for k in (1, 2, 3, 4)]))


@pytest.mark.parametrize("cell", CELLS)
def test_product_of_the_concatenation_is_the_sum_of_the_products(cell):
    """``[W U b] [h; x; 1] = W h + U x + b``: the identity the engine rests on."""
    case = case_of(net(cell, "tanh", hidden=7), task(length=3, features=4, batch=5))
    p = case.parameters
    h, x = np.random.default_rng(0).normal(size=(7, 5)), case.inputs[1].T
    together = affine_of(case) @ np.concatenate([h, x, np.ones((1, 5))])
    apart = p["weight_hh_l0"] @ h + p["weight_ih_l0"] @ x + p["bias_ih_l0"][:, None]
    np.testing.assert_allclose(together, apart, rtol=1e-13, atol=1e-15)  # sums of order one may cancel


@pytest.mark.parametrize("cell", CELLS)
def test_number_of_parameters_does_not_grow_with_the_sequence(cell):
    shapes = [
        {
            k: v.shape
            for k, v in case_of(net(cell, "tanh"), task(length=length, at="every")).parameters.items()
        }
        for length in (1, 5, 100)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    rows = 3 * len(cells.get(cell).row_blocks)
    assert shapes[0]["weight_hh_l0"] == (rows, 3)
    assert shapes[0]["weight_ih_l0"] == (rows, 8)


@pytest.mark.parametrize("cell", CELLS)
def test_weight_gradient_is_the_kronecker_sum(cell):
    """``dE/dvec(W) = sum_t (h_{t-1}^T (x) I)^T dz_t``, sample by sample, with dz from the oracle."""
    case = case_of(net(cell, "tanh"), task(length=5, features=2, batch=2, at="every"))
    problem, parameters = oracles.problem_of(case)
    _, _, by_nudge = oracles.complex_step(problem, parameters)
    zero = {k: np.zeros_like(v) for k, v in by_nudge.items()}
    _, states, _ = oracles.simulate(np, problem, parameters, zero)
    rows = len(parameters["W"])
    total = np.zeros(parameters["W"].size)
    for dz, h in zip(by_nudge["z"], states, strict=True):
        for b in range(2):
            total += np.kron(h[:, b][None, :], np.eye(rows)).T @ dz[:, b]
    affine, _ = raw_gradients(case)
    got = affine[:, :3].reshape(-1, order="F")  # vec stacks columns
    np.testing.assert_allclose(got, total, rtol=1e-11, atol=1e-13 * np.abs(total).max())


@dataclass(frozen=True)
class FlippedElman(Elman):
    """Wrong on purpose: the sign of the adjoint."""

    name: ClassVar[str] = "elman"

    def backward(self, local, adjoint, dz):
        super().backward(local, adjoint, dz)
        np.negative(dz, out=dz)


@dataclass(frozen=True)
class SlightlyWrongElman(Elman):
    """Wrong on purpose: one part in 1e10."""

    name: ClassVar[str] = "elman"

    def backward(self, local, adjoint, dz):
        super().backward(local, adjoint, dz)
        dz *= 1.0 + 1e-10


@dataclass(frozen=True)
class ForgetfulLstm(Lstm):
    """Wrong on purpose: what the state passes to the memory is dropped."""

    name: ClassVar[str] = "lstm"

    def complete(self, local, adjoint):
        pass


@dataclass(frozen=True)
class StuckLstm(Lstm):
    """Wrong on purpose: the memory's adjoint goes back without the forget gate."""

    name: ClassVar[str] = "lstm"

    def backward(self, local, adjoint, dz):
        kept = adjoint[1].copy()
        super().backward(local, adjoint, dz)
        adjoint[1][...] = kept


@pytest.mark.parametrize(
    "wrong", [FlippedElman(), SlightlyWrongElman(), ForgetfulLstm(), StuckLstm()], ids=repr
)
def test_a_wrong_cell_is_caught(wrong):
    """The negative control: what the suite above is worth."""
    right = net(wrong.name, "tanh")
    work = task(length=5, features=2, batch=2)
    check_records(case_of(right, work))
    with pytest.raises(AssertionError):
        check_records(case_of(replace(right, cell=wrong), work))


def test_the_sign_alone_is_caught_by_the_gradients():
    """Norms do not see a flipped sign; the entries of the gradients do."""
    case = case_of(replace(net("elman", "tanh"), cell=FlippedElman()), task(length=1, features=2, batch=2))
    _, rtol, by_parameter = oracles.expected_records(case)
    with pytest.raises(AssertionError):
        check_gradients(case, by_parameter, rtol)


def test_per_lag_names_are_all_known():
    assert set(PER_LAG) <= set(probe_case(net("lstm", "tanh"), task(length=2)))
