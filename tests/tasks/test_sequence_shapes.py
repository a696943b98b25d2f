"""One to many, many to one, many to many: what a spec asks for, against the oracle."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from engine import assert_norms

import gradlab

NOISE = {"name": "noise", "features": 2, "outputs": 3, "batch": 2, "length": 6}
#: The tasks of the shapes, and the time steps of their losses.
SHAPES = {
    "many to one": (NOISE, [5]),
    "many to many": ({**NOISE, "at": "every"}, [0, 1, 2, 3, 4, 5]),
    "one to many": ({**NOISE, "name": "impulse", "at": "every"}, [0, 1, 2, 3, 4, 5]),
    "many to some": ({**NOISE, "at": [1, -2]}, [1, 4]),
    "next symbol": (
        {"name": "symbols", "features": 3, "batch": 2, "length": 6, "at": "every"},
        list(range(6)),
    ),
}
CELLS = ("elman", "lstm", "gru", "jordan")


def spec(shape, cell="elman"):
    network = {"cell": cell, "hidden": 3, "spectrum": {"name": "ginibre", "gain": 1.2}}
    return {"network": network, "task": SHAPES[shape][0]}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_records_are_those_of_the_oracle(shape, cell):
    case, ds = gradlab.draw(spec(shape, cell)), gradlab.run(spec(shape, cell)).isel(replicate=0)
    assert case.looks.tolist() == SHAPES[shape][1]
    assert ds.sizes["lag"] == max(case.looks) + 1
    expected, rtol, _ = oracles.expected_records(case)
    np.testing.assert_allclose(ds["loss"], expected["loss"], rtol=rtol, atol=0)
    for name, norms in expected.items():
        if name.startswith("log10"):
            values = ds[name].values
            assert_norms(values if values.ndim else float(values), norms, rtol, name)


def test_the_loss_of_every_step_is_the_sum_of_the_losses_of_each():
    every = float(gradlab.run(spec("many to many"))["loss"].squeeze())
    table = spec("many to many")
    each = [
        float(gradlab.run({**table, "task": {**table["task"], "at": [t]}})["loss"].squeeze())
        for t in range(6)
    ]
    np.testing.assert_allclose(every, sum(each), rtol=1e-14, atol=0)
    assert min(each) > 0


def test_one_to_many_sees_an_input_at_the_first_step_only():
    case = gradlab.draw(spec("one to many"))
    assert (case.inputs[0] == 1.0).all()
    assert not case.inputs[1:].any()
    assert len(case.targets) == 6
    assert (np.diff(case.targets, axis=0) != 0).all()
