"""The manifest of an archive: every file with its size and digest, and one digest of what they say.

``manifest.json`` is written by `seal` when a run ends, removed by `unseal` when the next one begins to
write, and read by `check`. Nothing is added to what differs from it: `check_unaltered`. It holds

``format``, ``version``
    ``"gradlab manifest"`` and 1.
``content_digest``
    SHA-256 over data and settings; see `gradlab.archive.content.content_digest`.
``files``
    By name (``/`` between folders): ``size`` in bytes, ``sha256`` in hex, and ``content``, which is false
    for what no number depends on: ``provenance.json``, the spec as given, figures, and the checkpoints of
    trainings that were interrupted.

Not listed are the manifest itself, and ``lock.json``, which is there while a writer writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlab.archive import directory
from gradlab.archive.content import Digests, content_digest
from gradlab.archive.files import DirectoryFiles, Files, PackedFiles, files_of
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

FORMAT = "gradlab manifest"
VERSION = 1
ASIDE = (directory.MANIFEST, directory.LOCK)
_MADE = (directory.MARKER, directory.RESOLVED, directory.FAILURES)
_UNFINISHED = f"{directory.CHECKPOINTS}/"
_STRAY = (f"{directory.NEXT}/", f"{directory.OLD}/")  # of a sealed archive nothing is under way
#: What a packed file has besides the archive's own files.
OF_PACKED = ("ro-crate-metadata.json", "README.md")


@dataclass(frozen=True)
class Seal:
    """What an archive's manifest says of it, and what is there.

    Parameters
    ----------
    sealed : bool
        Whether there is a manifest.
    content_digest : str
        As the manifest says it; empty without one.
    problems : tuple of Problem
        Files that are missing, surplus, cut, longer or altered.
    files, bytes : int
        That were looked at.
    """

    sealed: bool
    content_digest: str
    problems: tuple[Problem, ...]
    files: int
    bytes: int


def seal(path: str | Path, written: Digests | None = None) -> str:
    """Write the manifest of the archive in a directory; return its content digest.

    Parameters
    ----------
    path : path
        The archive.
    written : mapping, optional
        Digests of what was written just now; it is not read again.

    Raises
    ------
    UserMistake
        If the archive is damaged, or the disk refuses.
    """
    path = Path(path)
    with directory.disk(path, "Every case that was written is kept"):
        directory.sweep_temporaries(path)
    files = DirectoryFiles(path)
    digest = content_digest(files, written)
    listed = {
        name: {"size": size, "sha256": sha256(files, name), "content": is_content(name)}
        for name, size in files.sizes.items()
        if name not in ASIDE
    }
    with directory.disk(path / directory.MANIFEST, "Every case that was written is kept"):
        directory.replace_text(path / directory.MANIFEST, _text(digest, listed))
    return digest


def unseal(path: Path) -> None:
    """Remove the manifest of an archive that is about to be written into."""
    (path / directory.MANIFEST).unlink(missing_ok=True)


def check_unaltered(path: Path) -> None:
    """Refuse a sealed archive of which data or settings are others than they were: it would be sealed so.

    What no writer has finished has no seal, and is not looked at.

    Raises
    ------
    UserMistake
        With every file that was altered, cut or made longer, or is missing, or surplus among the data.
    """
    files = files_of(path)
    if directory.MANIFEST not in files:
        return
    listed = {name: entry for name, entry in read_manifest(files)["files"].items() if _is_made(name)}
    there = {name: size for name, size in files.sizes.items() if _is_made(name)}
    if not any(name.startswith(_UNFINISHED) for name in listed):  # they were not listed once
        there = {name: size for name, size in there.items() if not name.startswith(_UNFINISHED)}
    hint = "Nothing is added to what is damaged: take a sound copy, or begin another archive."
    if found := list(_differences(files, listed, there)):
        raise UserMistake([replace(problem, hint=hint) for problem in found])


def _is_made(name: str) -> bool:
    """Whether a file is of the data, the settings or the failures of an archive, and not of a user's own."""
    folders = (f"{directory.DATA}/", f"{directory.FORMER}/", _UNFINISHED, *_STRAY)
    return name.startswith(folders) or name in _MADE


