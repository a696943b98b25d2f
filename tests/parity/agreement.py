"""Cases measured by the engine, every number of them compared with a twin in PyTorch."""

from __future__ import annotations

from unittest import mock

import numpy as np
from engine import assert_norms, block
from twins import Twin, gradients, module_of, torch

from gradlab.measure import material
from gradlab.measure.probe import probe

RTOL = 1e-10
RECORD = (
    "log10_state_gradient_norm",
    "log10_memory_gradient_norm",
    "log10_preactivation_gradient_norm",
    "log10_weight_gradient_norm",
    "mean_log10_sample_gradient_norm",
    "log10_gradient_norm",
    "loss",
)


class Measured:
    """Cases of one network and one stream of inputs, through one forward pass of the engine.

    Attributes
    ----------
    records : dict
        Arrays by (view, ...).
    gradients : list of dict
        By view, the gradients of the mean loss by the parameters, in the names of the case;
        ``bias_hh`` is the part of it that is a parameter.
    """

    def __init__(self, cases, record=RECORD):
        self.cases, kept, original = cases, [], material.make_gradients

        def keep(*args):
            kept.append(original(*args))
            return kept[-1]

        one = cases[0]
        views = [(case.task, case.clip) for case in cases]
        with mock.patch.object(material, "make_gradients", keep):
            measured = probe(block([one.network], views, one.seed, [one.replicate]), record)
        self.records = {name: values[0] for name, values in measured.items()}
        assert (self.records["status"] == 1).all()
        (learned,) = kept
        self.gradients = []
        if learned is not None:
            self.gradients = [named(case, learned.raw[v].values()) for v, case in enumerate(cases)]


def named(case, values):
    """Name the engine's gradients: ``[W U b]`` and elementwise ones by layer and direction, `V`, `E`."""
    network, parts = case.network, [values[0] for values in values]
    cell, n, m = network.cell, network.hidden, case.drawn.fed_back
    fed, rows = np.repeat(cell.fed_blocks, n), n * len(cell.recurrent_blocks)
    out = {}
    for layer in range(network.layers):
        for direction in range(network.directions):
            place = f"l{layer}" + ("_reverse" if direction else "")
            affine = parts.pop(0)
            out |= {f"weight_ih_{place}": affine[fed, m:-1], f"bias_ih_{place}": affine[fed, -1]}
            if rows:
                out[f"weight_hh_{place}"] = affine[:rows, :m]
            if not fed.all():
                out[f"bias_hh_{place}"] = affine[~fed, -1]
            if cell.diagonals:
                own = parts.pop(0).reshape(len(cell.diagonals), n)
                out |= {f"{name}_{place}": g for name, g in zip(cell.diagonals, own, strict=True)}
    if case.task.loss_entry.uses_readout or cell.feeds_back == "output":
        readout = parts.pop(0)
        out |= {"weight_ho": readout[:, :-1], "bias_o": readout[:, -1]}
    if network.embedding is not None:
        out["weight_embedding"] = parts.pop(0)
    assert not parts
    return out


def own_part(case, name, gradient):
    """Cut out of PyTorch's gradient by a second bias the rows where it is the only one."""
    if not name.startswith("bias_hh"):
        return gradient
    cell, n = case.network.cell, case.network.hidden
    return gradient[~np.repeat(cell.fed_blocks, n)[: len(gradient)]]


def assert_entries(got, expected, what):
    """Compare entry by entry, relative 1e-10.

    Where the terms of a sum cancel, its relative error has no bound, on either side: an entry of less than
    a thousandth of the largest is compared relative to that thousandth.
    """
    assert got.shape == expected.shape, what
    size = np.maximum(np.abs(expected), 1e-3 * np.abs(expected).max(initial=0.0))
    wrong = ~(np.abs(got - expected) <= RTOL * size)
    assert not wrong.any(), (what, got[wrong][:3], expected[wrong][:3])


def last_of(case, layer, direction):
    """Return the last time step, in a direction's own time, that the loss sends an adjoint to."""
    network, length, looks = case.network, case.task.length, case.looks
    if layer + 1 < network.layers and network.bidirectional:
        return length - 1
    return int(length - 1 - looks[0] if direction else looks[-1])


