"""Uniting archives: of the parts of a sweep, and of several people."""

import json
import shutil
import tempfile
import zipfile

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_archive_extend import BASE, CELL, RADIUS, assert_same, axes, changed, data, digest, of_code, turned

import gradlab
from gradlab.api import merge
from gradlab.archive import merge as merging
from gradlab.archive.files import files_of
from gradlab.archive.manifest import check, seal
from gradlab.archive.packed import pack
from gradlab.archive.reading import read_failures
from gradlab.archive.variables import STATUS
from gradlab.checking import verify
from gradlab.core.errors import UserMistake

SWEEP = changed(
    sweep=[
        {RADIUS: [0.5, 1.0, 40.0], "task.length": [4, 9, 250], "where": "radius < 2 or length != 9"},
        {CELL: ["elman", "lstm"], "network.layers": [1, 2], RADIUS: [1.0]},
    ],
    replicates=3,
)


def parts_of(table, folder, count):
    paths = [folder / f"part-{i}" for i in range(1, count + 1)]
    for i, path in enumerate(paths, start=1):
        gradlab.run(table, path, partition=f"{i}/{count}")
    return paths


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(2, 9), order=st.randoms(use_true_random=False))
def test_the_parts_of_a_sweep_make_the_whole(tmp_path_factory, count, order):
    folder = tmp_path_factory.mktemp("parts")
    gradlab.run(SWEEP, folder / "whole")
    paths = parts_of(SWEEP, folder, count)
    statuses = [gradlab.open_archive(path)["status"].values != 0 for path in paths]
    assert (np.sum(statuses, axis=0) == (gradlab.open_archive(folder / "whole")["status"].values != 0)).all()
    order.shuffle(paths)
    xr.testing.assert_identical(
        merge(paths, folder / "merged").load(), gradlab.open_archive(folder / "whole").load()
    )
    assert_same(folder / "merged", folder / "whole")


def test_some_parts_are_completed_by_a_run(tmp_path):
    gradlab.run(SWEEP, tmp_path / "whole")
    paths = parts_of(SWEEP, tmp_path, 3)
    ds = merge(paths[:2], tmp_path / "a")
    left = int((ds["status"].values == 0).sum() - (ds["settings_key"].values == "").sum())
    done = []
    gradlab.run(SWEEP, tmp_path / "a", progress=lambda cases, _: done.append(cases))
    assert sum(done) == left > 0
    assert_same(tmp_path / "a", tmp_path / "whole")


def test_two_peoples_archives_are_united_on_the_axes_of_both(tmp_path):
    one, other = axes(radius=[0.5, 1.5]), axes(radius=[1.0, 1.5], activation=["relu", "identity"])
    gradlab.run(one, tmp_path / "a")
    gradlab.run(other | {"title": "Other"}, tmp_path / "b")
    ds = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both").load()
    assert ds["radius"].values.tolist() == [0.5, 1.0, 1.5]
    assert ds["activation"].values.tolist() == ["tanh", "relu", "identity"]
    assert int((ds["status"] == STATUS["ok"]).sum()) == 14
    assert int((ds["settings_key"] != "").sum()) == 14
    gradlab.run(one, tmp_path / "c")
    gradlab.run(other | {"title": "Other"}, tmp_path / "c")
    assert digest(tmp_path / "both") == digest(tmp_path / "c")
    assert [s.title for s in gradlab.api.specs_of(tmp_path / "both")] == ["Base", "Other"]
    assert len(json.loads((tmp_path / "both" / "provenance.json").read_text())["runs"]) == 2


def test_archives_whose_axes_stand_in_another_order_are_united(tmp_path):
    """In the order of the later one; a third one, of the first's order, is found among them."""
    one, other = axes(radius=[0.5, 1.5]), turned(axes(radius=[1.0, 1.5], activation=["relu", "identity"]))
    gradlab.run(one, tmp_path / "a")
    gradlab.run(other, tmp_path / "b")
    gradlab.run(axes(radius=[1.0], activation=["relu", "identity"]), tmp_path / "c")
    ds = merge([tmp_path / name for name in "abc"], tmp_path / "both").load()
    assert ds["status"].dims == ("activation", "radius", "replicate")
    assert int((ds["status"] == STATUS["ok"]).sum()) == 14
    gradlab.run(one, tmp_path / "run")
    gradlab.run(other, tmp_path / "run")
    assert digest(tmp_path / "both") == digest(tmp_path / "run")
    report = verify(tmp_path / "both", sample=None)
    assert report.verified
    assert report.replay.cases == 14
    assert all(one.identical == 14 for one in report.replay.variables)


