"""Mutated archives: each must be refused, or read; and verified only where nothing was altered."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import stat
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_specs import HOSTILE, TINY, Fault, check_message, mutate_tree, mutated_bytes
from rich.console import Console

import gradlab
from gradlab.api import merge
from gradlab.archive.export import export
from gradlab.archive.manifest import seal
from gradlab.archive.packed import pack
from gradlab.checking import diff, verify
from gradlab.cli.checked import difference_lines, verification_lines
from gradlab.cli.contents import archive_lines, archive_table
from gradlab.core.errors import UserMistake

OTHER = TINY[: TINY.index("[sweep]")].replace("hidden = 3", 'hidden = 3\nactivation = "leaky_relu"')
OTHER += '[sweep]\n"network.spectrum.radius" = [0.5, 1.0]\n'
BOMB = 1 << 28  # bytes that a hostile member inflates to


@dataclass(frozen=True)
class Bench:
    """A sound archive, as a directory and packed, and where mutated ones are tried.

    Parameters
    ----------
    folder, whole, packed, arena : Path
    """

    folder: Path
    whole: Path
    packed: Path
    arena: Path

    @classmethod
    def prepare(cls, folder: Path, make: Callable[[Path], None]) -> Bench:
        """Make the sound archives."""
        folder.mkdir()
        make(folder)
        packed = pack(folder / "whole", folder / "packed.zip", date="2020-02-02")
        (folder / "outside").mkdir()
        (folder / "outside" / "secret").write_text("not of the archive")
        return cls(folder, folder / "whole", packed, folder / "arena")


def _of_a_run(folder: Path) -> None:
    (folder / "tiny.toml").write_text(TINY)
    gradlab.run(folder / "tiny.toml", folder / "whole")


def _of_two_specs(folder: Path) -> None:
    """Of which the second lacks an axis, and calls a setting otherwise."""
    _of_a_run(folder)
    gradlab.run(tomllib.loads(OTHER), folder / "whole")


def _of_weights(folder: Path) -> None:
    """A network that was read: a spec cannot be run into its archive."""
    stream = np.random.default_rng(0)
    weights = {"weight_ih_l0": stream.normal(size=(12, 2)), "weight_hh_l0": stream.normal(size=(12, 3))}
    gradlab.probe(weights, stream.normal(size=(4, 2, 2)), out=folder / "whole")


KINDS = (_of_a_run, _of_a_run, _of_two_specs, _of_weights)


def benches(folder: Path) -> list[Bench]:
    """Return sound archives of every kind."""
    return [Bench.prepare(folder / str(number), make) for number, make in enumerate(KINDS)]


def _files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def _state(root: Path, apart: Path) -> dict[str, bytes]:
    """Return every file below a folder but in `apart`."""
    return {str(p): p.read_bytes() for p in _files(root) if apart not in p.parents}


def _flip(root: Path, rng: random.Random) -> None:
    file = rng.choice(_files(root))
    file.write_bytes(mutated_bytes(file.read_bytes(), rng))


def _drop(root: Path, rng: random.Random) -> None:
    rng.choice(_files(root)).unlink()


def _surplus(root: Path, rng: random.Random) -> None:
    folder = rng.choice(_files(root)).parent
    name = rng.choice(("x", "c.9", "zarr.json.bak", "c.0.0.0.0.0", ".hidden", "\x1b[31m"))
    (folder / name).write_bytes(rng.randbytes(rng.choice((0, 5, 3000))))


def _swap(root: Path, rng: random.Random) -> None:
    one, other = rng.sample(_files(root), 2)
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def _attribute(root: Path, rng: random.Random) -> None:
    """Change a value in a JSON file; of an array's metadata often in both copies alike."""
    file = rng.choice([p for p in _files(root) if p.suffix == ".json"])
    tree = json.loads(file.read_text())
    mutate_tree(tree, rng)
    file.write_text(json.dumps(tree, indent=rng.choice((1, 2, None))))
    group = root / "data.zarr" / "zarr.json"
    if file.parent.parent == group.parent and rng.random() < 0.7:
        whole = json.loads(group.read_text())
        whole["consolidated_metadata"]["metadata"][file.parent.name] = tree
        group.write_text(json.dumps(whole))


def _link(root: Path, rng: random.Random) -> None:
    file = rng.choice(_files(root))
    file.unlink()
    file.symlink_to(root.parent.parent / "outside" / "secret")


def _special(root: Path, rng: random.Random) -> None:
    file = rng.choice(_files(root))
    file.unlink()
    if rng.random() < 0.5:
        os.mkfifo(file)
    else:
        file.mkdir()


DIRECTORY: tuple[Callable[[Path, random.Random], None], ...] = (
    _flip,
    _flip,
    _drop,
    _surplus,
    _swap,
    _attribute,
    _attribute,
    _attribute,
    _link,
    _special,
)


