"""What is said of weights and inputs that cannot be probed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import DATA, Cli

import gradlab
from gradlab.core.errors import UserMistake

#: What is given beside the weights, and what is said of it.
MISTAKES = {
    "text in a csv": (
        "--inputs bad.csv",
        "--inputs: expected a finite number in every place, got 'oops' in line 3, column 2",
    ),
    "a hole in a csv": (
        "--inputs bad.csv",
        "got a hole in line 4, column 3",
    ),
    "a short line": (
        "--inputs bad.csv",
        "--inputs: expected 3 columns in every line, got 2 in line 5",
    ),
    "an empty csv": (
        "--inputs empty.csv",
        "which has none",
    ),
    "features": (
        "--inputs wide.npy",
        (
            "--inputs: expected shape (length, 3) or (length, batch, 3), 3 being the features, got "
            "shape (4, 5)"
        ),
    ),
    "NaN inputs": (
        "--inputs nan.npy",
        "--inputs: expected finite numbers of float64, got NaN or infinity",
    ),
    "pickled inputs": (
        "--inputs object.npy",
        (
            "--inputs: expected a .npy or .csv file of shape (length, features), or a .npy file "
            "(length, batch, features), got an array of Python objects"
        ),
    ),
    "no inputs": (
        "--inputs none.npy",
        "--inputs: expected a .npy or .csv file of shape",
    ),
    "targets": (
        "--inputs x.npy --targets wide.npy",
        "targets: expected finite numbers of shape (1, 3, 2)",
    ),
    "no targets": (
        "--inputs x.npy --loss mse",
        "--targets: expected what the loss 'mse' compares with, got nothing",
    ),
    "no classes": (
        "--inputs x.npy --targets y.npy --loss cross_entropy",
        "--targets: expected integer classes",
    ),
    "a loss": (
        "--inputs x.npy --loss msee",
        "--loss: expected the name of a known loss, got 'msee'. Did you mean 'mse'?",
    ),
    "at": (
        "--inputs x.npy --at 7",
        "--at: expected",
    ),
    "several": (
        "--inputs x.npy --clip norm:1,norm:2",
        "--clip: expected one value: a probe has a single case",
    ),
    "a record": (
        "--inputs x.npy --record loss,los",
        "--record: expected the name of a record, got 'los'",
    ),
    "no readout": (
        "--inputs x.npy --targets y.npy --readout none",
        "--readout: expected a linear layer with 4 inputs, for the loss 'mse', got none",
    ),
    "a prefix": (
        "--inputs x.npy --prefix gru",
        "--prefix: expected what stands before a name such as weight_hh_l0, got 'gru'",
    ),
    "a cell": (
        "--inputs x.npy --cell gru",
        ("model.lstm.weight_hh_l0: expected shape (3 * hidden, hidden) for 'gru', got shape (16, 4)"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_a_line_each_and_nothing_is_written(files: Cli, name: str) -> None:
    arguments, message = MISTAKES[name]
    Path("bad.csv").write_text("a,b,c\n1,2,3\n4,oops,6\n7,8,\n1,2\n")
    Path("empty.csv").write_text("a,b,c\n")
    np.save("wide.npy", np.ones((4, 5)))
    np.save("nan.npy", np.full((4, 3), np.nan))
    np.save("object.npy", np.array([[None]]), allow_pickle=True)
    result = files("probe", "trained.safetensors", *arguments.split(), "--out", "a")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not Path("a").exists()


def test_problems_of_weights_and_inputs_are_told_together(files: Cli) -> None:
    Path("broken.safetensors").write_bytes(Path("trained.safetensors").read_bytes()[:100])
    result = files("probe", "broken.safetensors", "--inputs", "none.npy", "--record", "nothing")
    lines = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["WEIGHTS", "--inputs", "--record"]


def test_python_raises_the_same_mistakes() -> None:
    with pytest.raises(UserMistake, match=r"inputs: expected shape \(length, 3\)"):
        gradlab.probe(DATA / "lstm.safetensors", np.ones((4, 2)))
    with pytest.raises(UserMistake, match=r"inputs: expected .* got an array of dtype <U1"):
        gradlab.probe(DATA / "lstm.safetensors", np.array([["a"]]))
