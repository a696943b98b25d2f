"""Every spec in experiments/ is valid, documented and runs; a new file there is tested by being there."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import gradlab

FOLDER = Path(__file__).parents[2] / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_there_are_experiments() -> None:
    assert {"spectral-sweep", "thousand-steps", "all-ones", "lstm-by-hand"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_small_it_runs_without_a_failed_case(
    name: str,
    thinned: Callable[[str], gradlab.Spec],
    failures: Callable[[gradlab.Spec], list[str]],
) -> None:
    assert failures(thinned(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_asks_and_the_readme_what_to_expect(name: str) -> None:
    spec = gradlab.load_spec(FOLDER / f"{name}.toml")
    assert spec.title
    assert spec.question.endswith("?")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert len(section[1].split()) > 30
    assert f"[{name}](#{name})" in text


def test_the_readme_describes_no_experiment_that_is_not_there() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (\S+)$", text, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_elsewhere_asks_for_the_same_cases(name: str, tmp_path: Path) -> None:
    from gradlab.experiment.grid import expand

    for path in [FOLDER / f"{name}.toml", *(FOLDER / "data").iterdir()]:
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    here, there = (expand(gradlab.load_spec(folder / f"{name}.toml")) for folder in (FOLDER, tmp_path))
    assert (here.settings_keys() == there.settings_keys()).all()
    for axis, other in zip(here.axes, there.axes, strict=True):
        assert {name: list(c) for name, c in axis.coordinates.items()} == {
            name: list(c) for name, c in other.coordinates.items()
        }


def test_the_main_job_is_the_one_described() -> None:
    with (FOLDER / "spectral-sweep.toml").open("rb") as handle:
        table = tomllib.load(handle)
    assert table["replicates"] == 8
    assert table["network"]["hidden"] == 64
    assert table["task"] == {
        "name": "noise", "features": 8, "batch": 32, "length": 200, "loss": "mse", "at": "final"
    }  # fmt: skip
    assert {key: len(axis) for key, axis in table["sweep"].items() if isinstance(axis, list)} == {
        "network.activation": 4,
        "task.length": 4,
        "clip": 3,
    }
    assert table["sweep"]["network.spectrum.radius"] == {"start": 0.5, "stop": 1.5, "num": 21}


def test_the_sunspots_are_the_record_of_309_years() -> None:
    lines = (FOLDER / "data" / "sunspots-yearly.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "year,sunspots,shuffled"
    years, record, shuffled = zip(*(line.split(",") for line in lines[1:]), strict=True)
    assert [int(year) for year in years] == list(range(1700, 2009))
    assert (record[0], record[-1]) == ("5", "2.9")
    assert max(zip(map(float, record), years, strict=True)) == (190.2, "1957")
    order = list(record)
    random.Random(1700).shuffle(order)
    assert order == list(shuffled)
