"""The directory of an archive: its files, how it comes to be, and what the disk may refuse.

Creation is marked: `archive.json` is written first with ``complete`` false, last with true. A run
killed in between leaves a directory in which no case was written yet, and the next run makes it anew.
Every small file is replaced in one move, so it is either the old or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import Any

from gradlab.archive.variables import SCHEMA_VERSION
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

FORMAT = "gradlab archive"
MARKER = "archive.json"
SPEC = "spec.toml"
RESOLVED = "spec.resolved.toml"
DATA = "data.zarr"
PROVENANCE = "provenance.json"
FAILURES = "failures.jsonl"
FIGURES = "figures"
PARTIAL = ".partial"  # the end of a temporary file's name, here as in Zarr's store


class State(Enum):
    """What a directory is to a run that wants to write an archive there."""

    NEW = auto()
    UNFINISHED = auto()  # its creation was interrupted: it holds no case
    ARCHIVE = auto()


def read_marker(path: Path) -> dict[str, Any]:
    """Return the marker of the archive in `path`.

    Raises
    ------
    UserMistake
        If there is none, it is damaged, or the archive is of a newer schema.
    """
    where = str(path)
    if not path.exists():
        raise UserMistake(Problem(where, "an archive of gradlab", "nothing: there is no such directory"))
    if not (path / MARKER).is_file():
        inside = next((parent for parent in path.resolve().parents if (parent / MARKER).is_file()), None)
        hint = f"Give the archive's directory itself: {inside}." if inside else ""
        got = f"a directory without {MARKER}" if path.is_dir() else "a file"
        raise UserMistake(Problem(where, "the directory of an archive of gradlab", got, hint))
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserMistake(Problem(str(path / MARKER), "JSON", "text that cannot be read as such")) from None
    version = marker.get("schema") if isinstance(marker, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or marker.get("format") != FORMAT:
        raise UserMistake(Problem(str(path / MARKER), f'"format": "{FORMAT}" and a schema', shown(marker)))
    if version > SCHEMA_VERSION:
        got = f"an archive of schema {version}"
        hint = "It was written by a newer gradlab: update gradlab to read it."
        raise UserMistake(Problem(where, f"an archive of schema {SCHEMA_VERSION} or older", got, hint))
    return dict(marker)


def state(path: Path) -> State:
    """Return what `path` is to a run that wants to write there.

    Raises
    ------
    UserMistake
        If it holds something else; nothing is touched.
    """
    if not path.exists():
        return State.NEW
    hint = "Give another --out."
    if not path.is_dir():
        raise UserMistake(Problem(str(path), "a directory, or nothing yet", "a file", hint))
    entries = sorted(entry.name for entry in path.iterdir())
    if not set(entries) - {MARKER + PARTIAL}:
        return State.NEW
    if MARKER not in entries:
        some = ", ".join(shown(name, 40) for name in entries[:3]) + (", …" if len(entries) > 3 else "")
        got = f"one that holds something else ({some})"
        raise UserMistake(Problem(str(path), "an empty directory or an archive of gradlab", got, hint))
    marker = read_marker(path)
    return State.ARCHIVE if marker.get("complete") is True else State.UNFINISHED


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one move; a file that already says so is left alone."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    temporary = path.with_name(path.name + PARTIAL)
    try:
        temporary.write_bytes(text.encode())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_marker(path: Path, *, complete: bool) -> None:
    """Write the marker of the archive in `path`."""
    marker = {"format": FORMAT, "schema": SCHEMA_VERSION, "complete": complete}
    replace_text(path / MARKER, json.dumps(marker, indent=2) + "\n")


@contextlib.contextmanager
def creation(path: Path) -> Iterator[None]:
    """Mark the archive in `path` as unfinished while the body makes its parts."""
    path.mkdir(parents=True, exist_ok=True)
    write_marker(path, complete=False)
    if (path / DATA).exists():
        shutil.rmtree(path / DATA)
    yield
    (path / FIGURES).mkdir(exist_ok=True)
    write_marker(path, complete=True)


def write_specs(path: Path, given: str | None, resolved: str) -> None:
    """Keep the spec as given (None: there was no text) and as resolved."""
    if given is not None:
        replace_text(path / SPEC, given)
    replace_text(path / RESOLVED, resolved)


def sweep_temporaries(path: Path) -> None:
    """Remove the temporary files that a killed run left."""
    for name in (MARKER, SPEC, RESOLVED, PROVENANCE):
        (path / (name + PARTIAL)).unlink(missing_ok=True)
    for folder, _, names in os.walk(path / DATA):
        for name in names:
            if name.endswith(PARTIAL):
                (Path(folder) / name).unlink(missing_ok=True)


@contextlib.contextmanager
def disk(path: Path, kept: str = "Nothing that was there is lost") -> Iterator[None]:
    """Turn what the disk refuses into one clear message.

    Parameters
    ----------
    path : Path
        Where was being written.
    kept : str
        What of the work is safe, without a full stop.
    """
    try:
        yield
    except OSError as error:
        again = "run the same command again: it continues"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = Problem(
                str(path), "room on the disk", "a full disk", f"{kept}. Free some space and {again}."
            )
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            got = "no permission to write"
            hint = f"{kept}. Allow writing there and {again}, or give another --out."
            problem = Problem(str(path), "a directory that can be written", got, hint)
        else:
            got = error.strerror or shown(error)
            problem = Problem(str(path), "a disk that can be written", got, f"{kept}. Mend this and {again}.")
        raise UserMistake(problem) from error
