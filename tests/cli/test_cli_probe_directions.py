"""``gradlab probe`` of networks that read both ways, whose lags go on past the last look."""

from __future__ import annotations

import numpy as np
import pytest

import gradlab


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("at", ["final", [1, 4]])
def test_early_looks_give_the_records_of_the_run(layers: int, at: str | list[int]) -> None:
    network = {"cell": "lstm", "hidden": 4, "layers": layers, "bidirectional": True}
    task = {"name": "noise", "features": 3, "batch": 2, "length": 9, "at": at}
    run = gradlab.run({"network": network, "task": task})
    case = gradlab.draw({"network": network, "task": task})
    weights = {key: array for key, array in case.parameters.items() if key not in ("weight_ho", "bias_o")}
    weights |= {"fc.weight": case.parameters["weight_ho"], "fc.bias": case.parameters["bias_o"]}
    probed = gradlab.probe(weights, case.inputs, case.targets, at=at)
    assert probed.sizes["lag"] == 9
    for name in ("log10_state_gradient_norm", "saturation"):
        np.testing.assert_array_equal(probed[name].values, run[name].values)
