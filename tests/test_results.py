"""What `results/` holds is what the shipped experiments give, here and now."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import gradlab
from gradlab.archive.reading import read_settings
from gradlab.checking import verify
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import with_settings

ROOT = Path(__file__).resolve().parent.parent
INDEX: dict[str, dict[str, Any]] = json.loads((ROOT / "results" / "index.json").read_text())
MOST = 1_000_000


def test_every_shipped_experiment_has_results() -> None:
    assert sorted(INDEX) == sorted(file.stem for file in (ROOT / "experiments").glob("*.toml"))


def test_nothing_is_there_that_the_index_has_not() -> None:
    told = {one["file"] for entry in INDEX.values() for one in (entry, *entry["figures"])}
    folders = [ROOT / "results" / "archives", ROOT / "results" / "figures"]
    assert {p.relative_to(ROOT / "results").as_posix() for f in folders for p in f.iterdir()} == told


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_sample_measured_again_is_what_was_packed(name: str) -> None:
    entry = INDEX[name]
    for one in (entry, *entry["figures"]):
        data = (ROOT / "results" / one["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["bytes"], one["sha256"])
    path = ROOT / "results" / entry["file"]
    assert path.stat().st_size <= MOST
    found = verify(path, sample=4, outside=ROOT / "experiments" / "data")
    assert found.verified, [str(problem) for problem in found.problems]
    assert found.content_digest == entry["content_digest"]
    assert found.keys == entry["cases"]
    assert found.replay is not None
    assert found.replay.cases == min(4, entry["cases"])


@pytest.mark.parametrize("name", sorted(INDEX))
def test_the_archive_has_the_cases_of_the_experiment_today(name: str) -> None:
    entry = INDEX[name]
    spec = with_settings(gradlab.load_spec(ROOT / entry["spec"]), entry["settings"])
    keys = gradlab.open_archive(ROOT / "results" / entry["file"])["settings_key"].values
    assert set(expand(spec).settings_keys().ravel().tolist()) == {key for key in keys.ravel().tolist() if key}
    assert read_settings(ROOT / "results" / entry["file"])["title"] == spec.title