def list_figures(path: str | Path) -> None:
    """List the figures of a sealed archive in a directory again, after some were drawn.

    Nothing else is looked at: what else differs from the manifest goes on to differ. An archive that is
    not sealed stays so.
    """
    files = DirectoryFiles(Path(path))
    if directory.MANIFEST not in files:
        return
    table = read_manifest(files)
    prefix = f"{directory.FIGURES}/"
    listed = {name: entry for name, entry in table["files"].items() if not name.startswith(prefix)}
    for name, size in files.sizes.items():
        if name.startswith(prefix):
            listed[name] = {"size": size, "sha256": sha256(files, name), "content": False}
    with directory.disk(files.path / directory.MANIFEST):
        text = _text(table["content_digest"], dict(sorted(listed.items())))
        directory.replace_text(files.path / directory.MANIFEST, text)


def _text(digest: str, listed: dict[str, Any]) -> str:
    table = {"format": FORMAT, "version": VERSION, "content_digest": digest, "files": listed}
    return json.dumps(table, indent=1) + "\n"


def is_content(name: str) -> bool:
    """Whether numbers or settings of the archive are in a file."""
    aside = (f"{directory.FIGURES}/", _UNFINISHED)
    return name not in (directory.PROVENANCE, directory.SPEC) and not name.startswith(aside)


def sha256(files: Files, name: str) -> str:
    """Return the SHA-256 of a file, in hex."""
    found = hashlib.sha256()
    for piece in files.pieces(name):
        found.update(piece)
    return found.hexdigest()


def check(path: str | Path | Files) -> Seal:
    """Compare an archive's files with its manifest, byte for byte.

    Parameters
    ----------
    path : path
        A directory or a packed file.

    Raises
    ------
    UserMistake
        If there is no archive, or one with links or other things that are no plain files.
    """
    files = path if isinstance(path, Files) else files_of(path)
    sizes = files.sizes
    there = {name: size for name, size in sizes.items() if name not in ASIDE}
    if isinstance(files, PackedFiles):
        there = {name: size for name, size in there.items() if name not in OF_PACKED}
    total = sum(there.values())
    if directory.MANIFEST not in sizes:
        hint = "A run that ends seals its archive: run it again, it continues."
        problem = Problem(
            files.where(directory.MANIFEST), "the manifest of a sealed archive", "nothing", hint
        )
        return Seal(False, "", (problem,), len(there), total)
    try:
        table = read_manifest(files)
    except UserMistake as mistake:
        return Seal(False, "", mistake.problems, len(there), total)
    problems = list(_differences(files, table["files"], there))
    if (
        not problems
        and files.read(directory.MANIFEST) != _text(table["content_digest"], table["files"]).encode()
    ):
        where = files.where(directory.MANIFEST)
        problems = [Problem(where, "a manifest as gradlab writes it", "another text: it was altered")]
    return Seal(True, table["content_digest"], tuple(problems), len(there), total)


def _differences(files: Files, listed: dict[str, Any], there: dict[str, int]) -> Iterator[Problem]:
    for name in sorted({*listed, *there}):
        where = files.where(name)
        if name not in there:
            yield Problem(where, "a file", "nothing: it is missing")
        elif name not in listed:
            yield Problem(where, "no file", "a surplus one, which the manifest does not have")
        elif there[name] != listed[name]["size"]:
            short = "cut" if there[name] < listed[name]["size"] else "longer"
            yield Problem(where, f"{listed[name]['size']} bytes", f"{there[name]}: it is {short}")
        else:
            try:
                same = sha256(files, name) == listed[name]["sha256"]
            except UserMistake as mistake:
                yield from mistake.problems
                continue
            if not same:
                yield Problem(where, "the bytes that were sealed", "others: it was altered")


def read_manifest(files: Files) -> dict[str, Any]:
    """Return the manifest of an archive.

    Raises
    ------
    UserMistake
        If it is not one.
    """
    where = files.where(directory.MANIFEST)
    try:
        table = json.loads(files.text(directory.MANIFEST))
    except (ValueError, RecursionError):
        raise UserMistake(Problem(where, "JSON", "text that cannot be read as such")) from None
    if not isinstance(table, dict) or table.get("format") != FORMAT or table.get("version") != VERSION:
        raise UserMistake(Problem(where, f"a {FORMAT} of version {VERSION}", shown(table)))
    listed = table.get("files")
    if not isinstance(listed, dict) or not isinstance(table.get("content_digest"), str):
        raise UserMistake(Problem(where, "files and a content_digest", shown(table)))
    for name, entry in listed.items():
        if (
            not isinstance(entry, dict)
            or type(entry.get("size")) is not int
            or not isinstance(entry.get("sha256"), str)
            or entry.get("content") is not is_content(name)
        ):
            expected = f"size, sha256 and the right content of {shown(name)}"
            raise UserMistake(Problem(where, expected, shown(entry)))
    return table
