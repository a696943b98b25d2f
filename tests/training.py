"""Short ways into training for tests."""

from __future__ import annotations

import numpy as np

from gradlab import tasks
from gradlab.core.errors import UserMistake
from gradlab.learning import clipping, optimisers, schedules
from gradlab.measure.train import check_training_memory, train
from gradlab.measure.training import Trainee
from gradlab.network.settings import NetworkSettings


def trainee(task="noise", clip="off", optimiser=None, network=None, schedule="constant", **keys):
    """Return a case; settings are as in a spec."""
    return Trainee(
        NetworkSettings.build(network or {"hidden": 5}),
        tasks.registry.build(task, "task"),
        clipping.registry.build(clip, "clip"),
        optimisers.registry.build(optimiser or {"name": "sgd", "rate": 0.1}, "optimiser"),
        schedules.registry.build(schedule, "schedule"),
        **keys,
    )


def copied(state):
    return {name: values.copy() for name, values in state.items()}


def last_state(block, record=(), **options):
    """Return the state at the end of a training."""
    kept = []
    train(block, record, checkpoint=lambda state: kept.append(copied(state)), every=1e9, **options)
    return kept[-1]


def tight(block, record):
    """Return about the least memory that a block can be trained with."""
    memory = 1 << 12
    while True:
        try:
            check_training_memory(block, record, memory)
        except UserMistake:
            memory += memory // 8
        else:
            return memory


def assert_same(one, other, where=""):
    """Assert that two dicts of arrays are the same, bit for bit."""
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype, (where, name)
        assert values.tobytes() == np.ascontiguousarray(other[name]).tobytes(), (where, name)
