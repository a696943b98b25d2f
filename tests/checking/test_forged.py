"""Archives that somebody altered and sealed again, or hid something in."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checked_sweep import SPEC

import gradlab
from gradlab.api import merge
from gradlab.archive.export import export
from gradlab.archive.manifest import seal
from gradlab.archive.packed import pack
from gradlab.checking import diff, verify
from gradlab.core.errors import UserMistake

Rewritten = Callable[[Path, str, Callable[[np.ndarray], object]], None]


def said(path: Path, **how: object) -> str:
    return "\n".join(map(str, verify(path, **how).problems))  # type: ignore[arg-type]


def told(path: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change what the metadata of an array say, in both places, and seal again."""
    root, own = path / "data.zarr/zarr.json", path / f"data.zarr/{name}/zarr.json"
    for file in (root, own):
        metadata = json.loads(file.read_text())
        change(metadata["consolidated_metadata"]["metadata"][name] if file == root else metadata)
        file.write_text(json.dumps(metadata))
    seal(path)


@pytest.mark.parametrize(
    "name",
    ["x.partial", "data.zarr/status/malware.partial", "next/q", "data.zarr.old/x", "checkpoints/run.exe"],
)
def test_whatever_its_name_a_file_in_a_sealed_archive_is_accounted_for(whole: Path, name: str) -> None:
    (whole / name).parent.mkdir(exist_ok=True)
    (whole / name).write_text("payload")
    assert f"{whole / name}: expected no file" in said(whole)


@pytest.mark.parametrize("attribute", [{"scale_factor": 10.0}, {"add_offset": 1.0}, {"missing_value": 0.5}])
def test_attributes_that_would_change_numbers_are_refused(whole: Path, attribute: dict[str, float]) -> None:
    told(whole, "status", lambda array: None)  # sealing again alone changes nothing
    assert verify(whole).verified
    root, own = whole / "data.zarr/zarr.json", whole / "data.zarr/loss/zarr.json"
    for file in (root, own):
        metadata = json.loads(file.read_text())
        array = metadata["consolidated_metadata"]["metadata"]["loss"] if file == root else metadata
        array["attributes"] |= attribute
        file.write_text(json.dumps(metadata))
    assert "loss: expected attributes that change no number" in said(whole)
    with pytest.raises(UserMistake, match="attributes that change no number"):
        gradlab.open_archive(whole)


def test_a_coordinate_is_that_of_the_settings(whole: Path, rewritten: Rewritten) -> None:
    def reverse(values: np.ndarray) -> None:
        values[:] = values[::-1].copy()

    rewritten(whole, "lag", reverse)
    assert "lag: expected the coordinate that the settings give, got another one" in said(whole)


def test_a_zipped_coordinate_is_that_of_the_settings(tmp_path: Path, rewritten: Rewritten) -> None:
    spec = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2},
        "sweep": {"network.spectrum.radius": [0.5, 1.0], "task.length": [6, 8]}
        | {"zip": [["network.spectrum.radius", "task.length"]]},
    }
    gradlab.run(spec, tmp_path / "a")
    assert verify(tmp_path / "a").verified
    rewritten(tmp_path / "a", "length", lambda values: np.copyto(values, values[::-1].copy()))
    assert "length: expected the coordinate that the settings give" in said(tmp_path / "a")


@pytest.mark.parametrize("forged", [["lstm(forget_bias=2.0)", "lstm"], ["lstm", "lstm(forget_bias=3.0)"]])
def test_a_label_is_one_that_some_spec_gives_for_that_setting(
    tmp_path: Path, rewritten: Rewritten, forged: list[str]
) -> None:
    """Two specs have two labels for one setting; neither may stand at another."""
    cells = ["lstm", {"name": "lstm", "forget_bias": 2.0}]
    base = {"network": {"hidden": 3}, "task": {"name": "noise", "features": 2, "batch": 2, "length": 5}}
    gradlab.run({**base, "sweep": {"seed": [1], "network.cell": cells[:1]}}, tmp_path / "a")
    gradlab.run({**base, "sweep": {"seed": [1, 2], "network.cell": cells[1:]}}, tmp_path / "b")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    ds = gradlab.open_archive(tmp_path / "both")
    assert ds["cell"].values.tolist() == ["lstm", "lstm(forget_bias=2.0)"]
    assert verify(tmp_path / "both").verified
    rewritten(tmp_path / "both", "cell", lambda values: np.copyto(values, np.array(forged, values.dtype)))
    assert (
        "expected the key of the settings at this place" in (told := said(tmp_path / "both"))
        or "the axis cell: expected the values that the settings give" in told
    )


def test_a_record_that_was_taken_out_is_missed(whole: Path) -> None:
    shutil.rmtree(whole / "data.zarr/growth_rate")
    root = whole / "data.zarr/zarr.json"
    metadata = json.loads(root.read_text())
    del metadata["consolidated_metadata"]["metadata"]["growth_rate"]
    root.write_text(json.dumps(metadata))
    seal(whole)
    assert "growth_rate: expected this record, which the settings ask for, got nothing" in said(whole)


def test_what_was_to_be_measured_again_and_was_not_is_not_verified(tmp_path: Path) -> None:
    (tmp_path / "record.csv").write_text("x\n" + "\n".join(map(str, np.sin(np.arange(30.0)))) + "\n")
    task = {"name": "series", "file": str(tmp_path / "record.csv"), "column": "x", "length": 5, "features": 2}
    gradlab.run({"network": {"hidden": 3}, "task": task}, tmp_path / "a")
    assert verify(tmp_path / "a").verified
    assert "expected settings by which cases are measured again" in said(tmp_path / "a", sample=None)
    assert verify(tmp_path / "a", sample=None, outside=tmp_path).verified


