"""An archive as gradlab 0.1 wrote it, of schema 1: read, drawn, verified, extended.

``tests/data/archive-of-schema-1.zip`` holds its directory: the spec `BASE` of test_archive_extend, of which
the cases of radius 1.5 and replicate 1 were made to fail.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_archive_extend import BASE, assert_close, axes, measured, planned

import gradlab
from gradlab.archive.merge import merge
from gradlab.archive.reading import read_failures
from gradlab.archive.variables import KEYS, STATUS
from gradlab.archive.verify import check_structure
from gradlab.core.errors import UserMistake
from gradlab.drawing import draw_figures
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import Spec

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def old(tmp_path):
    with zipfile.ZipFile(DATA / "archive-of-schema-1.zip") as packed:
        packed.extractall(tmp_path / "old")
    return tmp_path / "old"


def test_it_is_one(old):
    assert json.loads((old / "archive.json").read_text())["schema"] == 1
    names = {p.parent.name for p in (old / "data.zarr").glob("*/zarr.json")}
    assert "case_key" in names
    assert not {"settings_key", "code_key"} & names
    assert not (old / "manifest.json").exists()


def test_it_opens_with_the_numbers_of_today(old):
    assert not check_structure(old)
    ds = gradlab.open_archive(old).load()
    assert ds["status"].values.ravel().tolist() == [1, 1, 1, 1, 1, 4, 1, 4]
    today = gradlab.run(BASE)
    ran, apart = xr.DataArray(ds["status"].values == STATUS["ok"], dims=ds["status"].dims), [*KEYS, "status"]
    assert_close(ds.drop_vars(apart, errors="ignore").where(ran), today.drop_vars(apart).where(ran))
    np.testing.assert_array_equal(ds["case_key"].values, today["settings_key"].values)  # as it was called


def test_its_failures_are_read(old):
    found = read_failures(old)
    assert [entry["index"] for entry in found] == [[1, 0, 1], [1, 1, 1]]
    assert all(entry["error"].endswith("RuntimeError: on purpose\n") for entry in found)
    assert {entry["settings"]["replicate"] for entry in found} == {1}


def test_it_is_shown_and_drawn(old):
    from typer.testing import CliRunner

    from gradlab.cli.main import app

    shown = CliRunner().invoke(app, ["show", str(old)])
    assert shown.exit_code == 0, shown.output
    assert "Of 8 cases" in shown.stdout
    drawn = draw_figures(old, ["profile", "phase"], ["svg"])
    assert all(isinstance(files, list) for files in drawn.values()), drawn


def test_what_is_lacking_is_measured_only_when_its_unknown_code_is_accepted(old):
    finer = axes(radius=[0.5, 1.0, 1.5])
    counts = planned(finer, old)
    assert [counts[key] for key in ("cases", "there", "failed", "new", "older")] == [12, 6, 2, 4, 6]
    with pytest.raises(UserMistake, match=r"6 of 6 measured by other code.*--accept-older-code"):
        gradlab.run(finer, old)
    assert json.loads((old / "archive.json").read_text())["schema"] == 1
    assert measured(finer, old, accept_older_code=True) == 6
    ds, whole = gradlab.open_archive(old).load(), gradlab.run(finer)
    keys = ["case_key", "code_key"]
    assert_close(ds.drop_vars(keys), whole.drop_vars(keys))
    known = ds["code_key"].values != ""
    assert known.sum() == 6
    assert (ds["case_key"].values[known] == whole["case_key"].values[known]).all()
    assert json.loads((old / "archive.json").read_text())["schema"] == 3
    assert not (old / "failures.jsonl").exists()


def test_keys_of_settings_are_those_of_then(old):
    keys = expand(Spec.from_dict(BASE)).settings_keys()
    assert set(keys.ravel()) == set(gradlab.open_archive(old)["case_key"].values.ravel())


def test_it_is_not_merged_as_it_is_and_nothing_is_left(old, tmp_path):
    shutil.copytree(old, tmp_path / "other")
    with pytest.raises(UserMistake, match=r"schema 2 or later\), got an older one"):
        merge([old, tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
