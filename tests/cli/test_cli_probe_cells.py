"""Probes of cells whose recurrent weights are not one square matrix a row block."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Cli

from gradlab.trained import matrices_in


def saved(*shapes: tuple[str, tuple[int, ...]]) -> str:
    """Write inputs and weights of these shapes; return the arguments that name them."""
    stream = np.random.RandomState(1)
    np.save("x.npy", stream.standard_normal((6, 3)))
    np.savez("w.npz", **{name: 0.3 * stream.standard_normal(shape) for name, shape in shapes})
    return "probe w.npz --inputs x.npy --out a --json"


INWARD = ("weight_ih_l0", (4, 3))
RECURRENT = ("weight_hh_l0", (4, 4))


def probed(cli: Cli, given: str) -> dict[str, object]:
    result = cli(*given.split())
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_cell_without_recurrent_weights(cli: Cli):
    given = saved(INWARD, ("diagonal_l0", (4,)), ("rotation_l0", (4,)))
    assert "profile" in probed(cli, f"{given} --cell linear_diagonal")["figures"]
    result = cli("plot", "a", "spectrum", "--outside", ".")
    assert result.exit_code == 2
    assert "figure 'spectrum': expected square recurrent weights, got a cell without them" in result.stderr


def test_the_readout_of_an_output_that_is_fed_back_is_read(cli: Cli):
    given = saved(INWARD, ("weight_hh_l0", (4, 2)), ("weight_ho", (2, 4)), ("bias_o", (2,)))
    assert probed(cli, f"{given} --cell jordan")["network"]["weights"]["readout"] == "weight_ho"
    assert cli("plot", "a", "spectrum", "--outside", ".").exit_code == 2


def test_the_spectrum_is_of_what_multiplies_the_state(cli: Cli):
    given = saved(INWARD, RECURRENT)
    table = probed(cli, f"{given} --cell antisymmetric")
    drawn = np.load("w.npz")["weight_hh_l0"]
    settings = {"network": {"cell": "antisymmetric", "weights": table["network"]["weights"]}}
    (matrix,) = matrices_in(settings).values()
    np.testing.assert_array_equal(matrix, drawn - drawn.T - 0.01 * np.eye(4))


@pytest.mark.parametrize(
    ("cell", "shapes", "said"),
    [
        (
            "clockwork",
            [("weight_ih_l0", (5, 3)), ("weight_hh_l0", (5, 5))],
            "weights.hidden: expected a multiple of 4, the number of clockwork modules, got 5",
        ),
        (
            "linear_diagonal",
            [("weight_ih_l0", (5, 3)), ("diagonal_l0", (5,)), ("rotation_l0", (5,))],
            "weights.hidden: expected an even number for 'linear_diagonal', got 5",
        ),
    ],
)
def test_a_size_that_the_cell_has_not(cli: Cli, cell, shapes, said):
    result = cli(*saved(*shapes).split(), "--cell", cell)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("a").exists()


def test_weights_that_the_cell_has_not(cli: Cli):
    given = saved(INWARD, RECURRENT)
    result = cli(*given.split(), "--cell", "clockwork")
    assert result.exit_code == 2
    assert "weight_hh_l0: expected zeros where 'clockwork' has no weights, got other numbers there" in (
        result.stderr
    )
    arrays = dict(np.load("w.npz"))
    np.savez("w.npz", **(arrays | {"weight_hh_l0": np.triu(arrays["weight_hh_l0"])}))
    assert "profile" in probed(cli, f"{given} --cell clockwork")["figures"]


def test_a_prefix_where_there_is_none(cli: Cli):
    result = cli(*saved(INWARD, RECURRENT).split(), "--prefix", "lstm")
    assert result.exit_code == 2
    assert result.stderr.endswith("got 'lstm'. Nothing does in this file: leave it out.\n")
