"""Whatever is made an axis: a case of the sweep has the bits that it has alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import gradlab
from gradlab.core.errors import UserMistake

TASK = {"name": "noise", "length": 4, "batch": 2, "features": 2}
LINES = {
    "first": {"parameter": "weight_hh_l0", "entry": [0, 0], "start": -1.0, "stop": 1.0, "num": 3},
    "second": {"direction": 0, "start": -1.0, "stop": 1.0, "num": 2},
    "updates": 2,
}
SPECS = {
    "probe": {"measure": "probe", "network": {"hidden": 3}, "task": TASK},
    "train": {
        "measure": "train",
        "network": {"hidden": 3},
        "task": TASK,
        "training": {"updates": 4, "records": 3, "evaluate": 6, "optimiser": {"name": "sgd", "rate": 0.1}},
    },
    "landscape": {"measure": "landscape", "network": {"hidden": 3}, "task": TASK, "landscape": LINES},
}
RULES = ["off", {"name": "norm", "threshold": 0.1}, {"name": "adjoint_norm", "threshold": 0.05}]
OF_ALL = {
    "seed": [0, 5],
    "network.activation": ["tanh", "relu"],
    "network.hidden": [3, 2],
    "network.cell": ["elman", "lstm", "gru", "jordan"],
    "network.layers": [1, 2],
    "network.bidirectional": [False, True],
    "network.initial_state": [0.0, 0.8],
    "network.output": ["identity", "logistic"],
    "network.dtype": ["float64", "float32"],
    "network.spectrum.radius": [0.5, 1.5],
    "network.bias": [{"name": "normal", "gain": 0.1}, {"name": "normal", "gain": 1.0}],
    "task.length": [4, 3],
    "task.batch": [2, 3],
    "task.features": [2, 1],
    "task.outputs": [1, 2],
    "task.at": ["final", "every", [1, 3]],
    "clip": RULES,
}
OF_ONE = {
    "probe": {
        "task.loss": ["mse", "unit", "cross_entropy"],
        "learner": ["bptt", "rtrl", {"name": "truncated", "window": 2}, {"name": "uoro", "draws": 2}],
    },
    "train": {
        "training.optimiser": [{"name": "adam", "rate": 0.01}, {"name": "nesterov", "rate": 0.1}],
        "training.optimiser.rate": [0.1, 0.01],
        "training.schedule": ["constant", "cosine"],
        "training.omega": [0.0, 0.5],
        "training.updates": [4, 2],
        "training.records": [3, 2],
        "training.evaluate": [6, 130],
        "training.evaluate_every": [1, 2],
        "learner": ["bptt", "rtrl", {"name": "truncated", "window": 2}],
    },
    "landscape": {
        "landscape.updates": [2, 0, 3],
        "landscape.rate": [0.1, 1.0],
        "landscape.begin": [[0.0, 0.0], [0.5, -0.5]],
    },
}
AXES = [
    (measure, cell, key, values)
    for measure, own in OF_ONE.items()
    for cell in ("elman", "jordan")
    for key, values in (OF_ALL | own).items()
    if cell == "elman" or key in ("task.outputs", "task.loss", "learner", "task.at", "network.output")
]


@pytest.mark.parametrize(("measure", "cell", "key", "values"), AXES)
def test_a_case_is_what_it_is_alone(measure, cell, key, values):
    spec = copy.deepcopy(SPECS[measure])
    spec["network"]["cell"] = cell
    rename = {"rename": {key: "axis"}}
    whole = gradlab.run({**spec, "sweep": {key: values, **rename}})
    for place, value in enumerate(values):
        alone = gradlab.run({**spec, "sweep": {key: [value], **rename}}).isel(axis=0)
        case = whole.isel(axis=place)
        assert (case["status"] == 1).all()
        for name in alone.data_vars:
            lost = [dim for dim in case[name].dims if dim not in alone[name].dims]
            common = {
                dim: alone[dim] for dim in alone[name].dims if dim in alone.coords and dim != "replicate"
            }
            here = case[name].isel(dict.fromkeys(lost, 0)).sel(common).transpose(*alone[name].dims)
            np.testing.assert_array_equal(here.values, alone[name].values, err_msg=str(name))


@pytest.mark.parametrize("rule", ["quantile", "unitwise", "per_sample"])
def test_a_rule_that_a_landscape_cannot_follow_is_refused(rule):
    with pytest.raises(UserMistake, match=f"clip: expected a rule that looks at the gradient alone.*{rule}"):
        gradlab.run({**SPECS["landscape"], "sweep": {"clip": ["off", {"name": rule}]}})
