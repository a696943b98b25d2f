"""Weights near the end of the range, and states beyond it."""

from __future__ import annotations

import numpy as np
import pytest

import gradlab


def lstm(activation, radius, replicates=20):
    return gradlab.run(
        {
            "network": {
                "cell": "lstm",
                "hidden": 4,
                "activation": activation,
                "spectrum": {"name": "ginibre", "radius": radius},
            },
            "task": {"name": "noise", "features": 2, "batch": 2, "length": 3},
            "replicates": replicates,
        }
    )


@pytest.mark.parametrize("activation", ["relu", "softplus", "tanh", "identity"])
@pytest.mark.parametrize("radius", [1e180, 1e200, 1e250])
def test_nothing_is_nan_or_infinite_that_has_a_status_of_ok(activation, radius):
    ds = lstm(activation, radius)
    fine = ds.isel(replicate=np.flatnonzero(ds["status"].values.ravel() == 1))
    for name in (
        "log10_state_gradient_norm",
        "log10_gradient_norm",
        "clip_factor",
        "log10_weight_gradient_norm",
    ):
        values = fine[name].values
        assert not np.isnan(values).any(), name
        assert not np.isposinf(values).any(), name


@pytest.mark.parametrize("activation", ["silu", "relu", "gelu"])
def test_every_number_of_an_overflowed_case_is_infinite(activation):
    ds = gradlab.run(
        {
            "network": {
                "hidden": 4,
                "activation": activation,
                "spectrum": {"name": "ginibre", "radius": 1e200},
            },
            "task": {"name": "noise", "features": 2, "batch": 2, "length": 10},
            "replicates": 4,
        }
    )
    gone = ds["status"].values.ravel() == 2
    assert gone.any()
    assert np.isposinf(ds["saturation"].values[gone]).all()
