"""Whatever is altered in an archive is found, and named."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checked_sweep import SPEC

import gradlab
from gradlab.archive.manifest import seal
from gradlab.checking import verify
from gradlab.core.errors import UserMistake


def said(path: Path) -> str:
    found = verify(path)
    assert not found.verified
    return "\n".join(map(str, found.problems))


def test_a_sound_archive_is_verified(sound: Path, sound_zip: Path) -> None:
    one, other = verify(sound), verify(sound_zip)
    for found in (one, other):
        assert found.verified, found.problems
        assert found.cases == {
            "not_run": 0,
            "ok": 16,
            "overflowed": 0,
            "underflowed": 0,
            "failed": 0,
            "diverged": 0,
        }
        assert found.keys == 16
        assert found.notes == ()
    assert one.content_digest == other.content_digest
    assert one.files == other.files == sum(p.is_file() for p in sound.rglob("*")) - 1  # the manifest


def test_one_bit_anywhere_is_named(whole: Path) -> None:
    files = [p for p in sorted(whole.rglob("*")) if p.is_file() and p.name != "lock.json"]
    assert len(files) > 60
    for file in files:
        data = file.read_bytes()
        altered = bytearray(data)
        altered[len(data) // 2] ^= 1
        file.write_bytes(altered)
        assert str(file) in said(whole), file
        file.write_bytes(data)
    assert verify(whole).verified


@pytest.mark.parametrize("name", ["data.zarr/loss/c.0.0.0.0", "spec.resolved.toml", "figures/x.png"])
def test_cut_missing_and_surplus_files_are_named(whole: Path, name: str) -> None:
    file = whole / name
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    assert f"{file}: expected {len(data)} bytes, got {len(data) - 1}: it is cut" in said(whole)
    file.unlink()
    assert f"{file}: expected a file, got nothing: it is missing" in said(whole)
    file.write_bytes(data)
    (file.parent / "surplus").write_bytes(b"")
    assert f"{file.parent / 'surplus'}: expected no file, got a surplus one" in said(whole)


def test_surplus_files_are_found_though_the_manifest_has_them(whole: Path) -> None:
    (whole / "data.zarr" / "loss" / "c.9.9.9.9").write_bytes(b"x")
    (whole / "notes.txt").write_text("x")
    seal(whole)
    text = said(whole)
    assert "which is no chunk of an array" in text
    assert f"{whole / 'notes.txt'}: expected no file" in text


def test_an_archive_without_manifest_is_not_verified(whole: Path) -> None:
    (whole / "manifest.json").unlink()
    assert "expected the manifest of a sealed archive, got nothing" in said(whole)


def test_a_manifest_that_lies_about_the_content(whole: Path) -> None:
    file = whole / "manifest.json"
    table = json.loads(file.read_text())
    table["content_digest"] = "sha256:" + "0" * 64
    file.write_text(json.dumps(table, indent=1) + "\n")
    assert "expected the digest of the content" in said(whole)


@pytest.mark.parametrize("name", ["settings_key", "code_key", "case_key"])
def test_keys_are_computed_again(
    whole: Path, name: str, rewritten: Callable[[Path, str, Callable[[np.ndarray], object]], None]
) -> None:
    def swap(values: np.ndarray) -> None:
        values[0, 0, 0, 0] = "0" * len(values[0, 0, 0, 0])

    rewritten(whole, name, swap)
    assert "key at cell elman, radius 0.5, clip off, replicate 0: expected" in said(whole)


def test_keys_at_each_others_place(
    whole: Path, rewritten: Callable[[Path, str, Callable[[np.ndarray], object]], None]
) -> None:
    def swap(values: np.ndarray) -> None:
        values[0, 0, 0] = values[0, 0, 0][::-1].copy()

    rewritten(whole, "settings_key", swap)
    rewritten(whole, "case_key", swap)
    assert "expected the key of the settings at this place" in said(whole)


def test_text_in_place_of_keys(
    whole: Path, rewritten: Callable[[Path, str, Callable[[np.ndarray], object]], None]
) -> None:
    for name in ("case_key", "code_key", "settings_key"):
        rewritten(whole, name, lambda values: values.fill("x" * 33))
        assert f"{whole / 'data.zarr' / name}: expected keys of 32 digits, got other text" in said(whole)


def test_a_status_that_is_none(
    whole: Path, rewritten: Callable[[Path, str, Callable[[np.ndarray], object]], None]
) -> None:
    rewritten(whole, "status", lambda values: values.fill(17))
    assert (
        "expected one of not_run, ok, overflowed, underflowed, failed, diverged, got something else in 16"
        in said(whole)
    )


def test_settings_of_other_cases(whole: Path) -> None:
    file = whole / "spec.resolved.toml"
    file.write_text(file.read_text().replace("hidden = 3", "hidden = 4"))
    seal(whole)
    assert "expected a key that the settings give" in said(whole)


def test_every_damaged_chunk_is_named_without_a_manifest(whole: Path) -> None:
    chunks = [whole / "data.zarr" / name / "c.0.0.0.0" for name in ("loss", "clip_factor")]
    for chunk in chunks:
        chunk.write_bytes(b"damaged")
    (whole / "manifest.json").unlink()
    text = said(whole)
    assert all(f"{chunk}: expected a chunk of the array" in text for chunk in chunks)


def test_links_and_devices_are_refused(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (whole / "spec.toml").unlink(missing_ok=True)
    (whole / "spec.toml").symlink_to(tmp_path / "secret")
    assert re.search(r"spec.toml: expected a plain file .*, got a link", said(whole))
    (whole / "spec.toml").unlink()
    os.mkfifo(whole / "spec.toml")
    assert re.search(r"spec.toml: expected a plain file .*, got something else", said(whole))
    (whole / "spec.toml").unlink()
    shutil.move(whole / "data.zarr", tmp_path / "data.zarr")
    (whole / "data.zarr").symlink_to(tmp_path / "data.zarr")
    assert re.search(r"data.zarr: expected a plain file or folder .*, got a link", said(whole))


def test_nothing_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="nothing: there is no such directory"):
        verify(tmp_path / "none")


def test_an_extended_archive_is_verified(whole: Path) -> None:
    gradlab.run({**SPEC, "sweep": {**SPEC["sweep"], "network.spectrum.radius": [0.5, 1.0, 2.0]}}, whole)
    gradlab.run({**SPEC, "sweep": {**SPEC["sweep"], "network.cell": ["gru"]}}, whole)
    found = verify(whole, sample=6)
    assert found.verified, found.problems
    assert found.keys == 32
    assert found.replay is not None
    assert found.replay.of == 32


def test_files_outside_are_read_only_from_the_folder_that_is_given(tmp_path: Path) -> None:
    record = tmp_path / "there" / "record.csv"
    record.parent.mkdir()
    record.write_text("x\n" + "\n".join(str(i % 7) for i in range(40)) + "\n")
    task = {"name": "series", "file": str(record), "column": "x", "length": 5, "batch": 2}
    gradlab.run({"network": {"hidden": 3}, "task": task}, tmp_path / "a")
    found = verify(tmp_path / "a", sample=1)
    assert found.keys == 0
    assert found.replay is None
    assert "the settings name record.csv. --outside FOLDER says where that is." in found.notes[0]
    moved = tmp_path / "moved"
    shutil.move(record.parent, moved)
    found = verify(tmp_path / "a", sample=1, outside=moved)
    assert found.verified, found.problems
    assert found.keys == 1
    assert found.replay is not None
    (moved / "record.csv").write_text("x\n" + "\n".join(str(i % 5) for i in range(40)) + "\n")
    assert not verify(tmp_path / "a", outside=moved).verified
    (moved / "record.csv").unlink()
    os.mkfifo(moved / "record.csv")
    found = verify(tmp_path / "a", outside=moved)
    assert "expected a plain file of at most" in str(found.problems[0])


def test_verifying_takes_no_longer_than_reading(sound: Path) -> None:
    begun = time.perf_counter()
    verify(sound)
    assert time.perf_counter() - begun < 5.0
