"""The arrays of `draw` recomputed with PyTorch autograd agree with the dataset, relative 1e-10.

Covered: both cells, every activation, every loss, at the last, every and listed steps; the norms of the
state's, memory's and pre-activation's gradient and of the shares of the weights at every lag; the loss; the
joint norm of all parameters, and what ``torch.nn.utils`` makes of it by clipping. ``nn.RNN`` and ``nn.LSTM``
themselves take the arrays as they are. Not compared: what PyTorch has no counterpart of (rules of the
recursion, chrono biases), which have oracles of their own.
"""

from __future__ import annotations

import numpy as np
import pytest
from engine import assert_norms

import gradlab
from gradlab.network.activations import registry as activations
from gradlab.network.cells import registry as cells

torch = pytest.importorskip("torch")

RTOL = 1e-10
F = torch.nn.functional
PHI = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "elu": F.elu,
    "softplus": lambda z: F.softplus(z, threshold=1e9),
    "hard_tanh": F.hardtanh,
    "softsign": F.softsign,
    "gelu": F.gelu,
    "silu": F.silu,
    "sine": torch.sin,
}
LENGTH = 9


def table(cell, loss, at):
    return {
        "network": {"cell": cell, "hidden": 6, "bias": {"name": "normal", "gain": 0.3}},
        "task": {
            "name": "noise",
            "features": 3,
            "batch": 4,
            "length": LENGTH,
            "outputs": 5,
            "loss": loss,
            "at": at,
        },
        "sweep": {
            "network.activation": activations.names(),
            "clip": [
                "off",
                *({"name": name, "threshold": c} for name in ("norm", "value") for c in (0.02, 1e3)),
            ],
        },
    }


def recompute(case):
    """Run a case in PyTorch; return the loss, the parameters, and the tensors whose gradients are wanted."""
    p = {
        name: torch.tensor(v, dtype=torch.float64, requires_grad=True) for name, v in case.parameters.items()
    }
    phi, n, batch = PHI[case.network.activation.name], case.network.hidden, case.task.batch
    h = c = torch.zeros(batch, n, dtype=torch.float64)
    looks, loss, kept = case.looks.tolist(), 0.0, {"h": [], "c": [], "z": [], "old": []}
    for t, x in enumerate(torch.tensor(case.inputs)):
        z = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"].detach()
        z.retain_grad()
        kept["old"].append(h)
        if case.network.cell.name == "lstm":
            i, f, g, o = z.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * phi(g)
            c.retain_grad()
            kept["c"].append(c)
            h = torch.sigmoid(o) * phi(c)
        else:
            h = phi(z)
        h.retain_grad()
        kept["h"].append(h)
        kept["z"].append(z)
        if t in looks:
            target = torch.tensor(case.targets[looks.index(t)])
            if case.task.loss == "unit":
                loss = loss + (h * target).sum(dim=1).mean()
            else:
                output = h @ p["weight_ho"].T + p["bias_o"]
                loss = loss + (F.mse_loss if case.task.loss == "mse" else F.cross_entropy)(output, target)
    loss.backward()
    # The network has one bias; PyTorch's second is held at zero and is no parameter of it.
    return loss.item(), [v for name, v in p.items() if name != "bias_hh_l0"], kept


def joint(parameters):
    return torch.sqrt(sum((v.grad**2).sum() for v in parameters if v.grad is not None)).item()


@pytest.mark.parametrize("at", ["final", "every", [0, 4, -2]], ids=str)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "unit"])
@pytest.mark.parametrize("cell", cells.names())
def test_dataset_agrees_with_autograd(cell, loss, at):
    assert set(PHI) == set(activations.names())
    spec = gradlab.Spec.from_dict(table(cell, loss, at))
    dataset = gradlab.run(spec)
    for activation in activations.names():
        case = gradlab.draw(spec, activation=activation, clip="off")
        value, parameters, kept = recompute(case)
        measured = dataset.sel(activation=activation)
        off = measured.sel(clip="off").isel(replicate=0)
        np.testing.assert_allclose(off.loss, value, rtol=RTOL, atol=0)
        lags = case.looks.max() + 1

        def norms(name, kept=kept, lags=lags):
            return np.array([v.grad.norm().item() for v in kept[name][:lags]])[::-1]

        assert_norms(off.log10_state_gradient_norm.values[:lags], norms("h"), RTOL, activation)
        assert_norms(off.log10_preactivation_gradient_norm.values[:lags], norms("z"), RTOL, activation)
        if cell == "lstm":
            assert_norms(off.log10_memory_gradient_norm.values[:lags], norms("c"), RTOL, activation)
        shares = [(z.grad.T @ h).norm().item() for z, h in zip(kept["z"][:lags], kept["old"], strict=False)]
        assert_norms(off.log10_weight_gradient_norm.values[:lags], shares[::-1], RTOL, activation)
        raw = joint(parameters)
        assert_norms(off.log10_gradient_norm.values, raw, RTOL, activation)
        check_clipping(measured.isel(replicate=0), parameters, raw)


def check_clipping(measured, parameters, raw):
    """Clip copies of the gradients with PyTorch's own utilities."""
    originals = [None if v.grad is None else v.grad.clone() for v in parameters]
    for label in measured["clip"].values.tolist()[1:]:
        name, threshold = label.rstrip(")").split("(")
        for v, g in zip(parameters, originals, strict=True):
            v.grad = None if g is None else g.clone()
        with_gradient = [v for v in parameters if v.grad is not None]
        if name == "norm":
            torch.nn.utils.clip_grad_norm_(with_gradient, float(threshold), foreach=False)
            # PyTorch divides by the norm plus 1e-6; the rule itself divides by the norm.
            expected = min(raw, float(threshold))
            np.testing.assert_allclose(joint(parameters), expected, rtol=2e-6 / raw, atol=0)
        else:
            torch.nn.utils.clip_grad_value_(with_gradient, float(threshold))
            expected = joint(parameters)
        got = measured.sel(clip=label)
        assert_norms(got.log10_gradient_norm.values, raw, RTOL, label)
        assert_norms(got.log10_clipped_gradient_norm.values, expected, RTOL, label)
        np.testing.assert_allclose(got.clip_factor, expected / raw, rtol=RTOL, atol=0)


@pytest.mark.parametrize("cell", cells.names())
def test_the_arrays_fit_pytorchs_own_modules(cell):
    """Names, layout and gate order: the arrays load into nn.RNN and nn.LSTM and give the same states."""
    case = gradlab.draw(table(cell, "mse", "final"), activation="tanh", clip="off")
    module = (torch.nn.RNN if cell == "elman" else torch.nn.LSTM)(3, 6).double()
    arrays = {name: torch.tensor(v) for name, v in case.parameters.items() if name.endswith("_l0")}
    module.load_state_dict(arrays)
    states = module(torch.tensor(case.inputs))[0].detach().numpy()
    np.testing.assert_allclose(case.forward()["states"], states, rtol=1e-12, atol=1e-15)