def test_an_archive_that_has_all_of_another_stays_as_it_is(tmp_path):
    larger = axes(radius=[0.5, 1.0, 1.5])
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(larger, tmp_path / "b")
    for i, paths in enumerate((("a", "b"), ("b", "a"))):
        merge([tmp_path / p for p in paths], tmp_path / f"{i}")
        assert_same(tmp_path / f"{i}", tmp_path / "b")


@pytest.mark.parametrize("cells", [["elman", "lstm"], ["lstm", "elman"]])
def test_one_with_gates_and_one_without(tmp_path, cells):
    table = changed(sweep=BASE["sweep"] | {CELL: cells}, record=["norm_drawn", "loss"])
    gradlab.run(table, tmp_path / "whole")
    for cell in cells:
        gradlab.run(table | {"sweep": BASE["sweep"] | {CELL: [cell]}}, tmp_path / cell)
    gradlab.run(table, tmp_path / "elman")
    assert_same(tmp_path / "elman", tmp_path / "whole")
    shutil.rmtree(tmp_path / "elman")
    gradlab.run(table | {"sweep": BASE["sweep"] | {CELL: ["elman"]}}, tmp_path / "elman")
    ds = merge([tmp_path / cell for cell in cells], tmp_path / "both").load()
    whole = gradlab.open_archive(tmp_path / "whole").load()
    xr.testing.assert_identical(ds.drop_attrs(), whole.drop_attrs())


def test_other_numbers_for_the_same_case_are_an_error_that_names_it(tmp_path):
    for name in ("a", "b"):
        gradlab.run(BASE, tmp_path / name)
    group = zarr.open_group(tmp_path / "b" / "data.zarr", mode="r+")
    group["loss"][1, 0, 1] = np.nextafter(group["loss"][1, 0, 1], 1)
    seal(tmp_path / "b")  # as who measured it so would: what was altered after that is not united at all
    with pytest.raises(UserMistake) as caught:
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    key = gradlab.open_archive(tmp_path / "a")["case_key"].values[1, 0, 1]
    assert f"the case at radius=1.5, activation=tanh, replicate=1 (case_key {key}): loss is not" in str(
        caught.value
    )
    assert not (tmp_path / "both").exists()


def test_other_code_is_united_only_when_asked(tmp_path, monkeypatch):
    gradlab.run(BASE, tmp_path / "a")
    of_code(monkeypatch, "1" * 16)
    gradlab.run(axes(radius=[1.0, 1.5]), tmp_path / "b")
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(
        UserMistake, match=r"same numerical code, got 8 by .*, 8 by 1111.*--accept-older-code"
    ):
        merge(paths, tmp_path / "both")
    ds = merge(paths, tmp_path / "both", accept_older_code=True)
    assert (ds["code_key"].sel(radius=1.0) == "1" * 16).all()
    assert (ds["code_key"].sel(radius=1.5) != "1" * 16).all()  # the first counts


