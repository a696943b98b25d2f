"""Deep, bidirectional and embedded networks of every cell against reverse-mode differentiation."""

from __future__ import annotations

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from engine import OFF, alone_of, assert_norms, case_of, network, task

from gradlab.learning.layers import Layers
from gradlab.measure.probe import Run
from gradlab.network.cells import registry as cells

RTOL = 1e-11
CELLS = sorted(set(cells.names()) - {"jordan"})
KINDS = ("weight_hh", "weight_ih", "bias_ih", "bias_hh", *oracles.DIAGONALS)
SUFFIX = ("", "_reverse")


def of_layer(case, parameters, layer, direction):
    """Return one layer's parameters under the oracle's names."""
    names = {"W": "weight_hh", "U": "weight_ih", "b": "bias_ih", "bh": "bias_hh"} | {
        d: d for d in oracles.DIAGONALS
    }
    place = f"_l{layer}{SUFFIX[direction]}"
    own = {mine: parameters[kind + place] for mine, kind in names.items() if kind + place in parameters}
    if layer == 0 and "weight_embedding" in parameters:
        own["U"] = anp.matmul(own["U"], parameters["weight_embedding"])
    if "bh" in own:
        own["bh"] = own["bh"][-case.network.hidden :]
    return {k: v if v.ndim == 2 else v[:, None] for k, v in own.items()}


def loss_of(case, parameters, nudges):
    """Run a case layer by layer, direction by direction, straight from the equations."""
    net, n = case.network, case.network.hidden
    step, blocks, has_memory = oracles.STEPS[net.cell.name]
    given = {f: getattr(net.cell, f) for f in net.cell.__dataclass_fields__}
    phi = lambda z: oracles.ACTIVATIONS[net.activation.name][0](anp, z)  # noqa: E731
    sequence = list(case.inputs.transpose(0, 2, 1))
    length, batch = len(sequence), case.task.batch
    for layer in range(net.layers):
        both = []
        for direction in range(net.directions):
            p = of_layer(case, parameters, layer, direction)
            state = memory = np.zeros((n, batch))
            states = []
            order = sequence[::-1] if direction else sequence
            for t in range(length):
                nudge = nudges[layer, direction]
                dc = nudge["c"][t] if has_memory else 0.0
                zero = np.zeros((blocks * n, batch))
                state, memory, _ = step(anp, phi, p, state, state, memory, order[t], zero, dc, t, given)
                state = state + nudge["h"][t]
                states.append(state)
            both.append(states[::-1] if direction else states)
        sequence = [anp.concatenate(parts) for parts in zip(*both, strict=True)]
    total = 0.0
    for t, target in zip(case.looks.tolist(), case.targets, strict=True):
        output = anp.matmul(parameters["weight_ho"], sequence[t]) + parameters["bias_o"][:, None]
        if case.task.loss == "cross_entropy":
            total = total + oracles._cross_entropy(anp, output, np.eye(len(output))[target].T)
        else:
            total = total + oracles._mse(anp, oracles.OUTPUTS[net.output](anp, output), target.T)
    return total


def check(table, work):
    net = network(**{"hidden": 4, "spectrum": {"name": "ginibre", "gain": 1.2}, **table})
    case = case_of(net, work)
    own = {"h": np.zeros((work.length, net.hidden, work.batch))}
    own |= {"c": own["h"]} if oracles.STEPS[net.cell.name][2] else {}
    nudges = {(k, d): dict(own) for k in range(net.layers) for d in range(net.directions)}
    value = autograd.value_and_grad(lambda both: loss_of(case, *both))
    loss, (by_parameter, by_nudge) = value((case.parameters, nudges))
    got = alone_of(Run(net, 0, 0), work, OFF)
    np.testing.assert_allclose(got["loss"], loss, rtol=RTOL, atol=0)
    for (layer, direction), gradients in by_nudge.items():
        for name, record in (("h", "log10_state_gradient_norm"), ("c", "log10_memory_gradient_norm")):
            if name in gradients:
                last = work.looks()[-1]
                if direction:  # its own last step is the first of the sequence
                    last = work.length - 1 - (0 if layer + 1 < net.layers else work.looks()[0])
                elif layer + 1 < net.layers and net.directions > 1:
                    last = work.length - 1
                expected = np.sqrt((gradients[name] ** 2).sum(axis=(1, 2)))[: last + 1][::-1]
                measured = got[record][layer, direction]
                assert_norms(measured[: last + 1], expected, RTOL, f"{record} {layer} {direction}")
                assert np.isnan(measured[last + 1 :]).all()
    free = {k: v for k, v in by_parameter.items() if not k.startswith("bias_hh")}
    free |= {k: v[-net.hidden :] for k, v in by_parameter.items() if k.startswith("bias_hh")}
    if net.cell.name != "gru":  # its candidate alone has a bias beside that of the inputs
        free = {k: v for k, v in free.items() if not k.startswith("bias_hh")}
    joint = np.sqrt(sum((v**2).sum() for v in free.values()))
    assert_norms(got["log10_gradient_norm"], joint, RTOL, "joint norm")


@pytest.mark.parametrize("at", ["final", "every", (1, 3)], ids=str)
@pytest.mark.parametrize(("layers", "bidirectional"), [(2, False), (3, False), (1, True), (2, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_every_layer_and_direction(cell, layers, bidirectional, at):
    work = task(length=6, features=3, batch=2, outputs=2, at=at)
    check({"cell": cell, "layers": layers, "bidirectional": bidirectional}, work)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_embedded_inputs(cell, bidirectional):
    work = task(length=5, features=6, batch=2, outputs=3, loss="cross_entropy", at="every")
    check({"cell": cell, "embedding": 3, "bidirectional": bidirectional}, work)


@pytest.mark.parametrize("output", ["logistic", "relu", "softmax"])
def test_outputs_of_deep_networks(output):
    work = task(length=5, features=2, batch=3, outputs=4, at="every")
    check({"cell": "gru", "layers": 2, "bidirectional": True, "output": output}, work)


def test_a_wrong_direction_is_noticed(monkeypatch):
    """The oracle has power: a reverse direction that reads forwards is found out."""
    work = task(length=6, features=3, batch=2, outputs=2, at="every")
    kept = Layers._stack

    def forwards(self, layer, direction):
        return replace(kept(self, layer, direction), inputs=kept(self, layer, 0).inputs)

    check({"cell": "elman", "layers": 2, "bidirectional": True}, work)
    monkeypatch.setattr(Layers, "_stack", forwards)
    with pytest.raises(AssertionError):
        check({"cell": "elman", "layers": 2, "bidirectional": True}, work)
