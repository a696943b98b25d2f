import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from gradlab.archive import creation, directory
from gradlab.archive.reading import open_archive
from gradlab.archive.variables import KEYS
from gradlab.core.errors import UserMistake

GATES = ("input_gate", "forget_gate", "candidate", "output_gate")


@pytest.mark.parametrize("step", [*range(6), 15, 29, 30])
def test_killed_during_creation(tmp_path, sweep, tree, monkeypatch, step):
    """The run after a creation that was killed at any step makes the archive."""
    sweep.write_all(sweep.open(tmp_path / "whole"))
    path = tmp_path / "a"
    counted = itertools.count()

    def dying(real):
        def call(*arguments, **named):
            if next(counted) == step:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(directory, "replace_text", dying(directory.replace_text))
        patched.setattr(creation, "_create_array", dying(creation._create_array))
        patched.setattr(zarr, "consolidate_metadata", dying(zarr.consolidate_metadata))
        with pytest.raises(KeyboardInterrupt):
            sweep.open(path)
    if step:
        with pytest.raises(UserMistake, match="expected a complete archive, got one without any case"):
            open_archive(path)
    else:
        (path / "archive.json.partial").write_text('{"form')  # killed in the middle of the first file
    sweep.write_all(sweep.open(path))
    assert tree(path) == tree(tmp_path / "whole")


CHILD = """
import sys, time
from pathlib import Path
sys.path[:0] = [{here!r}]
from conftest import Sweep
sweep = Sweep()
sink = sweep.open(Path({path!r}))
for place in sweep.index:
    sink.write(place[None], sweep.records(place[None]))
"""


def made(path):
    """Return how many files and folders there are; some may go while they are counted."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(path))


@pytest.mark.parametrize("files", [1, 40, 60, 130])
def test_killed_by_the_system_at_any_instant(tmp_path, sweep, tree, files):
    """A process killed once it has made so many files; the next run ends where an uninterrupted one does."""
    sweep.write_all(sweep.open(tmp_path / "whole"))
    path = tmp_path / "a"
    script = CHILD.format(here=str(Path(__file__).parent), path=str(path))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as child:
        while child.poll() is None and made(path) < files:
            time.sleep(0.001)
        child.kill()
    sink = sweep.open(path)
    missing = np.argwhere(~sink.finished() & (sweep.case_keys != ""))
    sink.write(missing, sweep.records(missing))
    assert tree(path) == tree(tmp_path / "whole")


def test_a_killed_creation_is_made_anew_for_another_experiment(tmp_path, sweep, sweep_class):
    path = tmp_path / "a"
    sweep.open(path)
    directory.write_marker(path, complete=False)
    other = sweep_class(n_lags=3, tile=(1, 1, 1))
    other.write_all(other.open(path))
    assert open_archive(path).sizes["lag"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"replicates": 3},
            "the settings that the archive's cases have, got other settings at 3 of its cases",
        ),
        (
            {"record": ("loss", "regime", "status", "first_overflow", *KEYS)},
            "got one that also has .*saturation",
        ),
    ],
)
def test_another_experiment_is_not_touched(tmp_path, sweep, sweep_class, tree, change, message):
    """The made-up keys are numbered: with more replicates most stand for other cases."""
    path = tmp_path / "a"
    sweep.write_all(sweep.open(path))
    before = tree(path)
    with pytest.raises(UserMistake, match=f"{message}.*give another --out"):
        sweep_class(**change).open(path, spec_text="other")
    assert tree(path) == before


def test_a_directory_with_something_else_is_not_touched(tmp_path, sweep, tree):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "figures").mkdir()
    message = "an empty directory or an archive of gradlab, got one that holds something else .*thesis.tex"
    with pytest.raises(UserMistake, match=message):
        sweep.open(tmp_path)
    assert tree(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(UserMistake, match="a directory, or nothing yet, got a file"):
        sweep.open(tmp_path / "thesis.tex")


def test_an_archive_that_was_damaged_is_not_continued(tmp_path, sweep):
    sweep.write_all(sweep.open(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a" / "data.zarr" / "loss")
    with pytest.raises(UserMistake, match=r"loss/zarr\.json: expected a file, got nothing"):
        sweep.open(tmp_path / "a")


def test_wrong_keys_are_a_bug_of_the_caller(tmp_path, sweep):
    with pytest.raises(ValueError, match="settings_keys: expected shape"):
        sweep.open(tmp_path / "a", settings_keys=sweep.case_keys[:-1])
    assert not (tmp_path / "a").exists()


def test_layout_on_disk(tmp_path, sweep):
    sweep.write_all(sweep.open(tmp_path / "a" / "b"))
    entries = sorted(p.name for p in (tmp_path / "a" / "b").iterdir())
    assert entries == ["archive.json", "data.zarr", "figures", "spec.resolved.toml", "spec.toml"]
    marker = json.loads((tmp_path / "a" / "b" / "archive.json").read_text())
    assert marker == {"format": "gradlab archive", "schema": 3, "complete": True}
    sweep.open(tmp_path / "c", spec_text=None)
    assert not (tmp_path / "c" / "spec.toml").exists()


def test_the_page_names_whatever_is_in_an_archive(tmp_path, sweep, monkeypatch):
    from gradlab.archive import schema
    from gradlab.archive.manifest import seal
    from gradlab.archive.provenance import write_provenance

    path, seen = tmp_path / "a", set()

    def replaced(one, other, real=os.replace):
        seen.update(p.name for p in path.iterdir())
        real(one, other)

    monkeypatch.setattr(directory.os, "replace", replaced)
    monkeypatch.setattr(directory, "_exchanged", lambda *_: False)
    sink = sweep.open(path)
    sink.write(sweep.index[:2], sweep.records(sweep.index[:2]))
    sink.fail(sweep.index[2:3], "error", [{}])
    other = sweep.case_keys.copy()
    other[:2] = ""
    other[2:] = [[[f"{key}"[::-1] for key in row] for row in plane] for plane in other[2:]]
    axes = (replace(sweep.axes[0], coordinates={"radius": np.linspace(2.5, 3.5, 5)}), sweep.axes[1])
    sweep.open(path, axes=axes, settings_keys=other, spec_resolved="seed = 3\nreplicates = 4\n")
    write_provenance(path, {}, 0.0)
    seal(path)
    seen.update(p.name for p in path.iterdir())
    assert {"specs", "next", "next.partial", "data.zarr.old", "manifest.json", "failures.jsonl"} <= seen
    for name in seen:
        ending = ".partial" if name.endswith(".json.partial") or name.endswith("l.partial") else name
        assert f"``{ending}``" in schema.__doc__ or f"``{ending}/``" in schema.__doc__, name
