"""The arrays of `draw` recomputed with PyTorch autograd agree with the dataset, relative 1e-10.

Covered here: the cells of PyTorch, every activation, every loss, at the last, every and listed steps; the
norms of the state's, memory's and pre-activation's gradient and of the shares of the weights at every lag;
the loss; the joint norm of all parameters, and what ``torch.nn.utils`` makes of it by clipping. Deep and
bidirectional networks, all other cells, and every entry of the parameter gradients: `test_torch_networks`.
Not compared: what PyTorch has no counterpart of (rules of the recursion, chrono biases), which have
oracles of their own.
"""

from __future__ import annotations

import numpy as np
import pytest
from agreement import RTOL, Twin, gradients, norm
from engine import assert_norms
from twins import MODULES, PHI, torch

import gradlab
from gradlab.network.activations import registry as activations
from gradlab.tasks import losses

LENGTH = 9
PROFILES = {
    "log10_state_gradient_norm": "state",
    "log10_memory_gradient_norm": "memory",
    "log10_preactivation_gradient_norm": "z",
    "log10_weight_gradient_norm": "own",
}
OTHERS = ("loss", "log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor")


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


def test_every_entry_of_the_catalogues_is_compared():
    assert set(PHI) == set(activations.names())
    assert set(losses.registry.names()) == {"mse", "cross_entropy", "unit"}


@pytest.mark.parametrize("at", ["final", "every", [0, 4, -2]], ids=str)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "unit"])
@pytest.mark.parametrize("cell", MODULES)
def test_dataset_agrees_with_autograd(cell, loss, at):
    spec = gradlab.Spec.from_dict(table(cell, loss, at))
    dataset = gradlab.run(spec)
    profiles = {name: kept for name, kept in PROFILES.items() if kept != "memory" or cell == "lstm"}
    assert set(PROFILES) - set(dataset) == set(PROFILES) - set(profiles)
    dataset = dataset[[*profiles, *OTHERS]].isel(replicate=0)
    for activation in activations.names():
        case = gradlab.draw(spec, activation=activation, clip="off")
        measured = dataset.sel(activation=activation)
        off = measured.sel(clip="off")
        twin = Twin(case)
        ((steps,),) = twin.layers
        value = twin.loss(case)
        np.testing.assert_allclose(off.loss, value.item(), rtol=RTOL, atol=0)
        lags = case.looks.max() + 1
        for name, kept in profiles.items():
            each = [v if isinstance(v, tuple) else (v,) for v in getattr(steps, kept)]
            found = iter(gradients(value, [v for group in each for v in group]))
            norms = [norm(*(next(found) for _ in group)) for group in each]
            assert_norms(off[name].values[:lags], norms[:lags][::-1], RTOL, f"{activation}, {name}")
        check_clipping(measured, own_parameters(case, twin), value)


def own_parameters(case, twin):
    """PyTorch's second bias is held at zero and no parameter, but for blocks that have no other."""
    n, fed = case.network.hidden, np.repeat(case.network.cell.fed_blocks, case.network.hidden)
    rows = {name: slice(None) for name in twin.parameters} | {
        "bias_hh_l0": ~fed[: 3 * n] if not fed.all() else []
    }
    return [(tensor, rows[name]) for name, tensor in twin.parameters.items()]


def check_clipping(measured, parameters, loss):
    """Clip copies of the gradients with PyTorch's own utilities."""
    found = gradients(loss, [tensor for tensor, _ in parameters])
    originals = [torch.tensor(g[rows]) for g, (_, rows) in zip(found, parameters, strict=True)]
    raw = norm(*(g.numpy() for g in originals))
    assert_norms(measured.sel(clip="off").log10_gradient_norm.values, raw, RTOL)
    for label in measured["clip"].values.tolist()[1:]:
        name, threshold = label.rstrip(")").split("(")
        clipped = [torch.zeros_like(g) for g in originals]
        for v, g in zip(clipped, originals, strict=True):
            v.grad = g.clone()
        if name == "norm":
            torch.nn.utils.clip_grad_norm_(clipped, float(threshold), foreach=False)
            # PyTorch divides by the norm plus 1e-6; the rule itself divides by the norm.
            expected = min(raw, float(threshold))
            np.testing.assert_allclose(
                norm(*(v.grad.numpy() for v in clipped)), expected, rtol=2e-6 / raw, atol=0
            )
        else:
            torch.nn.utils.clip_grad_value_(clipped, float(threshold))
            expected = norm(*(v.grad.numpy() for v in clipped))
        got = measured.sel(clip=label)
        assert_norms(got.log10_gradient_norm.values, raw, RTOL, label)
        assert_norms(got.log10_clipped_gradient_norm.values, expected, RTOL, label)
        np.testing.assert_allclose(got.clip_factor, expected / raw, rtol=RTOL, atol=0)
