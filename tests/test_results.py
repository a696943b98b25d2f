"""What `results/` holds is what the shipped experiments give, here and now."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlab
from gradlab.archive.reading import read_settings
from gradlab.checking import verify
from gradlab.checking.replay import Replay
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
    trained = gradlab.load_spec(ROOT / entry["spec"]).measure == "train"
    sample = 2 if trained else 4
    found = verify(path, sample=sample, outside=ROOT / "experiments" / "data")
    assert found.replay is not None
    if elsewhere(found.replay) and trained:
        # Rounding grows with every update: what has to agree on another machine is the first one.
        assert set(found.problems) == set(found.replay.problems)
        check_first_update(entry)
    else:
        assert found.verified, [str(problem) for problem in found.problems]
    assert found.content_digest == entry["content_digest"]
    assert found.keys == entry["cases"]
    assert found.replay.cases == min(sample, entry["cases"])


def elsewhere(replay: Replay) -> bool:
    """Whether another processor or other libraries may round otherwise than those that measured."""
    then, now = replay.then, replay.now
    libraries = set(then["blas"].split(", ")) <= set(now["blas"].split(", "))
    return not libraries or any(then[key] != now[key] for key in ("cpu", "numpy", "scipy"))


def check_first_update(entry: dict[str, Any]) -> None:
    """Train for one update, and compare with what is kept of it."""
    settings = [one for one in entry["settings"] if not one.startswith("training.updates=")]
    spec = with_settings(gradlab.load_spec(ROOT / entry["spec"]), [*settings, "training.updates=1"])
    today, kept = gradlab.run(spec).isel(update=0), gradlab.open_archive(ROOT / "results" / entry["file"])
    for name in {"loss", "log10_gradient_norm"} & set(kept.data_vars):
        then = kept[name].isel(update=0)
        np.testing.assert_allclose(today[name].values, then.values, rtol=1e-6, atol=1e-9, err_msg=str(name))


@pytest.mark.parametrize("name", ["clip-rules", "copy-memory", "negation"])
def test_the_first_update_is_that_of_today(name: str) -> None:
    check_first_update(INDEX[name])


@pytest.mark.parametrize("name", sorted(INDEX))
def test_the_archive_has_the_cases_of_the_experiment_today(name: str) -> None:
    entry = INDEX[name]
    spec = with_settings(gradlab.load_spec(ROOT / entry["spec"]), entry["settings"])
    keys = gradlab.open_archive(ROOT / "results" / entry["file"])["settings_key"].values
    assert set(expand(spec).settings_keys().ravel().tolist()) == {key for key in keys.ravel().tolist() if key}
    assert read_settings(ROOT / "results" / entry["file"])["title"] == spec.title


def test_the_script_that_makes_them_starts() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "results" / "make.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "--runs FOLDER" in done.stdout
