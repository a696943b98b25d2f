"""Biases that a network has not got have no gradient: norms and clipping are of its own parameters."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.measure.arrays import probe_arrays

HIDDEN, FEATURES, OUTPUTS, BATCH, LENGTH = 3, 2, 2, 4, 5
NAMES = ("log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor")


def arrays(cell="elman", layers=1):
    stream, rows = np.random.default_rng(5), {"elman": 1, "gru": 3, "lstm": 4}[cell] * HIDDEN
    out = {"weight_ho": stream.standard_normal((OUTPUTS, HIDDEN))}
    for k in range(layers):
        out[f"weight_ih_l{k}"] = stream.standard_normal((rows, HIDDEN if k else FEATURES))
        out[f"weight_hh_l{k}"] = stream.standard_normal((rows, HIDDEN))
    return out, stream.standard_normal((LENGTH, BATCH, FEATURES)), stream.standard_normal((1, BATCH, OUTPUTS))


def squared_norm(parameters, inputs, targets, cell):
    clip = {"name": "norm", "threshold": 0.1}
    found = probe_arrays(parameters, inputs, targets, cell=cell, clip=clip, record=NAMES)
    norm = 10.0 ** found["log10_gradient_norm"]
    np.testing.assert_allclose(found["clip_factor"], min(1.0, 0.1 / norm), rtol=1e-13, atol=0)
    return float(norm) ** 2


def loss(parameters, inputs, targets):
    """Mean squared error of an Elman network at the last time step, from its definition."""
    state = [np.zeros((BATCH, HIDDEN), dtype=complex) for _ in range(2)]
    layers = 1 + ("weight_ih_l1" in parameters)
    for x in inputs:
        for k in range(layers):
            z = x @ parameters[f"weight_ih_l{k}"].T + state[k] @ parameters[f"weight_hh_l{k}"].T
            x = state[k] = np.tanh(
                z + parameters.get(f"bias_ih_l{k}", 0) + parameters.get(f"bias_hh_l{k}", 0)
            )
    out = x @ parameters["weight_ho"].T + parameters.get("bias_o", 0)
    return ((out - targets[0]) ** 2).mean()


def by_complex_step(parameters, inputs, targets, names):
    total = 0.0
    for name in names:
        for place in np.ndindex(parameters[name].shape):
            moved = {key: value.astype(complex) for key, value in parameters.items()}
            moved[name][place] += 1e-30j
            total += (loss(moved, inputs, targets).imag / 1e-30) ** 2
    return total


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("given", [(), ("bias_o",), ("bias_ih_l0",), ("bias_hh_l0", "bias_o")])
def test_the_norm_is_over_the_parameters_there_are(layers, given):
    parameters, inputs, targets = arrays(layers=layers)
    sizes = {"bias_o": OUTPUTS}
    parameters |= {name: np.full(sizes.get(name, HIDDEN), 0.3) for name in given}
    expected = by_complex_step(parameters, inputs, targets, parameters)
    found = squared_norm(parameters, inputs, targets, "elman")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_bias_of_zeros_adds_its_gradient(cell):
    parameters, inputs, targets = arrays(cell)
    rows = len(parameters["weight_ih_l0"])
    biased = {"bias_ih_l0": np.zeros(rows), "bias_hh_l0": np.zeros(rows), "bias_o": np.zeros(OUTPUTS)}
    without = squared_norm(parameters, inputs, targets, cell)
    some = [squared_norm(parameters | {name: biased[name]}, inputs, targets, cell) for name in biased]
    assert all(without * (1 + 1e-6) < one for one in some)
    both = squared_norm(parameters | {n: biased[n] for n in ("bias_ih_l0", "bias_o")}, inputs, targets, cell)
    np.testing.assert_allclose(both - without, some[0] - without + some[2] - without, rtol=1e-9, atol=0)
