"""What simple predictors reach, in archives: of several tasks, extended, and of before it was kept.

``tests/data/archive-of-schema-2.zip`` holds the directory of a run of `BASE` by the gradlab of then.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_archive_extend import assert_close, assert_same, measured, planned

import gradlab
from gradlab import tasks
from gradlab.archive.verify import check_structure
from gradlab.checking import verify
from gradlab.core.errors import UserMistake

DATA = Path(__file__).parents[1] / "data"
BASE = {
    "title": "Older",
    "measure": "train",
    "replicates": 2,
    "network": {"hidden": 3},
    "task": {"name": "temporal_order", "length": 10, "batch": 2},
    "training": {
        "updates": 3,
        "optimiser": {"name": "adam", "rate": 0.01},
        "records": 2,
        "evaluate": 5,
    },
}
ORDER = {"name": "temporal_order", "length": 10, "batch": 2}
REVIEWS = {"name": "sentiment", "batch": 2}
NOISE = {"name": "noise", "features": 2, "batch": 2, "length": 10, "at": "every"}


def over(*own):
    return BASE | {"sweep": {"task": list(own)}}


def stated(settings):
    return tasks.registry.build(settings, "task").baselines(0, 0)


def test_each_case_has_what_its_task_states(tmp_path):
    every = over(ORDER, REVIEWS, NOISE)
    ds = gradlab.run(every)
    assert ds["baseline"].dims == ("task", "replicate", "predictor")
    assert ds["predictor"].values.tolist() == ["constant", "bag_of_words", "last_adjective"]
    for i, settings in enumerate((ORDER, REVIEWS, NOISE)):
        row = ds["baseline"].isel(task=i)
        own = stated(settings)
        for name in ds["predictor"].values.tolist():
            expected = np.full(2, own.get(name, np.nan))
            np.testing.assert_array_equal(row.sel(predictor=name).values, expected)
    assert {"long_name", "units", "description"} <= ds["baseline"].attrs.keys()
    gradlab.run(every, tmp_path / "a")
    xr.testing.assert_identical(gradlab.open_archive(tmp_path / "a").load(), ds)


def test_tasks_that_state_none_have_no_such_variable():
    ds = gradlab.run(over(NOISE))
    assert "baseline" not in ds
    assert "predictor" not in ds.dims
    asked = gradlab.run(over(NOISE) | {"record": ["loss", "baseline"]})
    assert asked["predictor"].values.tolist() == ["none"]
    assert np.isnan(asked["baseline"].values).all()
    assert "baseline" not in gradlab.run(over(ORDER) | {"record": ["loss"]})


@pytest.mark.parametrize(
    ("first", "then"),
    [((ORDER,), (ORDER, REVIEWS)), ((NOISE,), (NOISE, REVIEWS)), ((ORDER, REVIEWS), (ORDER, REVIEWS, NOISE))],
    ids=["more", "any at all", "none more"],
)
def test_an_archive_goes_on_with_other_tasks(tmp_path, first, then):
    gradlab.run(over(*first), tmp_path / "a")
    assert measured(over(*then), tmp_path / "a") == 2 * (len(then) - len(first))
    gradlab.run(over(*then), tmp_path / "whole")
    assert_same(tmp_path / "a", tmp_path / "whole")


def test_cases_beside_those_of_the_spec_keep_theirs(tmp_path):
    gradlab.run(over(ORDER), tmp_path / "a")
    gradlab.run(over(REVIEWS), tmp_path / "a")
    gradlab.run(over(NOISE), tmp_path / "a")
    ds = gradlab.open_archive(tmp_path / "a").load()
    assert ds["predictor"].values.tolist() == ["constant", "bag_of_words", "last_adjective"]
    for i, settings in enumerate((ORDER, REVIEWS, NOISE)):
        found = ds["baseline"].isel(task=i, replicate=1).values
        own = stated(settings)
        np.testing.assert_array_equal(found, [own.get(n, np.nan) for n in ds["predictor"].values])
    replayed = verify(tmp_path / "a", sample=None)
    assert replayed.verified, [str(problem) for problem in replayed.problems]
    assert replayed.replay.cases == 6


@pytest.fixture
def old(tmp_path):
    with zipfile.ZipFile(DATA / "archive-of-schema-2.zip") as packed:
        packed.extractall(tmp_path / "old")
    return tmp_path / "old"


def test_an_archive_of_before_opens_with_the_numbers_of_today(old):
    assert json.loads((old / "archive.json").read_text())["schema"] == 2
    assert not check_structure(old)
    then, today = gradlab.open_archive(old).load(), gradlab.run(BASE)
    assert "baseline" not in then
    apart = ["code_key", "case_key"]
    assert_close(then.drop_vars(apart), today.drop_vars(["baseline", "predictor", *apart]))
    assert verify(old).verified


def test_an_archive_of_before_goes_on(old):
    more = BASE | {"replicates": 3}
    assert planned(more, old)["new"] == 1
    with pytest.raises(UserMistake, match="--accept-older-code"):
        gradlab.run(more, old)
    assert measured(more, old, accept_older_code=True) == 1
    assert json.loads((old / "archive.json").read_text())["schema"] == 3
    assert not check_structure(old)
    ds, whole = gradlab.open_archive(old).load(), gradlab.run(more)
    assert ds["baseline"].values[:, 0].tolist()[2] == stated(ORDER)["constant"]
    assert np.isnan(ds["baseline"].values[:2]).all()
    apart = ["code_key", "case_key", "baseline"]
    assert_close(ds.drop_vars(apart), whole.drop_vars(apart))


def test_an_archive_of_before_stays_readable_when_nothing_is_new(old):
    assert measured(BASE, old, accept_older_code=True) == 0
    assert not check_structure(old)
    assert gradlab.open_archive(old)["loss"].notnull().all()
