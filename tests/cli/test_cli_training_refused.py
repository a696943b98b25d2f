"""Trainings and landscapes that cannot be: one clear message, exit code 2, and nothing is left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import Cli

from gradlab.measure import training_block

TASK = 'name = "temporal_order"\nlength = 10\nbatch = 2'
SERIES = 'name = "series"\nfile = "series.csv"\ncolumn = "v"\nlength = 4\nbatch = 2'


def spec(task: str = TASK, how: str = "", network: str = "", rest: str = "", top: str = "") -> str:
    return f"""{top}
measure = "train"
[network]
hidden = 3
{network}
[task]
{task}
[training]
updates = 10
{how}
{rest}
"""


def landscape(first: str, second: str, network: str = "") -> str:
    return f"""
measure = "landscape"
[network]
hidden = 4
{network}
[task]
name = "noise"
length = 5
batch = 2
[landscape]
first = {{ {first}, start = 0.0, stop = 1.0, num = 3 }}
second = {{ {second}, start = 0.0, stop = 1.0, num = 3 }}
"""


FIRST, SECOND = (f'parameter = "weight_hh_l0", entry = [0, {i}]' for i in (0, 1))
PER_SAMPLE = '[clip]\nname = "per_sample"\nthreshold = 1.0\n[learner]\nname = "{}"'
ADJOINT = '[clip]\nname = "adjoint_value"\nthreshold = 1.0\n'

MISTAKES = {
    "rate below 0": (
        spec(how='optimiser = { name = "sgd", rate = -0.1 }'),
        "training.optimiser.rate: expected a finite number above 0, got -0.1. "
        "The learning rate multiplies every step.",
    ),
    "rate 0 on an axis": (
        spec(rest='[sweep]\n"training.optimiser.rate" = [0.1, 0.0]'),
        "training.optimiser.rate: expected a finite number above 0, got 0.0. "
        "The learning rate multiplies every step. This is so at rate=0.0; 1 of 2 grid points.",
    ),
    "schedule ends before the run": (
        spec(how='schedule = { name = "cosine", span = 5 }'),
        "training.schedule.span: expected at least the 10 updates of the run, got 5. "
        "Leave span out, or make at most 5 updates.",
    ),
    "schedule ends before the run at one point": (
        spec(rest='[sweep]\n"training.schedule" = ["constant", { name = "cosine", span = 9 }]'),
        "training.schedule.span: expected at least the 10 updates of the run, got 9.",
    ),
    "no updates": (
        spec().replace("updates = 10", "updates = 0"),
        "training.updates: expected an integer of at least 1, got 0",
    ),
    "unknown setting": (
        spec(how="optimizer = 1"),
        "training.optimizer: expected a setting of the training, got 'optimizer'. Did you mean 'optimiser'?",
    ),
    "loss of classes for a number": (
        spec('name = "adding"\nlength = 30\nbatch = 2\nloss = "cross_entropy"'),
        'task.loss: expected "mse" or "unit", got \'cross_entropy\'. What it asks for is a number.',
    ),
    "loss of numbers for classes": (spec(f'{TASK}\nloss = "mse"'), "task.loss: expected"),
    "outputs of the task's own": (
        spec(f"{TASK}\noutputs = 3"),
        "task.outputs: expected a setting of 'temporal_order', got 'outputs'.",
    ),
    "softmax of one output": (
        spec('name = "adding"\nlength = 30\nbatch = 2', network='output = "softmax"'),
        "network.output: expected another activation of the readout for the one output of 'adding', "
        "got softmax. The softmax of a single output is 1, whatever the network does.",
    ),
    "text with one symbol": (
        spec('name = "characters"\nfile = "one.txt"\nlength = 10\nbatch = 2'),
        "task.file: expected a text of at least 2 different characters, got 200 characters, all of them 'a'",
    ),
    "no criterion": (
        spec('name = "noise"\nlength = 5\nbatch = 2', how="stop_when_solved = true"),
        "training.stop_when_solved: expected false for a task without a criterion of success, got true for "
        "'noise'.",
    ),
    "no criterion of a series": (
        spec(SERIES, how="stop_when_solved = true"),
        "training.stop_when_solved: expected false for a task without a criterion of success",
    ),
    "unit loss": (
        spec('name = "noise"\nlength = 5\nbatch = 2\nloss = "unit"'),
        "task.loss: expected a loss that can be trained, got 'unit'. It carries a random vector back in "
        "time, for probes.",
    ),
    "single samples without them": (
        spec(rest=PER_SAMPLE.format("rtrl")),
        "clip: expected a rule that needs no gradients of single samples with the learner 'rtrl', got "
        "per_sample. Only the learner 'bptt' makes those.",
    ),
    "adjoints without them": (
        spec(rest=f'{ADJOINT}[learner]\nname = "truncated"\nwindow = 3'),
        "clip: expected a rule on the gradient, or 'off', with the learner 'truncated', got adjoint_value.",
    ),
    "regulariser beside adjoints that are clipped": (
        spec(how="omega = 0.5", rest=ADJOINT),
        "training.omega: expected 0 beside a rule on adjoints or another learner, got 0.5.",
    ),
    "regulariser of a network that has none": (
        spec(how="omega = 0.5", network='cell = "lstm"'),
        "training.omega: expected",
    ),
    "rtrl of two layers": (
        spec(network="layers = 2", rest='[learner]\nname = "rtrl"'),
        "learner: expected a network of one layer in one direction of time for 'rtrl', got 2 layers.",
    ),
    "a filter beside a clip rule": (
        spec(SERIES, rest='[clip]\nname = "norm"\nthreshold = 1.0\n[learner]\nname = "kalman"'),
        "clip: expected 'off' with the learner 'kalman', got norm. It has no gradient that could be clipped; "
        "its gain makes the step.",
    ),
    "a filter of classes": (
        spec(rest='[learner]\nname = "kalman"'),
        "task.loss: expected 'mse' for the learner 'kalman', got 'cross_entropy'. It takes outputs for "
        "targets with normal noise; classes are not that.",
    ),
    "a section of a landscape": (
        spec(rest="[landscape]\nupdates = 3"),
        "landscape: expected a section that the measure 'train' reads, got 'landscape'. It belongs to "
        "measure = 'landscape'.",
    ),
    "a record of a probe": (
        spec(top='record = ["growth_rate"]'),
        "record: expected a record of the measure 'train', got growth_rate. Known: baseline, chance, ",
    ),
    "training in a probe": (
        spec().replace('measure = "train"', ""),
        "training: expected a section that the measure 'probe' reads, got 'training'. It belongs to "
        "measure = 'train'.",
    ),
    "unknown measure": (
        spec().replace('"train"', '"trian"'),
        "measure: expected",
    ),
    "landscape over a layer that is not there": (
        landscape('parameter = "weight_hh_l3", entry = [0, 0]', SECOND),
        "landscape.first.parameter: expected a parameter that the network has, got weight_hh_l3. Did you "
        "mean 'weight_hh_l0'?",
    ),
    "landscape over no parameter": (
        landscape(FIRST, 'parameter = "steepness", entry = [0, 0]'),
        "landscape.second.parameter: expected the name of a parameter, got 'steepness'.",
    ),
    "landscape beyond a parameter": (
        landscape(FIRST, 'parameter = "weight_hh_l0", entry = [0, 9]'),
        "landscape.second.entry: expected a place in weight_hh_l0, which has 4 rows and 4 columns, "
        "got [0, 9]",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_clear_message_and_nothing_runs(name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    text, message = MISTAKES[name]
    Path("one.txt").write_text("a" * 200)
    Path("series.csv").write_text("v\n" + "\n".join(str(i % 7) for i in range(60)) + "\n")
    Path("spec.toml").write_text(text)
    monkeypatch.setattr(training_block, "train", None)
    for command in (("run", "spec.toml", "-o", "a", "--workers", 1, "--no-figures"), ("plan", "spec.toml")):
        result = cli(*command)
        assert result.exit_code == 2, result.stdout
        told = re.sub(r"\s+", " ", result.stderr)
        assert f"Error: {message}" in told
        assert "Traceback" not in told
        assert told.count("Error: ") == 1, told
        assert result.stdout == ""
    assert not Path("a").exists()


def test_the_base_of_the_mistakes_is_none(cli: Cli) -> None:
    """What they are made of runs: each is refused for what is changed in it."""
    Path("series.csv").write_text("v\n" + "\n".join(str(i % 7) for i in range(60)) + "\n")
    filtered = spec(SERIES, rest='[learner]\nname = "kalman"\ngroups = "unit"')
    for number, text in enumerate((spec(), spec(SERIES), filtered, landscape(FIRST, SECOND))):
        Path("spec.toml").write_text(text)
        rest = ("--workers", 1, "--no-figures", "--quiet")
        result = cli("run", "spec.toml", "-o", f"a{number}", *rest)
        assert result.exit_code == 0, result.stderr