def assert_profile(got, values, case, layer, direction, what):
    """Compare a record along the lag with values in the direction's own time; the rest must be NaN."""
    last = last_of(case, layer, direction)
    assert_norms(got[: last + 1], np.asarray(values[: last + 1])[::-1], RTOL, what)
    assert np.isnan(got[last + 1 :]).all(), what


def norm(*arrays):
    return np.sqrt(sum((a**2).sum() for a in arrays))


def mean_of_samples(adjoint):
    """Return the geometric mean of the norms of each sample's own adjoint."""
    with np.errstate(divide="ignore"):
        return 10 ** np.log10(len(adjoint) * np.linalg.norm(adjoint, axis=1)).mean()


def assert_adjoints(measured, v, twin):
    """Every step of every layer and direction."""
    case = measured.cases[v]
    loss, records = twin.loss(case), {name: a[v] for name, a in measured.records.items()}
    np.testing.assert_allclose(records["loss"], loss.item(), rtol=RTOL, atol=0)
    flat = []
    for directions in twin.layers:
        for steps in directions:
            flat += [*steps.state, *steps.memory, *(b for z in steps.z for b in z)]
            flat += [w for own in steps.own for w in own]
    found = dict(zip(map(id, flat), gradients(loss, flat), strict=True))

    def norms(groups):
        return [norm(*(found[id(v)] for v in group)) for group in groups]

    for layer, directions in enumerate(twin.layers):
        for direction, steps in enumerate(directions):
            expected = {
                "log10_state_gradient_norm": norms((h,) for h in steps.state),
                "log10_preactivation_gradient_norm": norms(steps.z),
                "log10_weight_gradient_norm": norms(steps.own),
                "mean_log10_sample_gradient_norm": [mean_of_samples(found[id(h)]) for h in steps.state],
            }
            if steps.memory:
                expected["log10_memory_gradient_norm"] = norms((c,) for c in steps.memory)
            else:
                assert np.isnan(records["log10_memory_gradient_norm"]).all()
            for name, values in expected.items():
                what = f"{name}, layer {layer}, direction {direction}, {case.task.loss} at {case.task.at}"
                assert_profile(records[name][layer, direction], values, case, layer, direction, what)


def assert_parameters(measured, v, names, tensors, loss):
    """Every entry of every parameter gradient, and where these are all parameters their joint norm."""
    case, got = measured.cases[v], measured.gradients[v]
    found = {n: own_part(case, n, g) for n, g in zip(names, gradients(loss, tensors), strict=True)}
    for name, expected in found.items():
        if name in got:
            assert_entries(got[name], expected, f"{name}, {case.task.loss} at {case.task.at}")
        else:
            assert not expected.size or not expected.any(), name
    if set(got) <= set(found):
        assert_norms(measured.records["log10_gradient_norm"][v], norm(*found.values()), RTOL, "joint norm")


def assert_agrees(cases, step=None, reverses=True):
    """Compare cases of one network, all records and gradients, with their twin."""
    measured, twin = Measured(cases), Twin(cases[0], step, reverses)
    names, tensors = list(twin.parameters), list(twin.parameters.values())
    for v, case in enumerate(cases):
        assert_adjoints(measured, v, twin)
        assert_parameters(measured, v, names, tensors, twin.loss(case))
        assert set(measured.gradients[v]) <= set(names)
    return measured, twin


def assert_module_agrees(measured, twin):
    """Compare the unrolled code and the engine with PyTorch's own module."""
    case = measured.cases[0]
    module, inputs = module_of(case), torch.tensor(case.inputs)
    if case.network.embedding is not None:
        inputs = inputs @ twin.parameters["weight_embedding"].T
    states = module(inputs)[0]
    for own in (twin.outputs.detach(), torch.tensor(case.forward()["states"])):
        assert own.shape == states.shape
        assert ((own - states).norm(dim=-1) <= RTOL * states.norm(dim=-1)).all()
    names = [name for name, _ in module.named_parameters()]
    for v, case in enumerate(measured.cases):
        assert_parameters(measured, v, names, list(module.parameters()), twin.loss(case, states))
