"""Every cell of the catalogue, with every activation, loss and place of the loss, against an oracle."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from engine import affine_of, case_of, network, probe_case, raw_gradients, task
from recorded import ACTIVATIONS, CELLS, CELLS_AND_LOSSES, PLACES, check_records, net

from gradlab.network.cells import AbstractCell
from gradlab.network.cells import registry as cells
from gradlab.network.readout import OUTPUTS


def test_oracles_know_every_entry():
    """A new cell or activation needs its naive formula in oracles.py, and is then tested by being there."""
    assert set(CELLS) == set(oracles.STEPS)
    assert set(ACTIVATIONS) == set(oracles.ACTIVATIONS)
    assert set(OUTPUTS) == set(oracles.OUTPUTS)


@pytest.mark.parametrize("cell", CELLS)
def test_oracles_agree_with_each_other(cell):
    """Complex step and reverse mode are independent; where both apply they must give the same."""
    problem, parameters = oracles.problem_of(case_of(net(cell, "tanh"), task(length=6, features=2, batch=2)))
    one, other = oracles.complex_step(problem, parameters), oracles.reverse_mode(problem, parameters)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-14, atol=0)
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-9, atol=1e-16, err_msg=name)


@pytest.mark.parametrize("at", PLACES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("cell", "loss"), CELLS_AND_LOSSES)
def test_records_and_gradients(cell, activation, loss, at):
    work = task(length=5, features=2, batch=2, outputs=3, loss=loss, at=at)
    check_records(case_of(net(cell, activation), work))


@pytest.mark.parametrize("at", ["final", (0, 2, -2)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_asking_for_less_changes_no_number(cell, at):
    """Without gradients no states are kept; with a look at saturation nothing else happens either."""
    settings, work = net(cell, "tanh"), task(length=9, features=2, batch=2, at=at)
    whole = probe_case(settings, work)
    for name in ("log10_state_gradient_norm", "saturation", "log10_gradient_norm"):
        np.testing.assert_array_equal(probe_case(settings, work, record=(name,))[name], whole[name])


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_activations_of_the_readout(cell, output, loss):
    work = task(length=5, features=2, batch=2, outputs=3, loss=loss, at="every")
    check_records(case_of(net(cell, "tanh", output=output), work))


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_jordan_with_fewer_and_more_outputs_than_units(outputs):
    work = task(length=6, features=2, batch=3, outputs=outputs, at=(2, 5))
    case = case_of(net("jordan", "tanh", output="logistic"), work)
    assert case.parameters["weight_hh_l0"].shape == (3, outputs)
    check_records(case)


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


@pytest.mark.parametrize(("cell", "loss"), CELLS_AND_LOSSES)
def test_float32_is_right_to_its_own_precision(cell, loss):
    work = task(length=12, features=2, batch=3, outputs=3, loss=loss, at="every")
    check_records(case_of(net(cell, "tanh", hidden=4, dtype="float32"), work), rtol=2e-4)
    mild = {"spectrum": {"name": "ginibre", "gain": 0.5}}
    check_records(case_of(net(cell, "silu", hidden=2, dtype="float32", **mild), work), rtol=2e-4)


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("cell", sorted(set(CELLS) - {"antisymmetric"}))  # which does not let them vanish
def test_vanished_gradients_are_right_to_the_last_digits(cell, activation):
    """Norms of 1e-30: an absolute tolerance would accept zero here."""
    # A clockwork unit passes its adjoint on unchanged while it waits.
    work = task(length=150 if cell == "clockwork" else 70, features=1, batch=2, outputs=1)
    sizes = {
        "hidden": 2,
        "spectrum": {"name": "ginibre", "norm": 0.3},
        "bias": {"name": "constant", "value": -1.0},
    }
    case = case_of(net(cell, activation, **sizes), work)
    assert probe_case(case.network, work)["log10_state_gradient_norm"][-1] < -30
    check_records(case)


@pytest.mark.parametrize(
    "cell",
    [
        {"name": "lstm", "forget_bias": 1.5},
        {"name": "lstm", "chrono": True},
        {"name": "peephole_lstm", "forget_bias": 1.5, "peephole": 1.0},
        {"name": "peephole_lstm", "chrono": True, "peephole": 0.0},
        {"name": "clockwork", "periods": [2, 3]},
        {"name": "clockwork", "periods": [3]},
        {"name": "antisymmetric", "step": 0.7, "diffusion": 0.0},
        {"name": "antisymmetric", "step": 0.1, "diffusion": 2.0},
        {"name": "linear_diagonal", "normalised": True},
    ],
    ids=str,
)
def test_settings_of_cells_reach_drawn_arrays_and_probe_alike(cell):
    settings = {"hidden": 4, "spectrum": {"name": "ginibre", "radius": 0.95}}
    check_records(case_of(net(cell, "tanh", **settings), task(length=7, features=2, batch=2, at="every")))


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


def test_every_gate_of_the_gru_has_a_spectrum_but_the_candidate_of_the_inputs():
    gates = {
        gate: {"name": "identity", "radius": float(k + 1)}
        for k, gate in enumerate(("reset_gate", "update_gate", "candidate_recurrent"))
    }
    p = case_of(network(cell="gru", hidden=3, spectrum=gates), task(length=2, features=5)).parameters
    np.testing.assert_array_equal(p["weight_hh_l0"], np.concatenate([k * np.eye(3) for k in (1, 2, 3)]))
    assert p["weight_ih_l0"].shape == (9, 5)


def test_the_second_bias_is_that_of_blocks_without_inputs():
    """PyTorch's layout: ``bias_hh`` has all recurrent rows, of which the GRU needs the last third."""
    p = case_of(net("gru", "tanh"), task(length=2)).parameters
    assert p["bias_ih_l0"].all()
    assert not p["bias_hh_l0"][:6].any()
    assert p["bias_hh_l0"][6:].all()
    assert not case_of(net("lstm", "tanh"), task(length=2)).parameters["bias_hh_l0"].any()


