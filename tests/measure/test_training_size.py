"""What a training is said to take is what it takes, and the bound is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training import trainee

from gradlab.core.errors import UserMistake
from gradlab.learning import learners
from gradlab.measure.history import ORDINARY
from gradlab.measure.train import check_training_memory, training_bytes
from gradlab.measure.trainable import draw_blocks
from gradlab.measure.training import Training, TrainingBlock
from gradlab.measure.training_size import parameter_bytes

MIB = 1 << 20
ADDING = {"name": "adding", "length": 30, "batch": 2}
ADAM, SGD = {"name": "adam", "rate": 0.01}, {"name": "sgd", "rate": 0.01}
SCRIPT = """
import json, re, sys
from pathlib import Path
from training import trainee
from gradlab.learning import learners
from gradlab.measure.history import ORDINARY
from gradlab.measure.train import train, training_bytes
from gradlab.measure.training import Training, TrainingBlock

def peak():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", text).group(1)) * 1024

def block(task, clip, optimiser, network, learner, cases):
    runs = tuple(trainee(task, clip, optimiser, network, replicate=r) for r in range(cases))
    training = Training(2, "linear", 2, evaluate=100)
    return TrainingBlock(runs, training, learners.registry.build(learner, "learner"))

task, clip, optimiser, network, learner, memory = json.loads(sys.argv[1])
tiny = {"name": "noise", "length": 3, "features": 2, "batch": 1}
train(block(tiny, clip, optimiser, {**network, "hidden": 4}, learner, 1))  # loads what it needs
own, before = block(task, clip, optimiser, network, learner, 4), peak()
train(own, memory=memory)
print(json.dumps({"taken": peak() - before, "told": training_bytes(own, ORDINARY, memory)}))
"""
CASES = {
    "optimiser": (ADDING, "off", ADAM, {"hidden": 300}, "bptt", 900 * MIB),
    "samples": (
        {**ADDING, "batch": 20},
        {"name": "per_sample", "threshold": 1.0},
        SGD,
        {"hidden": 128},
        "bptt",
        900 * MIB,
    ),
    "kalman": (ADDING, "off", SGD, {"hidden": 32}, "kalman", 900 * MIB),
    "evaluation": (
        {"name": "noise", "features": 8, "batch": 2, "length": 300, "at": "every"},
        "off",
        SGD,
        {"hidden": 50},
        "bptt",
        900 * MIB,
    ),
    "one case at a time": (
        {"name": "adding", "batch": 20, "length": 300},
        "off",
        SGD,
        {"hidden": 50},
        "bptt",
        40 * MIB,
    ),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize("name", CASES)
def test_what_is_told_is_what_is_taken(name):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CASES[name])],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["told"] <= CASES[name][-1]
    assert got["told"] > 8 * MIB, "more than noise"
    assert 0.3 * got["told"] < got["taken"] < 1.1 * got["told"], (got["taken"] / MIB, got["told"] / MIB)


@pytest.mark.parametrize(
    "network",
    [
        {"hidden": 5},
        {"cell": "lstm", "hidden": 4},
        {"hidden": 4, "layers": 2, "bidirectional": True, "dtype": "float32"},
        {"hidden": 5, "embedding": 3},
        {"cell": "linear_diagonal", "hidden": 4, "spectrum": {"name": "ginibre", "radius": 0.4}},
    ],
)
def test_parameters_are_counted(network):
    case = trainee(ADDING, network=network)
    assert parameter_bytes(case.network, case.task) == sum(block.nbytes for block in draw_blocks([case]))


def told(training=None, clip="off", optimiser=None, learner="bptt", **network):
    case = trainee(ADDING, clip, optimiser, {"hidden": 20, **network})
    training = training or Training(100, records=10, evaluate=1)
    block = TrainingBlock((case,), training, learners.registry.build(learner, "learner"))
    return training_bytes(block, ORDINARY, 900 * MIB)


def test_everything_that_is_kept_counts():
    plain, case = told(), trainee(ADDING, network={"hidden": 20})
    parameters = parameter_bytes(case.network, case.task)
    assert told(optimiser=ADAM) - plain >= 4 * parameters
    quantile = {"name": "quantile", "percentile": 50.0}
    assert told(clip=quantile) - plain >= 8 * 100
    assert told(Training(100_000, records=10, evaluate=1), quantile) - plain >= 8 * 100_000
    assert told(Training(100, records=100, evaluate=1)) - plain >= 8 * 2 * 30 * 40
    assert told(Training(100, records=10, evaluate=100)) - plain > 100 * 30 * 8 * 2
    assert told(learner="kalman") - plain >= 8 * (parameters // 8) ** 2


def test_a_training_that_does_not_fit_is_refused():
    case = trainee(ADDING, network={"hidden": 60})
    block = TrainingBlock((case,), Training(5), learners.registry.build("kalman", "learner"))
    with pytest.raises(UserMistake, match="memory: expected at least"):
        check_training_memory(block, ORDINARY, 100 * MIB)
    check_training_memory(block, ORDINARY, 1000 * MIB)


@pytest.mark.parametrize("updates", [1, 2, 3, 10, 1000])
def test_more_records_than_updates_are_all_updates_and_cost_nothing(updates):
    many = Training(updates, "log", records=10**15).recorded()
    np.testing.assert_array_equal(many, np.arange(updates))
