import datetime
import json
import subprocess

import numpy as np
import pytest

from gradlab.archive import directory, provenance
from gradlab.archive.provenance import collect, git_state, write_provenance
from gradlab.archive.reading import read_provenance
from gradlab.core.errors import UserMistake
from gradlab.experiment.worker import linear_algebra


def test_what_is_collected():
    found = collect(["gradlab", "run", "x.toml"], 7, linear_algebra())
    assert found["command"] == ["gradlab", "run", "x.toml"]
    assert found["seed"] == 7
    assert found["libraries"]["numpy"] == np.__version__
    assert found["python"]
    assert found["cpu"]
    assert all(
        set(pool) == {"internal_api", "version", "architecture", "num_threads"} for pool in found["blas"]
    )
    known = np.show_config(mode="dicts")["SIMD Extensions"]
    assert found["simd"] == [*known["baseline"], *known["found"]]
    assert found == json.loads(json.dumps(found))


def test_runs_are_appended(tmp_path):
    write_provenance(tmp_path, {"seed": 1}, 1.23456, workers=2, cases=10)
    write_provenance(tmp_path, {"seed": 1}, 2.0)
    first, second = read_provenance(tmp_path)
    assert datetime.datetime.fromisoformat(first.pop("finished")).tzinfo is not None
    assert first == {"seed": 1, "wall_time_seconds": 1.235, "workers": 2, "cases": 10}
    assert second["wall_time_seconds"] == 2.0
    assert [p.name for p in tmp_path.iterdir()] == ["provenance.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": 3}', '{"runs": [1]}'])
def test_damaged_provenance_does_not_stop_a_run(tmp_path, text):
    (tmp_path / "provenance.json").write_text(text)
    assert read_provenance(tmp_path) == []
    write_provenance(tmp_path, {"seed": 1}, 0.0)
    assert len(read_provenance(tmp_path)) == 1


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory.os, "replace", full)
    with pytest.raises(UserMistake, match=r"a full disk\. Every case that was written is kept"):
        write_provenance(tmp_path, {}, 0.0)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "installed").mkdir()
    (tmp_path / "package" / "a.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("installed\n")
    (tmp_path / "installed" / "a.py").write_text("x = 1\n")
    try:
        git(tmp_path, "init", "-q")
    except FileNotFoundError:
        assert git_state(tmp_path) is None  # nor can the package find it
        return
    git(tmp_path, "add", ".")
    assert git_state(tmp_path / "package") == {"commit": None, "dirty": True}
    git(tmp_path, "commit", "-qm", "one")
    state = git_state(tmp_path / "package")
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "package" / "a.py").write_text("x = 2\n")
    assert git_state(tmp_path / "package") == state | {"dirty": True}
    assert git_state(tmp_path / "installed") is None


def test_without_git(tmp_path, monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(provenance.subprocess, "run", absent)
    assert git_state(tmp_path) is None
    assert collect([], 0, [])["git"] is None


def test_a_git_that_hangs(tmp_path, monkeypatch):
    def hangs(command, **settings):
        raise subprocess.TimeoutExpired(command, settings["timeout"])

    monkeypatch.setattr(provenance.subprocess, "run", hangs)
    assert git_state(tmp_path) is None
