"""What differs between two archives: settings, cases, numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checked_sweep import SPEC

import gradlab
from gradlab.checking import diff
from gradlab.cli.checked import difference_lines, difference_table
from gradlab.core.errors import UserMistake

Rewritten = Callable[[Path, str, Callable[[np.ndarray], object]], None]


def test_an_archive_equals_itself_packed(sound: Path, sound_zip: Path) -> None:
    found = diff(sound, sound_zip)
    assert found.equal
    assert (found.settings, found.only, found.common, found.records) == ({}, ([], []), 16, ((), ()))
    assert all((one.identical, one.within, one.different) == (16, 0, 0) for one in found.variables)
    assert found.code == 0


def test_a_title_makes_no_case_different(sound: Path, tmp_path: Path) -> None:
    gradlab.run({**SPEC, "title": "Other", "memory": "2GiB"}, tmp_path / "b")
    found = diff(sound, tmp_path / "b")
    assert found.equal
    assert found.settings["title"] == ("Two [bold]cells[/bold]", "Other")
    assert set(found.settings) == {"title", "memory"}


def test_cases_of_only_one_and_the_order_of_axes(sound: Path, tmp_path: Path) -> None:
    sweep = dict(reversed(SPEC["sweep"].items()))
    sweep["network.spectrum.radius"] = [2.0, 3.0]
    gradlab.run({**SPEC, "sweep": sweep}, tmp_path / "b")
    found = diff(sound, tmp_path / "b")
    assert not found.equal
    assert found.common == 8
    assert [len(one) for one in found.only] == [8, 8]
    assert {at["radius"] for at in found.only[0]} == {0.5}
    assert {at["radius"] for at in found.only[1]} == {3.0}
    assert all(one.identical == 8 for one in found.variables)
    assert found.settings["sweep.network.spectrum.radius"] == ([0.5, 2.0], [2.0, 3.0])


def test_the_worst_variable_comes_first(sound: Path, whole: Path, rewritten: Rewritten) -> None:
    def little(values: np.ndarray) -> None:
        values[0, 0, 0, 0] += 1e-9

    changed = []

    def much(values: np.ndarray) -> None:
        changed.append(float(values[1, 1, 0, 1]))
        values[1, 1, 0, 1] += 2.0

    rewritten(whole, "loss", little)
    rewritten(whole, "growth_rate", much)
    found = diff(sound, whole)
    assert [one.name for one in found.variables[:2]] == ["growth_rate", "loss"]
    (before,) = changed
    apart = 2.0 / (1.0 + max(abs(before), abs(before + 2.0)))
    assert found.variables[0].worst == pytest.approx(apart, rel=1e-12)
    assert found.variables[0].at == {"cell": "lstm", "radius": 2.0, "clip": "off", "replicate": 1}
    assert [one.different for one in found.variables[:3]] == [1, 1, 0]
    assert not found.equal
    near = diff(sound, whole, tolerance=1e-6)
    assert [(one.within, one.different) for one in near.variables[:2]] == [(0, 1), (1, 0)]
    assert diff(sound, whole, tolerance=10.0).equal


def test_records_of_only_one(sound: Path, tmp_path: Path) -> None:
    gradlab.run({**SPEC, "record": ["loss"]}, tmp_path / "b")
    found = diff(sound, tmp_path / "b")
    assert not found.equal
    assert "growth_rate" in found.records[0]
    assert found.records[1] == ()
    assert "loss" in {one.name for one in found.variables}


def test_archives_of_different_measures_have_no_case_in_common(sound: Path, tmp_path: Path) -> None:
    training = {"task": {"name": "adding", "length": 22, "batch": 2}, "training": {"updates": 2}}
    gradlab.run({"measure": "train", "network": {"hidden": 2}, **training}, tmp_path / "b")
    found = diff(sound, tmp_path / "b")
    assert (found.measures, found.equal, found.common) == (("probe", "train"), False, 0)
    assert [len(one) for one in found.only] == [16, 1]
    assert found.variables == ()
    first = difference_lines(found, Path("a"), Path("b"))[0]
    expected = (
        "Archives of different measures have no case in common: a measures 'probe', b measures 'train'."
    )
    assert first == expected
    assert difference_table(found)["measures"] == ["probe", "train"]


@pytest.mark.parametrize(
    "sweep",
    [
        {"network.cell": ["elman"]},
        {"network.cell": ["gru"], "network.layers": [1]},
        {"network.cell": ["lstm", "gru", "elman"], "network.bidirectional": [False]},
        {"network.cell": ["elman"], "task.length": [4]},
    ],
)
def test_the_same_cases_in_a_narrower_sweep_are_equal(tmp_path: Path, sweep: dict[str, Any]) -> None:
    base = {"network": {"hidden": 3}, "task": {"name": "noise", "features": 2, "batch": 2, "length": 4}}
    wide = {
        "network.cell": ["elman", "gru", "lstm"],
        "network.layers": [1, 2],
        "network.bidirectional": [False, True],
        "task.length": [4, 6],
    }
    gradlab.run({**base, "sweep": wide}, tmp_path / "wide")
    gradlab.run({**base, "sweep": sweep}, tmp_path / "narrow")
    for one, other in (("wide", "narrow"), ("narrow", "wide")):
        found = diff(tmp_path / one, tmp_path / other)
        assert found.common == len(sweep["network.cell"])
        assert all(one.identical == found.common for one in found.variables), found.variables[0]


def test_what_is_no_archive(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="nothing"):
        diff(sound, tmp_path / "none")