def test_a_damaged_packed_file_is_not_verified_rather_than_no_archive(
    sound_zip: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(sound_zip.read_bytes()[:-100])
    assert not verify(cut).verified


@pytest.mark.parametrize("name", ["lock.json", "manifest.json.partial", "next", "data.zarr.old", "figures"])
@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_written_through_a_link(whole: Path, tmp_path: Path, name: str, there: bool) -> None:
    victim = tmp_path / "victim"
    if there:
        victim.mkdir() if name in ("next", "data.zarr.old", "figures") else victim.write_text("precious")
    if name == "figures":
        shutil.rmtree(whole / name)
    (whole / name).symlink_to(victim)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert "got a link" in said(whole)
    longer = {**SPEC, "replicates": 3}
    with pytest.raises(UserMistake, match="got a link"):
        gradlab.run(longer, whole)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert not victim.is_file() or victim.read_text() == "precious"


def test_what_lies_in_a_sealed_archive_does_not_take_the_place_of_its_data(whole: Path) -> None:
    shutil.copytree(whole / "data.zarr", whole / "next/data.zarr")
    (whole / "next/data.zarr/fresh").touch()
    (whole / "next/data.zarr/loss/c.0.0.0.0").write_bytes(b"others")
    with pytest.raises(UserMistake, match="surplus"):
        gradlab.run({**SPEC, "replicates": 3}, whole)
    shutil.rmtree(whole / "next")
    assert verify(whole).verified


def test_a_part_lacks_what_the_whole_has(tmp_path: Path) -> None:
    spec = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 4},
        "sweep": {"network.spectrum.radius": [0.5, 1.0, 1.5]},
    }
    gradlab.run(spec, tmp_path / "whole")
    gradlab.run(spec, tmp_path / "part", partition="1/3")
    found = diff(tmp_path / "part", tmp_path / "whole")
    assert (found.common, len(found.only[0]), len(found.only[1])) == (1, 0, 2)
    assert all(one.different == 0 for one in found.variables)


def test_nothing_is_put_into_an_archive(whole: Path) -> None:
    for make in (pack, lambda path, out: export(path, "csv", out)):
        with pytest.raises(UserMistake, match="expected a place outside of the archive"):
            make(whole, whole / "figures" / "x")
    assert verify(whole).verified


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes only there")
def test_a_name_that_is_no_text_is_told(whole: Path) -> None:
    with open(os.fsencode(whole / "figures") + b"/\xff.png", "wb"):
        pass
    assert "expected a name in UTF-8" in said(whole)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"title": "Other"}, "title: expected what the settings give"),
        ({"looks": "several"}, "looks: expected what the settings give, 'one', got 'several'"),
        ({"note": "made up"}, "note: expected what the settings give, no such attribute, got 'made up'"),
        ({"seed": None}, "seed: expected what the settings give, 0, got nothing"),
    ],
)
def test_what_is_told_of_all_numbers_is_what_the_settings_give(
    whole: Path, attribute: dict[str, str | None], message: str
) -> None:
    root = whole / "data.zarr/zarr.json"
    metadata = json.loads(root.read_text())
    metadata["attributes"] = {
        key: value for key, value in (metadata["attributes"] | attribute).items() if value is not None
    }
    root.write_text(json.dumps(metadata))
    seal(whole)
    assert message in said(whole)


@pytest.mark.parametrize("name", ["lag", "radius"])  # of a variable they are looked at by every reader
def test_units_of_a_coordinate_are_those_of_the_schema(whole: Path, name: str) -> None:
    told(whole, name, lambda array: array["attributes"].update(units="furlong"))
    assert f"{name}: expected unit " in said(whole)
    assert "got 'furlong'" in said(whole)


def test_no_room_for_temporary_files_says_nothing_of_the_archive(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    packed = pack(whole, tmp_path / "a.zip")
    assert verify(packed).verified
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(UserMistake, match="expected room on the disk, got a full disk"):
        verify(packed)


@pytest.mark.parametrize("name", ["growth_rate", "lag", "radius"])
def test_other_words_for_a_variable_are_told_and_do_no_harm(whole: Path, name: str) -> None:
    assert verify(whole).notes == ()
    told(whole, name, lambda array: array["attributes"].update(description="the largest ever"))
    found = verify(whole)
    assert found.verified
    assert found.notes == (f"Described in other words than those of this gradlab: {name}.",)


def test_the_words_of_several_specs_and_of_united_archives_verify(tmp_path: Path) -> None:
    first, second = SPEC, SPEC | {"title": "Second", "seed": 3}
    gradlab.run(first, tmp_path / "a")
    gradlab.run(second | {"sweep": first["sweep"] | {"seed": [3]}}, tmp_path / "b")
    gradlab.run(first | {"sweep": first["sweep"] | {"seed": [0]}}, tmp_path / "b")
    gradlab.api.merge([tmp_path / "b", tmp_path / "b"], tmp_path / "c")
    for name in "abc":
        found = verify(tmp_path / name)
        assert found.verified
        assert found.notes == ()


def test_parts_united_with_the_whole_have_the_words_of_the_whole(tmp_path: Path) -> None:
    radius = "network.spectrum.radius"
    for name, radii in (("a", [0.5]), ("b", [2.0]), ("c", [0.5, 2.0])):
        gradlab.run(SPEC | {"title": name, "sweep": SPEC["sweep"] | {radius: radii}}, tmp_path / name)
    for number, order in enumerate(("abc", "acb", "cab", "ab")):
        out = tmp_path / str(number)
        gradlab.api.merge([tmp_path / name for name in order], out)
        assert verify(out).problems == ()
        assert gradlab.open_archive(out).attrs["title"] == ("c" if "c" in order else "a")