def _rezipped(bench: Bench, rng: random.Random, target: Path) -> None:
    """Write the packed archive again with one hostile member."""
    names = (
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        "C:\\evil",
        "data.zarr",
        "x/",
        rng.choice(HOSTILE) or ".",
    )
    extra = zipfile.ZipInfo(rng.choice(names))
    kind = rng.randrange(6)
    with zipfile.ZipFile(bench.packed) as source, zipfile.ZipFile(target, "w") as packed:
        members = source.infolist()
        for member in members:
            data = source.read(member)
            if kind == 0 and rng.random() < 0.05:
                data = mutated_bytes(data, rng)
            member.compress_type = zipfile.ZIP_DEFLATED if kind == 1 else zipfile.ZIP_STORED
            if kind == 2 and rng.random() < 0.05:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            packed.writestr(member, data)
        if kind == 3:
            packed.writestr(rng.choice(members).filename, b"twice")
        elif kind == 4:
            extra = zipfile.ZipInfo(rng.choice(("data.zarr/loss/c.0.0.0", "bomb", "failures.jsonl")))
            extra.compress_type = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            packed.writestr(extra, bytes(BOMB // (1 if extra.compress_type == zipfile.ZIP_BZIP2 else 4)))
        elif kind == 5:
            packed.writestr(extra, b"evil")


def _mutated(rng: random.Random, bench: Bench) -> tuple[Path, str]:
    """Make a mutated archive in the arena; return it and how it was made."""
    shutil.rmtree(bench.arena, ignore_errors=True)
    bench.arena.mkdir()
    kind = rng.random()
    if kind < 0.25:
        target = bench.arena / "a.zip"
        target.write_bytes(mutated_bytes(bench.packed.read_bytes(), rng))
        return target, "bytes of a packed file"
    if kind < 0.4:
        target = bench.arena / "a.zip"
        _rezipped(bench, rng, target)
        return target, "hostile zip"
    target = bench.arena / "a"
    shutil.copytree(bench.whole, target)
    for _ in range(rng.choice((1, 1, 1, 2))):
        change = rng.choice(DIRECTORY)
        try:
            change(target, rng)
        except (ValueError, KeyError, TypeError, OSError):  # nothing left that this could change
            continue
    if kind > 0.8:
        try:
            seal(target)
        except UserMistake as mistake:
            check_message(mistake)
        else:
            return target, "sealed again"
    return target, "directory"


def _same(path: Path, bench: Bench) -> bool:
    """Whether nothing was altered after all."""
    if path.is_file():
        return path.read_bytes() == bench.packed.read_bytes()
    if any(p.is_symlink() for p in path.rglob("*")):
        return False
    return _state(path, path / "none") == {
        str(path / Path(name).relative_to(bench.whole)): data
        for name, data in _state(bench.whole, bench.whole / "none").items()
    }


def _shown(lines: list[Any]) -> None:
    console = Console(file=io.StringIO(), color_system=None, width=100)
    for line in lines:
        console.print(line)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO
    if any(not c.isprintable() and c != "\n" for c in text):
        raise Fault("control characters on the terminal")


def _open(path: Path, bench: Bench) -> None:
    gradlab.open_archive(path).load()


def _show(path: Path, bench: Bench) -> None:
    _shown(archive_lines(archive_table(path)))


def _diff(path: Path, bench: Bench) -> None:
    found = diff(path, bench.whole)
    _shown(difference_lines(found, path, bench.whole))


def _export(path: Path, bench: Bench) -> None:
    out = bench.arena / "out"
    export(path, "csv", out / "csv")
    export(path, "netcdf", out / "nc")


def _replay(path: Path, bench: Bench) -> None:
    verify(path, sample=2)


def _run_into(path: Path, bench: Bench) -> None:
    """Run a spec that lacks an axis into a copy, which is then as sound as what was there before."""
    if path.is_dir():
        copy = bench.arena / "out" / "run"
        copy.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(path), str(copy)], check=True)  # pipes and links as they are
        gradlab.run(tomllib.loads(OTHER), copy)


def _merge(path: Path, bench: Bench) -> None:
    other = bench.arena / "out" / "other"
    gradlab.run(tomllib.loads(OTHER), other)
    merge([path, other], bench.arena / "out" / "merged")


READERS = (_open, _show, _diff, _export, _replay, _run_into, _merge)


def try_archive(rng: random.Random, bench: Bench) -> str:
    """Make a mutated archive, verify it and read it; return what became of it."""
    path, kind = _mutated(rng, bench)
    before = _state(bench.folder, bench.arena / "out")
    try:
        found = verify(path)
    except UserMistake as mistake:
        check_message(mistake)
        end = "refused"
    else:
        for problem in found.problems:
            check_message(UserMistake(problem))
        _shown(verification_lines(found, path, False))
        end = "verified" if found.verified else "not verified"
        if found.verified and kind != "sealed again" and not _same(path, bench):
            raise Fault(f"an altered archive is called verified ({kind})")
        if not found.verified and _same(path, bench):
            raise Fault(f"a sound archive is called altered ({kind})")
    for reader in rng.sample(READERS, 2):
        try:
            reader(path, bench)
        except UserMistake as mistake:
            check_message(mistake)
    if _state(bench.folder, bench.arena / "out") != before:
        raise Fault("a file outside the output folder was written")
    return f"{kind}: {end}"
