"""A case as plain arrays: names, layout, and the worked examples that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from engine import alone_of, case_of, clip, network, probe_case, same, task

from gradlab.core.errors import UserMistake
from gradlab.measure.arrays import probe_arrays
from gradlab.measure.probe import Run


def net(cell="elman", **table):
    return network(cell=cell, **{"hidden": 5, **table})


@pytest.mark.parametrize(("cell", "rows"), [("elman", 5), ("lstm", 20)])
def test_names_and_shapes_are_those_of_pytorch(cell, rows):
    case = case_of(net(cell), task(length=7, features=3, batch=2, outputs=4, at=[1, -1]))
    assert {k: v.shape for k, v in case.parameters.items()} == {
        "weight_ih_l0": (rows, 3),
        "weight_hh_l0": (rows, 5),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
        "weight_ho": (4, 5),
        "bias_o": (4,),
    }
    assert case.inputs.shape == (7, 2, 3)
    assert case.targets.shape == (2, 2, 4)
    assert case.looks.tolist() == [1, 6]
    assert not case.parameters["bias_hh_l0"].any()


def test_targets_by_loss():
    sizes = {"length": 6, "features": 3, "batch": 2, "outputs": 4, "at": "every"}
    classes = case_of(net(), task(loss="cross_entropy", **sizes)).targets
    assert classes.shape == (6, 2)
    assert classes.dtype.kind == "i"
    unit = case_of(net(), task(loss="unit", **sizes))
    assert unit.targets.shape == (6, 2, 5)
    assert "weight_ho" not in unit.parameters
    np.testing.assert_allclose(np.linalg.norm(unit.targets, axis=-1), 1.0, rtol=1e-15, atol=0)


def test_arrays_are_the_callers_own():
    """Changing what one draw gave must not change the next."""
    first = case_of(net(), task(length=4))
    kept = first.inputs.copy()
    for values in (*first.parameters.values(), first.inputs, first.targets):
        values += 1.0
    again = case_of(net(), task(length=4))
    assert same(again.inputs, kept)
    assert not same(again.parameters["weight_hh_l0"], first.parameters["weight_hh_l0"])


def test_float32_arrays():
    case = case_of(net(dtype="float32"), task(length=4))
    assert {v.dtype for v in (*case.parameters.values(), case.inputs, case.targets)} == {np.dtype("float32")}


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_weights_depend_on_seed_replicate_family_and_size_only(cell):
    """A radius scales the same matrix; activation, task, clip and bias do not touch it."""
    base = case_of(net(cell, spectrum={"name": "ginibre", "radius": 1.0}), task(length=4)).parameters[
        "weight_hh_l0"
    ]
    twice = case_of(
        net(cell, spectrum={"name": "ginibre", "radius": 2.0}),
        task(length=9, batch=3),
        clip("norm", threshold=1),
    )
    np.testing.assert_allclose(twice.parameters["weight_hh_l0"], 2 * base, rtol=1e-14, atol=0)
    others = [
        net(cell, activation="relu", spectrum={"name": "ginibre", "radius": 1.0}),
        net(cell, bias={"name": "normal", "gain": 3.0}, spectrum={"name": "ginibre", "radius": 1.0}),
        net(cell, input={"name": "uniform", "bound": 3.0}, spectrum={"name": "ginibre", "radius": 1.0}),
    ]
    for other in others:
        assert same(case_of(other, task(length=4)).parameters["weight_hh_l0"], base)
    for seed, replicate in ((1, 0), (0, 1)):
        other = case_of(net(cell), task(length=4), seed=seed, replicate=replicate).parameters["weight_hh_l0"]
        assert not np.isclose(other, base).any()


def test_gates_have_matrices_of_their_own():
    blocks = case_of(net("lstm"), task(length=4)).parameters["weight_hh_l0"].reshape(4, 5, 5)
    for i in range(4):
        for j in range(i):
            assert not np.isclose(blocks[i], blocks[j]).any()


def test_adding_an_output_changes_no_input_and_no_other_weight():
    """Paired comparisons: what a setting does not affect stays as it is."""
    one, other = (case_of(net(), task(length=4, features=3, outputs=q)) for q in (3, 4))
    assert same(one.inputs, other.inputs)
    for name in ("weight_hh_l0", "weight_ih_l0", "bias_ih_l0"):
        assert same(one.parameters[name], other.parameters[name])


# --- forward --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_forward_gives_states_and_outputs(cell):
    case = case_of(net(cell), task(length=6, features=3, batch=2, outputs=4))
    out = case.forward()
    assert out["states"].shape == (6, 2, 5)
    assert out["outputs"].shape == (6, 2, 4)
    assert ("memories" in out) == (cell == "lstm")
    loss = ((out["outputs"][-1] - case.targets[0]) ** 2).mean()
    np.testing.assert_allclose(probe_case(case.network, case.task)["loss"], loss, rtol=1e-13, atol=0)


def test_all_ones_network():
    """Weights 1, biases 0, memory 0; inputs (1,1), (1,1), (2,2) give 4, 12, 32 on each output."""
    ones = {"name": "constant", "value": 1.0}
    weights = {"name": "constant", "value": 1.0}
    net_of_ones = network(hidden=2, activation="identity", spectrum=weights, input=ones, readout=ones)
    rows = {"inputs_given": [[1, 1], [1, 1], [2, 2]], "targets_given": [[0, 0]] * 3}
    case = case_of(net_of_ones, task("given", features=2, length=3, **rows))
    np.testing.assert_allclose(case.parameters["weight_hh_l0"], 1.0, rtol=1e-15, atol=0)
    np.testing.assert_allclose(
        case.forward()["outputs"][:, 0], [[4, 4], [12, 12], [32, 32]], rtol=1e-14, atol=0
    )


# --- the probe on arrays alone --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "unit"])
@pytest.mark.parametrize("at", ["final", "every", (1, 4)])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_drawn_arrays_measured_again_give_the_same_bits(cell, at, loss):
    rule = clip("adjoint_norm", threshold=0.1)
    case = case_of(net(cell), task(length=20, features=3, batch=2, outputs=4, at=at, loss=loss), rule)
    got = probe_arrays(
        case.parameters,
        case.inputs,
        case.targets,
        cell=cell,
        loss=loss,
        at=at,
        clip={"name": "adjoint_norm", "threshold": 0.1},
    )
    known = alone_of(Run(case.network, 0, 0), case.task, rule)
    assert got.keys() == known.keys()
    for name in known:
        if name in ("radius_drawn", "norm_drawn", "henrici_departure"):  # measured anew, not scaled along
            np.testing.assert_allclose(got[name], known[name], rtol=1e-9, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], known[name], err_msg=name)


def test_both_biases_count():
    case = case_of(net(), task(length=5))
    moved = {**case.parameters, "bias_hh_l0": np.full(5, 0.3)}
    together = {**case.parameters, "bias_ih_l0": np.full(5, 0.3)}
    a, b = (probe_arrays(p, case.inputs, case.targets) for p in (moved, together))
    np.testing.assert_array_equal(a["log10_state_gradient_norm"], b["log10_state_gradient_norm"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weight_hh_l0": np.ones((5, 4))},
            r"weight_hh_l0: expected shape \(1 \* hidden, hidden\) for 'elman'",
        ),
        ({"weight_ih_l0": np.ones((4, 8))}, r"weight_ih_l0: expected finite numbers of shape \(5, (8|any)\)"),
        ({"bias_ih_l0": np.full(5, np.nan)}, r"bias_ih_l0: .* NaN or infinity"),
        ({"weight_ho": np.ones((8, 3))}, r"weight_ho: expected finite numbers of shape \(any, 5\)"),
        (
            {"weight_ho": np.ones((2, 5)), "bias_o": np.ones(2)},
            r"targets: expected finite numbers of shape \(1, 32, 2\)",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_misfit_arrays_are_named(change, message):
    case = case_of(net(), task(length=5))
    with pytest.raises(UserMistake, match=message):
        probe_arrays({**case.parameters, **change}, case.inputs, case.targets)


def test_a_missing_array_is_named():
    case = case_of(net(), task(length=5))
    for name in ("weight_hh_l0", "weight_ih_l0", "weight_ho"):
        rest = {k: v for k, v in case.parameters.items() if k != name}
        with pytest.raises(UserMistake, match=name):
            probe_arrays(rest, case.inputs, case.targets)


def test_classes_out_of_range_are_named():
    case = case_of(net(), task(length=5, loss="cross_entropy"))
    with pytest.raises(UserMistake, match=r"targets: expected classes from 0 to 7"):
        probe_arrays(case.parameters, case.inputs, case.targets + 8, loss="cross_entropy")


@pytest.mark.parametrize("name", ["adding", "copy_memory", "sentiment"])
def test_a_loss_that_weighs_its_looks_is_computed_again_from_the_arrays(name):
    work = task(name=name, batch=4)
    case = case_of(net(), work)
    outputs = case.forward()["outputs"][case.looks]
    if work.loss == "mse":
        each = ((outputs - case.targets) ** 2).mean(axis=-1)
    else:
        shifted = outputs - outputs.max(axis=-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        each = -np.take_along_axis(logs, case.targets[..., None], axis=-1)[..., 0]
    assert case.weight is not None
    loss = (case.weight * each).sum(axis=0).mean()
    assert loss == pytest.approx(probe_case(net(), work)["loss"], rel=1e-12, abs=0.0)
