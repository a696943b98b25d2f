"""A probe of a task whose samples have lengths of their own measures what training measures."""

from __future__ import annotations

import numpy as np
import pytest
from engine import block, clip
from training import trainee

from gradlab.measure.probe import probe
from gradlab.measure.train import train
from gradlab.measure.training import Training, TrainingBlock

NAMES = (
    "loss",
    "log10_gradient_norm",
    "log10_clipped_gradient_norm",
    "log10_state_gradient_norm",
    "saturation",
)
TASKS = (
    {"name": "adding", "length": 30, "batch": 4},
    {"name": "adding", "length": 30, "batch": 4, "variant": "mean"},
    {"name": "temporal_order", "length": 24, "batch": 4},
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task['name']}-{task.get('variant', '')}")
def test_a_probe_is_the_first_update(task):
    rule = {"name": "norm", "threshold": 1e-3}
    cases = [trainee(task, rule, network={"hidden": 5}, seed=4, replicate=r) for r in (0, 1)]
    trained = train(TrainingBlock(tuple(cases), Training(1, records=1, evaluate=1)), NAMES)
    one = cases[0]
    measured = probe(block([one.network], [(one.task, clip(**rule))], 4, (0, 1)), NAMES)
    for name in NAMES:
        values = measured[name][:, 0]
        values = values[:, 0, 0] if values.ndim == 4 else values
        np.testing.assert_allclose(trained[name][:, 0], values, rtol=1e-12, atol=0, err_msg=name)


def test_samples_that_are_not_looked_at_yet_have_no_adjoint():
    one = trainee(TASKS[0], seed=4)
    weight = one.task.weight(0, one.task.steps, 4, 0)
    assert weight.shape == (one.task.steps, 4)
    assert len(set(weight.argmax(axis=0).tolist())) > 1, "lengths must differ"
    first = weight[::-1].any(axis=1).argmax()
    profile = probe(block([one.network], [(one.task, clip())], 4, (0,)), ("log10_state_gradient_norm",))
    values = profile["log10_state_gradient_norm"][0, 0, 0, 0]
    assert np.isneginf(values[: one.task.lags - one.task.steps + first]).all()
    assert np.isfinite(values[first + one.task.lags - one.task.steps]).all()
