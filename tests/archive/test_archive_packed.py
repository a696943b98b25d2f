"""One file an archive: the same bytes, a description for machines, and every altered bit found."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

import gradlab
from gradlab.archive.files import PackedFiles
from gradlab.archive.packed import pack
from gradlab.archive.reading import read_provenance, read_settings
from gradlab.checking import verify
from gradlab.core.errors import UserMistake
from gradlab.drawing import draw_figures

SPEC = {
    "title": "A <script>alert(1)</script> *title*",
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 5},
    "sweep": {"network.spectrum.radius": [0.5, 2.0]},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "whole"
    gradlab.run(SPEC, path)
    draw_figures(path, ["profile"], ["png"])
    return path


@pytest.fixture(scope="module")
def packed(made: Path) -> Path:
    return pack(made, authors=["Ada Example <https://orcid.org/0000-0001-2345-6789>"], date="2026-01-31")


def test_the_same_archive_gives_the_same_bytes(made: Path, packed: Path, tmp_path: Path) -> None:
    os.utime(made / "spec.resolved.toml", (1, 1))
    (made / "spec.resolved.toml").chmod(0o600)
    again = pack(
        made,
        tmp_path / "again.zip",
        authors=["Ada Example <https://orcid.org/0000-0001-2345-6789>"],
        date="2026-01-31",
    )
    assert again.read_bytes() == packed.read_bytes()


def test_unpacked_it_is_the_archive_again(made: Path, packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        assert file.testzip() is None
        file.extractall(tmp_path / "out")
    for source in made.rglob("*"):
        if source.is_file():
            assert (tmp_path / "out" / source.relative_to(made)).read_bytes() == source.read_bytes()
    xr.testing.assert_identical(
        xr.open_zarr(tmp_path / "out" / "data.zarr", chunks=None).load(), gradlab.open_archive(made).load()
    )


def test_it_is_opened_as_it_is(made: Path, packed: Path, tmp_path: Path) -> None:
    xr.testing.assert_identical(gradlab.open_archive(packed).load(), gradlab.open_archive(made).load())
    assert read_settings(packed) == read_settings(made)
    assert read_provenance(packed) == read_provenance(made)
    assert isinstance(draw_figures(packed, ["profile"], ["png"], tmp_path / "f")["profile"], list)


def test_the_description_for_machines(made: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        text = file.read("ro-crate-metadata.json").decode()
        contents = {name: file.read(name) for name in file.namelist()}
    assert "<script" not in text
    crate = json.loads(text)
    assert crate["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {one["@id"]: one for one in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    descriptor = entities["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities[descriptor["about"]["@id"]]
    assert root["name"] == SPEC["title"]
    assert root["datePublished"] == "2026-01-31"
    assert root["license"]["@id"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert entities[root["author"][0]["@id"]]["name"] == "Ada Example"
    assert root["identifier"] == verify(made).content_digest
    ids = [part["@id"] for part in root["hasPart"]]
    assert set(ids) <= set(entities)
    files = {unquote(one["@id"]): one for one in crate["@graph"] if one["@type"] == "File"}
    assert {unquote(i) for i in ids} == {*files, "data.zarr/"}
    outside = {name for name in contents if not name.startswith("data.zarr/")} - {"ro-crate-metadata.json"}
    assert set(files) == outside
    for name, entity in files.items():
        assert int(entity["contentSize"]) == len(contents[name])
        if name != "manifest.json":
            assert entity["sha256"] == hashlib.sha256(contents[name]).hexdigest()
    assert any(one["@type"] == "CreateAction" and "endTime" in one for one in crate["@graph"])


def test_the_page_for_people(made: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        page = file.read("README.md").decode()
    assert r"# A &lt;script&gt;alert\(1\)&lt;/script&gt; \*title\*" in page
    for part in (
        "gradlab show",
        "gradlab verify",
        "gradlab run spec.resolved.toml",
        "## Cite",
        "Ada Example",
    ):
        assert part in page
    assert verify(made).content_digest in page
    assert "<" not in page


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"authors": ["<x>"]}, "author: expected a name"),
        ({"authors": ["a\nb"]}, "author: expected a name"),
        ({"licence": "my own"}, "licence: expected an SPDX identifier"),
        ({"date": "2026-02-31"}, "date: expected a date, YYYY-MM-DD"),
    ],
)
def test_what_is_said_of_it_is_checked(made: Path, tmp_path: Path, given: dict, message: str) -> None:
    with pytest.raises(UserMistake, match=message):
        pack(made, tmp_path / "x.zip", **given)
    assert list(tmp_path.iterdir()) == []


def test_only_a_sealed_archive_is_packed_and_no_other_file_replaced(made: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("mine")
    with pytest.raises(UserMistake, match="expected a file that does not exist yet, or a packed archive"):
        pack(made, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_text() == "mine"
    file = made / "data.zarr" / "loss" / "c.0.0"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        with pytest.raises(UserMistake, match="expected a sealed archive"):
            pack(made, tmp_path / "y.zip")
    finally:
        file.write_bytes(data)
    with pytest.raises(UserMistake, match="It is packed already"):
        pack(pack(made, tmp_path / "z.zip"), tmp_path / "zz.zip")


def test_every_altered_byte_is_found(packed: Path, tmp_path: Path) -> None:
    data = packed.read_bytes()
    path = tmp_path / "a.zip"
    places = [*range(0, len(data), max(1, len(data) // 150)), len(data) - 1]
    for place in places:
        altered = bytearray(data)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        try:
            assert not verify(path).verified, place
        except UserMistake:
            continue
    for altered in (data[:-1], data + b"x", b"x" + data):
        path.write_bytes(altered)
        try:
            assert not verify(path).verified
        except UserMistake:
            continue


def test_a_readme_that_was_replaced_is_found(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as source:
        members = {info: source.read(info) for info in source.infolist()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        for info, data in members.items():
            target.writestr(info, b"other" if info.filename == "README.md" else data)
    problems = verify(tmp_path / "a.zip").problems
    assert ["'README.md' with its size and SHA-256" in str(problem) for problem in problems] == [True]


def hostile(packed: Path, target: Path, name: str, data: bytes = b"evil", mode: int = 0, **info: int) -> Path:
    """Write a packed archive again with one more member."""
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(target, "w") as out:
        for member in source.infolist():
            out.writestr(member, source.read(member))
        extra = zipfile.ZipInfo(name)
        extra.external_attr = mode << 16
        for key, value in info.items():
            setattr(extra, key, value)
        out.writestr(extra, data)
    return target


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a//b", "./a", "a\x1b[31m", "a\nb", "c:evil"]
)
def test_names_that_lead_elsewhere_are_refused(packed: Path, tmp_path: Path, name: str) -> None:
    path = hostile(packed, tmp_path / "a.zip", name)
    with pytest.raises(UserMistake, match="expected names of files below the archive") as caught:
        gradlab.open_archive(path)
    (problem,) = verify(path).problems
    assert str(problem) == str(caught.value)
    assert str(problem).isprintable()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("link", {"mode": stat.S_IFLNK | 0o777}, "a link or a device"),
        ("archive.json", {}, "every name once"),
        ("archive.json/x", {}, "a file or a folder, not both"),
        ("x", {"compress_type": zipfile.ZIP_LZMA}, "stored or deflated"),
        (
            "x",
            {"data": bytes(200 << 20), "compress_type": zipfile.ZIP_DEFLATED},
            "at most 64 times",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_hostile_members_are_refused(
    packed: Path, tmp_path: Path, name: str, changes: dict, message: str
) -> None:
    path = hostile(packed, tmp_path / "a.zip", name, **changes)
    with pytest.raises(UserMistake, match=message):
        gradlab.open_archive(path)


def test_what_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(UserMistake, match="expected an archive of gradlab, packed as a zip file"):
        gradlab.open_archive(tmp_path / "a.zip")


def test_opening_reads_no_number(packed: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = PackedFiles._open
    monkeypatch.setattr(PackedFiles, "_open", lambda self, name: (read.append(name), original(self, name))[1])
    ds = gradlab.open_archive(packed)
    chunks = {name.split("/")[1] for name in read if name.startswith("data.zarr/") and "/c." in name}
    assert chunks <= set(ds.coords)
    assert "growth_rate" not in chunks
    ds["growth_rate"].load()
    assert any(name.startswith("data.zarr/growth_rate/c.") for name in read)


def test_nothing_is_unpickled_or_evaluated_and_no_codec_but_ours_is_imported(packed: Path) -> None:
    code = (
        "import pickle, gradlab\n"
        f"gradlab.open_archive({str(packed)!r}).load()\n"  # what is imported may read its own tables
        "def no(*a, **k): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = no\n"
        f"gradlab.open_archive({str(packed)!r}).load()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def page_of(path: Path) -> str:
    with zipfile.ZipFile(pack(path)) as file:
        return file.read("README.md").decode()


def test_the_page_of_an_archive_of_several_specs_runs_them_all(tmp_path: Path) -> None:
    gradlab.run(SPEC, tmp_path / "a")
    gradlab.run({**SPEC, "sweep": {"network.spectrum.radius": [3.0]}}, tmp_path / "a")
    former = [path.name for path in (tmp_path / "a/specs").iterdir()]
    assert former
    page = page_of(tmp_path / "a")
    for name in former:
        assert f"    gradlab run specs/{name} --out again\n" in page
    assert "    gradlab run spec.resolved.toml --out again\n" in page


def test_the_page_of_an_archive_with_files_outside_says_which(tmp_path: Path) -> None:
    (tmp_path / "my record.csv").write_text("x\n" + "\n".join(str(i % 7) for i in range(40)) + "\n")
    task = {"name": "series", "file": str(tmp_path / "my record.csv"), "column": "x", "length": 5, "batch": 2}
    gradlab.run({"network": {"hidden": 3}, "task": task}, tmp_path / "a")
    page = page_of(tmp_path / "a")
    assert "gradlab verify FILE.zip --replay all --outside FOLDER" in page
    assert "gradlab run spec.resolved.toml --set 'task.file=my record.csv' --out again" in page
    assert str(tmp_path) not in page


def test_the_page_of_a_network_from_arrays_does_not_run_a_spec(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    weights = {"weight_ih_l0": stream.standard_normal((4, 2)), "weight_hh_l0": stream.standard_normal((4, 4))}
    gradlab.probe(weights, stream.standard_normal((5, 3, 2)), out=tmp_path / "a")
    page = page_of(tmp_path / "a")
    assert "as it was done" in page
    assert "gradlab run" not in page
