"""Credit by loss time, and the ways to the memory, agree with PyTorch autograd, relative 1e-10."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import RTOL, Measured, Twin, assert_profile, gradients, norm
from engine import assert_norms
from test_torch_networks import drawn

# Gates that keep much and states that matter: both ways are of one order.
GATED = {
    "lstm": {"name": "lstm", "forget_bias": 1.0},
    "gru": {"name": "gru"},
}


def credit(case, measured, twin):
    """Compare every entry of the credit matrix with one backward pass for each loss time."""
    states = twin.layers[-1][0].state
    expected = np.full(measured.shape, np.nan)
    for i, t in enumerate(case.looks):
        found = gradients(twin.loss_at(case, i), states[: t + 1])
        with np.errstate(divide="ignore"):
            expected[t, : t + 1] = np.log10([norm(g) for g in found])[::-1]
    np.testing.assert_array_equal(np.isnan(measured), np.isnan(expected))
    known = ~np.isnan(expected)
    assert_norms(measured[known], 10 ** expected[known], RTOL)


@pytest.mark.parametrize("at", ["every", "final", [3, 7, 17, -2]], ids=str)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "unit"])
@pytest.mark.parametrize(
    "network",
    [
        {"cell": "elman"},
        {"cell": "elman", "activation": "relu", "layers": 2},
        {"cell": "lstm", "bidirectional": True},
        {"cell": "gru", "layers": 2, "bidirectional": True},
        {"cell": "jordan", "output": "softmax"},
    ],
    ids=lambda network: "-".join(map(str, network.values())),
)
def test_credit(network, loss, at):
    (case,) = drawn(network, (loss,), (at,), batch=4, length=20)
    measured = Measured([case], ("log10_credit_norm",)).records["log10_credit_norm"][0]
    credit(case, measured, Twin(case))


def test_credit_of_another_time_is_found():
    cases = drawn({"cell": "elman"}, ("mse",), ("every", [18, 19]), batch=4, length=20)
    measured = Measured(cases[:1], ("log10_credit_norm",)).records["log10_credit_norm"][0]
    credit(cases[0], measured, Twin(cases[0]))
    measured[[3, 4]] = measured[[4, 3]]
    with pytest.raises(AssertionError):
        credit(cases[0], measured, Twin(cases[0]))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", GATED)
def test_paths(cell, layers, bidirectional):
    """What came through the memory alone is a product of gates; the rest is what is missing to the total."""
    network = {"cell": GATED[cell], "layers": layers, "bidirectional": bidirectional}
    cases = drawn(
        network, ("mse", "cross_entropy", "unit"), ("final", "every", [0, 4, -2]), batch=4, length=9
    )
    measured = Measured(cases, ("log10_path_gradient_norm",)).records["log10_path_gradient_norm"]
    twin = Twin(cases[0])
    for v, case in enumerate(cases):
        for layer, directions in enumerate(twin.layers):
            for direction, steps in enumerate(directions):
                expected = split(steps, twin.loss(case))
                for path, values in zip(measured[v, layer, direction], expected, strict=True):
                    assert_profile(path, values, case, layer, direction, f"{cell}, {case.task.at}")


def split(steps, loss):
    """Return the norms of the memory path, the rest and the total at every step, in own time."""
    arriving = gradients(loss, steps.out)
    total = gradients(loss, steps.memory or steps.state)
    alone, norms = np.zeros_like(total[-1]), []
    for t in range(len(total) - 1, -1, -1):
        injection = arriving[t] * (steps.into[t].numpy() if steps.memory else 1.0)
        kept = steps.carry[t + 1].numpy() * alone if t + 1 < len(total) else 0.0
        alone = injection + kept
        rest = total[t] - alone
        # Before anything came another way the difference is rounding, and exactly nothing.
        rest = np.where(np.abs(rest) < 1e-14 * np.abs(alone).max(), 0.0, rest)
        norms.append((norm(alone), norm(rest), norm(total[t])))
    return np.array(norms[::-1]).T


def test_a_wrong_split_is_found():
    (case,) = drawn({"cell": "gru"}, ("mse",), ("final",), batch=4, length=9)
    (measured,) = Measured([case], ("log10_path_gradient_norm",)).records["log10_path_gradient_norm"]
    twin = Twin(case)
    ((steps,),) = twin.layers
    steps.carry = [1.0 - gate for gate in steps.carry]
    alone, rest, total = split(steps, twin.loss(case))
    assert_profile(measured[0, 0, 2], total, case, 0, 0, "total")
    for path, values in ((0, alone), (1, rest)):
        with pytest.raises(AssertionError):
            assert_profile(measured[0, 0, path], values, case, 0, 0, "path")