def test_failures_come_along(tmp_path, monkeypatch):
    from gradlab.measure import probe as measure

    real = measure.probe

    def probe(block, *rest):
        if any(family.radius == 1.5 for run in block.runs for family in run.network.spectra):
            raise RuntimeError("on purpose")
        return real(block, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(measure, "probe", probe)
        gradlab.run(BASE, tmp_path / "a")
        gradlab.run(axes(radius=[1.0, 1.5]), tmp_path / "b")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert [f["index"][0] for f in read_failures(tmp_path / "both")] == [2, 2, 2, 2]
    assert len((tmp_path / "both" / "failures.jsonl").read_text().splitlines()) == 1
    gradlab.run(axes(radius=[1.5]), tmp_path / "c")
    merge([tmp_path / "a", tmp_path / "c"], tmp_path / "mended")
    assert not (tmp_path / "mended" / "failures.jsonl").exists()


def test_what_cannot_be_united(tmp_path):
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(BASE | {"record": ["loss"]}, tmp_path / "loss")
    networks = changed(sweep={"network": [{"hidden": 3}, {"hidden": 4}]})
    gradlab.run(networks, tmp_path / "axis")
    gradlab.run(changed(network={"hidden": 4}), tmp_path / "place")
    gradlab.run(axes(radius=[3.0]), tmp_path / "b")
    (tmp_path / "none").mkdir()
    before = data(tmp_path / "a")
    for names, out, message in (
        (["a", "loss"], "out", "loss: records: expected those of .*it lacks .*saturation"),
        (["a", "axis"], "out", "axes that the archive has"),
        (["a", "place"], "out", "a: .*network.hidden = 3, got network.hidden = 4"),
        (["a", "none"], "out", r"none: .*a directory without archive\.json"),
        (["a", "nowhere"], "out", "nowhere: .*no such directory"),
        (["a"], "out", "at least two archives"),
        (["a", "b"], "a", "empty or does not exist"),
    ):
        with pytest.raises(UserMistake, match=message) as told:
            merge([tmp_path / name for name in names], tmp_path / out)
        assert "--prune" not in str(told.value)  # which a merge has not
        assert not (tmp_path / "out").exists()
    assert data(tmp_path / "a") == before


def test_packed_archives_are_merged_as_their_directories_are(tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    for name, radius in (("a", 0.5), ("b", 1.0)):
        gradlab.run(axes(radius=[radius]), tmp_path / name)
        pack(tmp_path / name)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    merge([tmp_path / "a.zip", tmp_path / "b.zip"], tmp_path / "packed")
    assert data(tmp_path / "packed") == data(tmp_path / "both")
    assert check(files_of(tmp_path / "packed")).problems == ()
    runs = json.loads((tmp_path / "packed" / "provenance.json").read_text())["runs"]
    assert [run["archive"] for run in runs] == [str(tmp_path / "a.zip"), str(tmp_path / "b.zip")]
    merge([tmp_path / "a.zip", tmp_path / "b"], tmp_path / "packed")  # is there already
    assert list(place.iterdir()) == []


def test_a_packed_archive_that_was_altered_is_not_merged(tmp_path):
    for name in ("a", "b"):
        gradlab.run(axes(radius=[0.5 if name == "a" else 1.5]), tmp_path / name)
    altered, other = pack(tmp_path / "a"), tmp_path / "other.zip"
    with zipfile.ZipFile(altered) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name) + b" " * (name == "spec.resolved.toml"))
    with pytest.raises(
        UserMistake, match=r"other\.zip/spec\.resolved\.toml: .*Nothing is added to what is damaged"
    ):
        merge([other, tmp_path / "b"], tmp_path / "both")
    with zipfile.ZipFile(other, "a") as target:
        target.writestr("../outside", b"x")
    with pytest.raises(UserMistake, match=r"other\.zip: expected names of files below the archive"):
        merge([tmp_path / "b", other], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    assert not (tmp_path / "outside").exists()


def test_nothing_is_left_of_a_merge_that_was_refused_by_the_disk(tmp_path, monkeypatch):
    for name in ("a", "b"):
        gradlab.run(axes(radius=[0.5 if name == "a" else 1.5]), tmp_path / name)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(merging, "copy_cases", full)
        with pytest.raises(UserMistake, match=r"room on the disk"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    ds = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert (ds["status"].values == STATUS["ok"]).all()


def test_a_merge_that_was_killed_is_made_again(tmp_path, monkeypatch):
    for name in ("a", "b"):
        gradlab.run(axes(radius=[0.5 if name == "a" else 1.5]), tmp_path / name)
    paths = [tmp_path / "a", tmp_path / "b"]
    merge(paths, tmp_path / "both")
    shutil.copytree(tmp_path / "both", tmp_path / "killed")
    marker = json.loads((tmp_path / "killed" / "archive.json").read_text())
    (tmp_path / "killed" / "archive.json").write_text(json.dumps(marker | {"complete": False}))
    merge(paths, tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "both")
    (tmp_path / "killed" / "manifest.json").unlink()  # killed when all but this was done
    merge(paths, tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "both")
    group = zarr.open_group(tmp_path / "killed" / "data.zarr", mode="r+")
    group["loss"][0, 0, 0] += 1
    before = data(tmp_path / "killed")
    with pytest.raises(UserMistake, match="empty or does not exist, got one that holds something already"):
        merge(paths, tmp_path / "killed")
    assert data(tmp_path / "killed") == before
