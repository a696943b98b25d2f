"""What was altered in a sealed archive never gets a seal again, whatever is run into it."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gradlab
from gradlab.api import merge
from gradlab.archive import store
from gradlab.archive.extend import Meeting, begin
from gradlab.archive.manifest import check
from gradlab.archive.packed import pack
from gradlab.checking import verify
from gradlab.core.errors import UserMistake
from gradlab.experiment.spec import Spec
from gradlab.running import met, plan_of

TABLE: dict[str, Any] = {
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 6},
    "sweep": {"network.spectrum.radius": [0.5, 1.0]},
}
FINER: dict[str, Any] = copy.deepcopy(TABLE)
FINER["sweep"]["network.spectrum.radius"] = [0.5, 0.75, 1.0]
OTHER: dict[str, Any] = copy.deepcopy(TABLE)
OTHER["sweep"]["network.spectrum.radius"] = [2.0, 3.0]
LOSS = "data.zarr/loss"
ALTERED = r"loss/c\S*: expected the bytes that were sealed, got others: it was altered\. Nothing is added"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a"
    gradlab.run(TABLE, out=path)
    return path


@pytest.fixture
def flipped(whole: Path, tmp_path: Path) -> Path:
    path = tmp_path / "flipped"
    shutil.copytree(whole, path)
    data = bytearray(chunk(path).read_bytes())
    data[-5] ^= 1
    chunk(path).write_bytes(data)
    return path


def chunk(path: Path) -> Path:
    return sorted(file for file in (path / LOSS).rglob("c*") if file.is_file())[0]


@pytest.mark.parametrize("table", [TABLE, FINER], ids=["again", "finer"])
def test_a_run_is_refused(flipped: Path, table: dict[str, Any]) -> None:
    before = sorted((file, file.read_bytes()) for file in flipped.rglob("*") if file.is_file())
    with pytest.raises(UserMistake, match=ALTERED):
        gradlab.run(table, out=flipped)
    assert before == sorted((file, file.read_bytes()) for file in flipped.rglob("*") if file.is_file())
    assert not verify(flipped).verified


def missing(path: Path) -> None:
    chunk(path).unlink()


def surplus(path: Path) -> None:
    shutil.copy(chunk(path), chunk(path).with_name("c.9.9"))


def cut(path: Path) -> None:
    chunk(path).write_bytes(chunk(path).read_bytes()[:-1])


@pytest.mark.parametrize("damage", [missing, surplus, cut])
def test_other_damage_is_refused_too(whole: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A chunk that is missing would read as numbers that were not recorded, of cases that were measured."""
    path = tmp_path / "damaged"
    shutil.copytree(whole, path)
    damage(path)
    with pytest.raises(UserMistake, match=rf"{damage.__name__}.*Nothing is added to what is damaged"):
        gradlab.run(TABLE, out=path)
    assert not verify(path).verified


def test_a_plan_is_refused_what_a_run_is(flipped: Path) -> None:
    with pytest.raises(UserMistake, match=ALTERED):
        met(plan_of(Spec.from_dict(FINER)), flipped)


@pytest.mark.parametrize("name", ["status", "radius", "settings_key", "code_key", "loss"])
@pytest.mark.parametrize("size", [5, None])
def test_what_cannot_be_decoded_is_told_also_where_nothing_is_sealed(
    whole: Path, tmp_path: Path, name: str, size: int | None
) -> None:
    """A run that was killed has left no manifest to compare with."""
    path = tmp_path / "damaged"
    shutil.copytree(whole, path)
    (path / "manifest.json").unlink()
    (file,) = (path / "data.zarr" / name).glob("c*")
    data = bytearray(file.read_bytes())
    data[12] ^= 0xFF  # of how long the chunk says that it is
    file.write_bytes(data[:size])
    told = rf"data\.zarr.{name}.{file.name}: expected a chunk of the array, got a damaged one \("
    if name == "loss":
        told = rf"data\.zarr.{name}: expected an array that can be read, got a damaged one \("
    else:  # a plan reads no numbers
        with pytest.raises(UserMistake, match=told):
            met(plan_of(Spec.from_dict(FINER)), path)
    with pytest.raises(UserMistake, match=told):
        gradlab.run(FINER, out=path)


def test_what_holds_no_number_is_no_obstacle(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    shutil.copytree(whole, path)
    (path / "figures" / "own.png").write_bytes(b"")
    (path / "provenance.json").unlink()
    (path / "notes.txt").write_text("mine")
    gradlab.run(TABLE, out=path)
    (path / "notes.txt").unlink()
    gradlab.run(TABLE, out=path)
    assert verify(path).verified


def test_it_is_not_merged_and_not_packed(flipped: Path, tmp_path: Path) -> None:
    gradlab.run(OTHER, out=tmp_path / "b")
    with pytest.raises(UserMistake, match=ALTERED):
        merge([flipped, tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(UserMistake, match=r"a sealed archive, .*altered.*unless its data are damaged"):
        pack(flipped)


def test_the_seal_is_off_while_a_run_writes(whole: Path, tmp_path: Path) -> None:
    """So that what a killed run has written is not taken for an alteration."""
    path, seals = tmp_path / "a", []
    shutil.copytree(whole, path)
    gradlab.run(FINER, out=path, progress=lambda *_: seals.append(check(path).sealed))
    assert seals
    assert not any(seals)
    assert verify(path).verified


def test_a_run_that_cannot_be_done_leaves_a_seal(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    shutil.copytree(whole, path)
    with pytest.raises(UserMistake, match=r"memory: expected at least"):
        gradlab.run(FINER, out=path, memory="200MiB")
    assert verify(path).verified


@pytest.mark.parametrize("left", [True, False])
def test_an_archive_that_is_removed_while_a_run_makes_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    def removed(meeting: Meeting) -> None:
        begin(meeting)
        root = tmp_path / "a" / "data.zarr" / "zarr.json"
        metadata = json.loads(root.read_text())
        shutil.rmtree(tmp_path / "a")
        if left:  # what was written of the data when the rest had gone already
            del metadata["consolidated_metadata"]["metadata"]["loss"]
            root.parent.mkdir(parents=True)
            root.write_text(json.dumps(metadata))

    monkeypatch.setattr(store, "begin", removed)
    with pytest.raises(UserMistake, match=r"a(.data.zarr.loss)?: expected .*, got (nothing|No such file)"):
        gradlab.run(TABLE, out=tmp_path / "a")
