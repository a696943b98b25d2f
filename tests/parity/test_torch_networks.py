"""Networks of several layers and directions agree with PyTorch autograd, relative 1e-10, at every step.

The cells of PyTorch are compared with ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` themselves: arrays of `draw`
load by name, states and parameter gradients are the module's. What the modules do not show, the adjoints
within, comes from the same networks unrolled by hand (`twins`), whose states are checked against the
modules'. Cells that PyTorch has not got are unrolled by hand only.
"""

from __future__ import annotations

from itertools import product

import pytest
from agreement import assert_agrees, assert_module_agrees
from twins import MODULES, PSI, STEPS, F, torch

import gradlab
from gradlab.network.cells import registry as cells
from gradlab.network.readout import OUTPUTS

NETWORK = {"hidden": 6, "bias": {"name": "normal", "gain": 0.3}}
TASK = {"name": "noise", "features": 3, "outputs": 5}


def drawn(network, losses=("mse", "cross_entropy"), ats=("final", "every"), **task):
    """Return the cases of one network with several losses, which share its inputs."""
    return [
        gradlab.draw({"network": NETWORK | network, "task": TASK | {"loss": loss, "at": at} | task})
        for loss in losses
        for at in ats
    ]


def test_every_entry_of_the_catalogues_is_compared():
    assert set(STEPS) == set(cells.names())
    assert set(STEPS) == set(MODULES) | set(OTHERS)
    assert set(PSI) == set(OUTPUTS)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("cell", "activation"), [("elman", "tanh"), ("elman", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
)
def test_pytorchs_own_modules(cell, activation, layers, bidirectional):
    """Adjoints of every step, layer and direction, and all gradients; the loss at many places."""
    network = {"cell": cell, "activation": activation, "layers": layers, "bidirectional": bidirectional}
    for batch, (length, listed) in product((1, 32), ((1, (0,)), (2, (0,)), (50, (0, 17, -3)))):
        cases = drawn(network, ats=("final", "every", list(listed)), batch=batch, length=length)
        assert_module_agrees(*assert_agrees(cases))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("cell", MODULES)
def test_embedding(cell, bidirectional):
    """The gradients by the embedding and by the input weights that follow it."""
    network = {"cell": cell, "layers": 2, "bidirectional": bidirectional, "embedding": 4}
    assert_module_agrees(*assert_agrees(drawn(network, batch=4, length=9)))


@pytest.mark.parametrize("output", PSI)
@pytest.mark.parametrize("cell", [*MODULES, "jordan"])
def test_activations_of_the_readout(cell, output):
    """`cross_entropy` takes the readout before its activation; the Jordan cell feeds it back after."""
    network = {"cell": cell, "output": output}
    assert_agrees(drawn(network, batch=4, length=9, ats=("final", "every", [0, 4, -2])))


OTHERS = {
    "peephole_lstm": {"peephole": 0.4},
    "clockwork": {"periods": [1, 2, 3]},
    "antisymmetric": {"step": 0.2, "diffusion": 0.1},
    "linear_diagonal": {},
    "jordan": {},
}


@pytest.mark.parametrize("cell", OTHERS)
def test_cells_that_pytorch_has_not_got(cell):
    deep = {} if cell == "jordan" else {"layers": 2, "bidirectional": True}
    network = {"cell": {"name": cell, **OTHERS[cell]}, "activation": "softsign", "embedding": 4, **deep}
    losses = ("mse", "cross_entropy", "unit")
    assert_agrees(drawn(network, losses, ("final", "every", [0, 4, -2]), batch=4, length=9))


# --- deliberately wrong -----------------------------------------------------------------------------------


def permuted_lstm(now):
    """Input and forget gate exchanged."""
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    f, i, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f) * now.c + torch.sigmoid(i) * now.phi(g)
    return torch.sigmoid(o) * now.phi(c), c


def reset_before_product(now):
    """The paper's GRU: the reset gate multiplies the state, not the product."""
    weight_r, weight_u, weight_g = now.w["weight_hh"].chunk(3)
    b_r, b_u, b_g = now.p["bias_hh"].chunk(3)
    x_r, x_u, x_g = now.drive().chunk(3, dim=1)
    z_r, z_u = x_r + now.h @ weight_r.T + b_r, x_u + now.h @ weight_u.T + b_u
    a = (torch.sigmoid(z_r) * now.h) @ weight_g.T + b_g
    now.note(z_r, z_u, a, x_g)
    u = torch.sigmoid(z_u)
    return (1 - u) * now.phi(x_g + a) + u * now.h, None


def forgetful_lstm(now):
    """The right states, but nothing goes back through the forget gate."""
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    i, f, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f.detach()) * now.c + torch.sigmoid(i) * now.phi(g)
    return torch.sigmoid(o) * now.phi(c), c


def nearly_tanh(now):
    """A part in a thousand million more than it should be."""
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    return torch.tanh(z) * (1 + 1e-9), None


def leaking_relu(now):
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    return F.leaky_relu(z, 1e-3), None


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        ("lstm", permuted_lstm),
        ("lstm", forgetful_lstm),
        ("gru", reset_before_product),
        ("elman", nearly_tanh),
        ("elman", leaking_relu),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_wrong_cell_is_found(cell, wrong, layers):
    cases = drawn({"cell": cell, "layers": layers}, ("mse",), ("final",), batch=4, length=9)
    assert_agrees(cases)
    with pytest.raises(AssertionError):
        assert_agrees(cases, step=wrong)


@pytest.mark.parametrize("cell", MODULES)
def test_a_reverse_direction_that_is_not_reversed_is_found(cell):
    cases = drawn({"cell": cell, "bidirectional": True}, ("mse",), ("final",), batch=4, length=9)
    assert_agrees(cases)
    with pytest.raises(AssertionError):
        assert_agrees(cases, reverses=False)


def test_a_wrong_layer_is_found():
    """Two layers' arrays exchanged."""
    (case,) = drawn({"cell": "gru", "layers": 3}, ("mse",), ("final",), batch=4, length=9)
    measured, twin = assert_agrees([case])
    p = case.parameters
    p["weight_hh_l1"], p["weight_hh_l2"] = p["weight_hh_l2"], p["weight_hh_l1"]
    with pytest.raises(AssertionError):
        assert_module_agrees(measured, twin)
