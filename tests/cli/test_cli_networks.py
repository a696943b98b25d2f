"""Mistakes about networks and learners: one message that says what to do, exit code 2, and nothing run."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Cli

ONE = """
[network]
hidden = 4
[task]
name = "noise"
features = 3
batch = 2
length = 5
"""

MISTAKES = {
    "periods that do not divide": (
        ('network.cell={name="clockwork",periods=[1,2,4]}',),
        "network.hidden: expected a multiple of 3, the number of clockwork modules, got 4. "
        "Take another size, or give as many periods as fit (cell.periods).",
    ),
    "periods in disorder": (
        ('network.cell={name="clockwork",periods=[4,2]}',),
        "network.cell.periods: expected at least one period, strictly increasing, got [4, 2]. "
        "As in [1, 2, 4, 8].",
    ),
    "no layers": (("network.layers=0",), "network.layers: expected an integer of at least 1, got 0"),
    "half a direction": (
        ('network.bidirectional="yes"',),
        "network.bidirectional: expected true or false, got 'yes'",
    ),
    "an empty window": (
        ('learner={name="truncated",window=0}',),
        "learner.window: expected an integer of at least 1, got 0",
    ),
    "no window": (
        ('learner="truncated"',),
        "learner.window: expected a value, got nothing. 'truncated' needs it.",
    ),
    "a window with gaps": (
        ('learner={name="truncated",window=3,every=4}',),
        "learner.every: expected at most the window, 3, got 4. The losses of all time steps since the last "
        "time must lie within the window.",
    ),
    "a learner of one layer for two": (
        ('learner="rtrl"', "network.layers=2"),
        "learner: expected a network of one layer in one direction of time for 'rtrl', got 2 layers. "
        "The learner 'bptt' fits every network.",
    ),
    "a learner of one direction for two": (
        ('learner="uoro"', "network.bidirectional=true"),
        "learner: expected a network of one layer in one direction of time for 'uoro', got a bidirectional "
        "network. The learner 'bptt' fits every network.",
    ),
    "a window for both directions": (
        ('learner={name="truncated",window=3}', "network.bidirectional=true"),
        "learner: expected a learner for both directions of time, such as 'bptt', got truncated. "
        "The reverse direction has seen the end of the sequence before the first loss.",
    ),
    "a learner that does not fit the cell": (
        ('learner="snap1"', 'network.cell="jordan"'),
        "learner: expected a cell that feeds its state back for 'snap1', got the cell 'jordan'. "
        "A parameter of a readout that is fed back moves every unit within one time step.",
    ),
    "a learner for training": (
        ('learner="kalman"',),
        "learner: expected a learner that makes a gradient, got 'kalman', which is for training. "
        "A probe measures the gradient of weights that stand still.",
    ),
    "an unknown learner": (
        ('learner="rtlr"',),
        "learner.name: expected the name of a known learner, got 'rtlr'. Did you mean 'rtrl'?",
    ),
    "two layers around an output": (
        ('network.cell="jordan"', "network.layers=2"),
        "network.layers: expected 1 for the cell 'jordan', which feeds its output back, got 2",
    ),
    "an embedding of no size": (
        ("network.embedding=0",),
        "network.embedding: expected an integer of at least 1, got 0",
    ),
    "an unknown output": (
        ('network.output="softmaxx"',),
        "network.output: expected an activation of the readout, got 'softmaxx'. Did you mean 'softmax'?",
    ),
    "an unknown cell": (
        ('network.cell="grru"',),
        "network.cell: expected the name of a known cell, got 'grru'. Did you mean 'gru'?",
    ),
    "half a pair": (
        ('network.cell="linear_diagonal"', "network.hidden=5"),
        "network.hidden: expected an even number for 'linear_diagonal', got 5. "
        "Units are the real and imaginary parts of complex numbers; take 6.",
    ),
}


KALMAN = (
    "expected a learner that makes a gradient, got 'kalman', which is for training. "
    "A probe measures the gradient of weights that stand still.",
    "expected a readout of identity, logistic or relu for 'kalman', got output = 'softmax'. "
    "The filter takes outputs for targets with normal noise; probabilities are not that.",
)
FLAGS = {
    "--hidden 6 --cell clockwork": "--hidden: expected a multiple of 4, the number of clockwork modules, "
    "got 6. Take another size, or give as many periods as fit (cell.periods).",
    "--layers 0": "--layers: expected an integer of at least 1, got 0",
    "--learner truncated:0": "--learner.window: expected an integer of at least 1, got 0",
    "--learner truncated": "--learner.window: expected a value, got nothing. 'truncated' needs it.",
    "--learner rtlr": "--learner: expected the name of a known learner, got 'rtlr'. Did you mean 'rtrl'?",
    "--learner rtrl --layers 2": "--learner: expected a network of one layer in one direction of time for "
    "'rtrl', got 2 layers. The learner 'bptt' fits every network.",
    "--learner kalman": f"--learner: {KALMAN[0]}",
    "--cell jordan --layers 2": "--layers: expected 1 for the cell 'jordan', which feeds its output back, "
    "got 2",
    "--set network.embedding=0": "network.embedding: expected an integer of at least 1, got 0",
    "--learner rtrl --hidden 400": "memory: expected at least 32283 MiB for cases of this size, got "
    "1024 MiB. The learner 'rtrl' alone takes 32032 MiB a case for 400 hidden units; the largest size that "
    "fits is 113.",
}


def settings(*given: str) -> list[str]:
    return [part for one in given for part in ("--set", one)]


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_one_message_and_nothing_run(command: str, mistake: str, cli: Cli) -> None:
    given, message = MISTAKES[mistake]
    Path("one.toml").write_text(ONE)
    out = ("--out", "o") if command == "run" else ()
    result = cli(command, "one.toml", *out, *settings(*given))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"Error: {message}\n"
    assert not Path("o").exists()


@pytest.mark.parametrize("flags", FLAGS)
def test_the_same_from_flags(flags: str, cli: Cli) -> None:
    result = cli("sweep", *flags.split(), "--out", "o", "--workers", 1)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"Error: {FLAGS[flags]}\n"
    assert not Path("o").exists()


def test_a_filter_has_no_place_in_a_probe_and_none_before_a_softmax(cli: Cli) -> None:
    Path("one.toml").write_text(ONE)
    given = settings('learner="kalman"', 'network.output="softmax"')
    result = cli("run", "one.toml", "--out", "o", *given)
    assert result.exit_code == 2
    assert sorted(result.stderr.splitlines()) == [f"Error: learner: {message}" for message in KALMAN]
    assert not Path("o").exists()


def test_all_mistakes_at_once(cli: Cli) -> None:
    Path("one.toml").write_text(ONE)
    given = settings('network.cell="jordan"', "network.layers=2", "network.embedding=0", "task.length=0")
    result = cli("run", "one.toml", "--out", "o", *given)
    assert result.exit_code == 2
    places = [line.split(":")[1].strip() for line in result.stderr.splitlines()]
    assert sorted(places) == ["network.embedding", "network.layers", "task.length"]


def test_a_learner_that_fits_one_network_of_a_sweep_and_not_another(cli: Cli) -> None:
    Path("one.toml").write_text(f'{ONE}[sweep]\n"network.layers" = [1, 2]\nlearner = ["bptt", "rtrl"]\n')
    result = cli("run", "one.toml", "--out", "o")
    assert result.exit_code == 2
    assert "for 'rtrl', got 2 layers" in result.stderr
    assert result.stderr.count("Error") == 1
    with Path("one.toml").open("a") as spec:
        spec.write("where = \"learner == 'bptt' or layers == 1\"\n")
    assert cli("plan", "one.toml").exit_code == 0


def test_sensitivities_beyond_the_memory_name_their_size_and_the_largest_that_fits(cli: Cli) -> None:
    Path("one.toml").write_text(ONE)
    bound = ("--workers", 1, "--memory", "300MiB")  # of which 60 for buffers
    given = ("one.toml", *settings('learner="rtrl"', "network.hidden=400"), *bound)
    result = cli("run", *given, "--out", "o")
    assert result.exit_code == cli("plan", *given).exit_code == 2
    assert not Path("o").exists()
    (message,) = result.stderr.splitlines()
    assert cli("plan", *given).stderr == result.stderr
    assert message.startswith("Error: memory: expected at least ")
    assert "The learner 'rtrl' alone takes " in message
    assert " MiB a case for 400 hidden units; the largest size that fits is " in message
    largest = int(message.rpartition("is ")[2].rstrip("."))
    assert 80 < largest < 130  # the cube root of 60 MiB over 32 bytes is 125
    for hidden, code in ((largest, 0), (largest + 1, 2)):
        given = ("one.toml", *settings('learner="rtrl"', f"network.hidden={hidden}"), *bound)
        assert cli("plan", *given).exit_code == code