#: Cells of which every row block sees state and inputs, and nothing is tied.
WHOLE = [
    cell
    for cell in CELLS
    if cells.get(cell)().feeds_back == "state"
    and cells.get(cell).fed is None
    and cells.get(cell).recurrent is None
    and cells.get(cell).effective is AbstractCell.effective
]


@pytest.mark.parametrize("cell", WHOLE)
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
    settings = net(cell, "tanh")
    shapes = [
        {k: v.shape for k, v in case_of(settings, task(length=length, at="every")).parameters.items()}
        for length in (1, 5, 100)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    n, own = settings.hidden, settings.cell
    recurrent, fed = n * len(own.recurrent_blocks), n * sum(own.fed_blocks)
    columns = n if own.feeds_back == "state" else shapes[0]["weight_ho"][0]
    assert shapes[0].get("weight_hh_l0", (0, columns)) == (recurrent, columns)
    assert shapes[0]["weight_ih_l0"] == (fed, 8)
    assert shapes[0]["bias_ih_l0"] == (fed,)
    assert shapes[0].get("bias_hh_l0", (0,)) == (recurrent,)
    assert all(shapes[0][f"{name}_l0"] == (n,) for name in own.diagonals)


@pytest.mark.parametrize("cell", sorted(set(CELLS) - {"linear_diagonal"}))  # which has no such weights
def test_weight_gradient_is_the_kronecker_sum(cell):
    """``dE/dvec(W) = sum_t (h_{t-1}^T (x) I)^T dz_t``, sample by sample, with dz from the oracle."""
    case = case_of(net(cell, "tanh"), task(length=5, features=2, batch=2, at="every"))
    problem, parameters = oracles.problem_of(case)
    _, _, by_nudge = oracles.complex_step(problem, parameters)
    zero = {k: np.zeros_like(v) for k, v in by_nudge.items()}
    _, fed_back, _ = oracles.simulate(np, problem, parameters, zero)
    rows, columns = parameters["W"].shape
    total = np.zeros(rows * columns)
    for dz, past in zip(by_nudge["z"], fed_back, strict=True):
        for b in range(2):
            total += np.kron(past[:, b][None, :], np.eye(rows)).T @ dz[:rows, b]
    total = total.reshape(columns, rows).T  # vec stacks columns
    if cell == "antisymmetric":
        total = total - total.T
    if cell == "clockwork":
        total = np.triu(total)  # three modules of one unit
    got = raw_gradients(case)["weight_hh_l0"]
    np.testing.assert_allclose(got, total, rtol=1e-11, atol=1e-13 * np.abs(total).max())
