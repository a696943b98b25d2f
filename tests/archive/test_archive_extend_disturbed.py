"""Growing an archive while something goes wrong: failures, kills, a full disk."""

from __future__ import annotations

import json
import shutil

import pytest
import xarray as xr
from test_archive_extend import BASE, assert_same, axes, failing, measured, numbers, planned

import gradlab
from gradlab.archive import copying, directory, extend
from gradlab.archive.variables import STATUS
from gradlab.core.errors import UserMistake


def test_failures_come_along_when_the_grid_grows(tmp_path, monkeypatch):
    from gradlab.measure import probe as measure

    finer = axes(radius=[0.5, 1.0, 1.5])
    with monkeypatch.context() as patched:
        patched.setattr(measure, "probe", failing(measure.probe, 1.5))
        gradlab.run(BASE, tmp_path / "a")
        gradlab.run(finer, tmp_path / "a")
    ds = gradlab.open_archive(tmp_path / "a")
    assert (ds["status"].sel(radius=1.5) == STATUS["failed"]).all()
    entries = [json.loads(line) for line in (tmp_path / "a" / "failures.jsonl").read_text().splitlines()]
    assert [len(entry["cases"]) for entry in entries] == [4]
    assert entries[0]["error"].endswith("RuntimeError: on purpose\n")
    assert {case["settings"]["network"]["spectrum"]["radius"] for case in entries[0]["cases"]} == {1.5}
    assert measured(finer, tmp_path / "a") == 4
    gradlab.run(finer, tmp_path / "whole")
    assert_same(tmp_path / "a", tmp_path / "whole")
    assert not (tmp_path / "a" / "failures.jsonl").exists()


STEPS = [
    (directory, "replace_text"),
    (directory.os, "replace"),
    (directory, "_exchanged"),
    (directory, "remove"),
    (copying, "_gathered"),
    (extend, "create_data"),
]


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("stride", [9, pytest.param(4, marks=[pytest.mark.slow, pytest.mark.long])])
def test_killed_at_any_step_of_growing_the_archive_is_the_old_or_the_new_one(
    tmp_path, monkeypatch, exchange, stride
):
    """As a kill is: nothing that follows in this process touches the disk any more."""
    finer = axes(radius=[0.5, 1.0, 1.5])
    gradlab.run(BASE, tmp_path / "old")
    gradlab.run(finer, tmp_path / "whole")
    old = numbers(gradlab.open_archive(tmp_path / "old"))
    for step in range(0, 400, stride):
        path = tmp_path / f"{step}"
        shutil.copytree(tmp_path / "old", path)
        with monkeypatch.context() as patched:
            if not exchange:
                patched.setattr(directory, "_exchanged", lambda *_: False)
            killed = dying(patched, step)
            try:
                gradlab.run(finer, path)
            except BaseException:
                assert killed()
        if not killed():
            break
        if (path / "data.zarr").exists():
            assert numbers(gradlab.open_archive(path)).items() >= old.items()
            assert planned(finer, path)["cases"] == 12
        else:
            assert not exchange
            with pytest.raises(
                UserMistake, match=r"killed in the moment .*gradlab run puts them in their places"
            ):
                planned(finer, path)
        measured(finer, path)
        assert_same(path, tmp_path / "whole")
        assert sorted(p.name for p in path.iterdir()) == sorted(
            p.name for p in (tmp_path / "whole").iterdir()
        )
    assert step > 15


class Killed(BaseException):
    """What stands for SIGKILL: once it came, every further call of a step raises it too."""


def dying(patched, step):
    count = [0]

    def wrapped(real):
        def call(*arguments, **named):
            count[0] += 1
            if count[0] > step:
                raise Killed
            return real(*arguments, **named)

        return call

    for module, name in STEPS:
        patched.setattr(module, name, wrapped(getattr(module, name)))
    return lambda: count[0] > step


def test_a_full_disk_while_growing_leaves_the_old_archive(tmp_path, monkeypatch):
    finer = axes(radius=[0.5, 1.0, 1.5])
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(finer, tmp_path / "whole")
    before = gradlab.open_archive(tmp_path / "a").load()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(extend, "copy_cases", full)
        with pytest.raises(UserMistake, match=r"room on the disk"):
            gradlab.run(finer, tmp_path / "a")
    xr.testing.assert_identical(gradlab.open_archive(tmp_path / "a").load(), before)
    gradlab.run(finer, tmp_path / "a")
    assert_same(tmp_path / "a", tmp_path / "whole")
