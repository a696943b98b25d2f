"""Mistakes in overrides, names and filters: one message each, never a traceback or silence."""

from __future__ import annotations

import pytest

from gradlab.cli.flags import entries
from gradlab.core.errors import UserMistake
from gradlab.experiment.sections import CATALOGUES
from gradlab.experiment.spec import Spec, with_settings

BASE = Spec.from_dict({"network": {"hidden": 4}, "task": {"name": "noise", "length": 5}})


@pytest.mark.parametrize(
    "text", ['title="x', "network={", "task=[", 'clip="off', "seed=[", "record=[", 'measure="x']
)
def test_an_unfinished_value(text):
    with pytest.raises(UserMistake, match="TOML"):
        with_settings(BASE, [text])


@pytest.mark.parametrize(
    "texts",
    [
        ["sweep=3", "network.hidden=4"],
        ["sweep=off", "sweep.network.hidden=[1,2]"],
        ["sweep.rename=3", "sweep.rename.network.hidden=size"],
    ],
)
def test_a_sweep_that_is_no_table(texts):
    with pytest.raises(UserMistake, match="sweep"):
        with_settings(BASE, texts)


@pytest.mark.parametrize("key", ["network.layers", "network.embedding"])
def test_sizes_beyond_any_array(key):
    with pytest.raises(UserMistake, match=key):
        with_settings(BASE, [f"{key}=9223372036854775808"])


@pytest.mark.parametrize("name", ["update", "first", "second", "predictor"])
def test_axes_have_no_names_of_dimensions(name):
    table = {**BASE.to_dict(), "sweep": {"network.spectrum.radius": [0.5, 1.0]}}
    table["sweep"]["rename"] = {"network.spectrum.radius": name}
    with pytest.raises(UserMistake, match="an axis name that means nothing else"):
        Spec.from_dict(table)


def test_a_table_of_a_united_sweep_that_its_filter_empties():
    tables = [
        {"network.spectrum.radius": [0.5, 1.0]},
        {"network.spectrum.radius": [3.0], "where": "radius > 4"},
    ]
    with pytest.raises(
        UserMistake, match=r"sweep\[1\].where: expected a filter that leaves a point of its table"
    ):
        Spec.from_dict({**BASE.to_dict(), "sweep": tables})


def test_commas_in_brackets_belong_to_a_value():
    found = entries("clockwork:periods=[1,2,3],elman", "--cell", CATALOGUES["network.cell"])
    assert found == [{"name": "clockwork", "periods": [1, 2, 3]}, "elman"]
