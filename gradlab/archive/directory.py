"""The directory of an archive: its files, how it comes to be, and what the disk may refuse.

Creation is marked: `archive.json` is written first with ``complete`` false, last with true. A run
killed in between leaves a directory in which no case was written yet, and the next run makes it anew.
Every small file is replaced in one move, so it is either the old or the new one.
"""

from __future__ import annotations

import contextlib
import ctypes
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
MANIFEST = "manifest.json"
LOCK = "lock.json"
CHECKPOINTS = "checkpoints"  # of cases that are under way; gone when all are done
FORMER = "specs"  # of cases that the last spec has not
NEXT = "next"  # what is to take the place of data and specs: complete as soon as it has this name
OLD = "data.zarr.old"
_FRESH = "fresh"  # tells new data from old ones while they change places
_HERE, _EXCHANGE = -100, 2  # of Linux's renameat2: AT_FDCWD, RENAME_EXCHANGE
PARTIAL = ".partial"  # the end of a temporary file's name, here as in Zarr's store


class State(Enum):
    """What a directory is to a run that wants to write an archive there."""

    NEW = auto()
    UNFINISHED = auto()  # its creation was interrupted: it holds no case
    ARCHIVE = auto()


def beside(path: Path, ending: str) -> Path:
    """Return where something goes that is named after an archive, and stands beside it."""
    path = path.resolve() if path.name in ("", "..") else path
    return path.with_name((path.stem if path.is_file() else path.name) + ending)


def check_outside(archive: Path, out: Path) -> None:
    """Refuse to write `out` into an archive's own directory, which it would then differ from its seal.

    Raises
    ------
    UserMistake
        If it is there.
    """
    if archive.is_dir() and out.resolve().is_relative_to(archive.resolve()):
        raise UserMistake(Problem(str(out), "a place outside of the archive", f"one in {archive}"))


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
        text = (path / MARKER).read_text(encoding="utf-8")
    except ValueError:
        text = ""
    return checked_marker(text, where, str(path / MARKER))


def checked_marker(text: str, where: str, file: str) -> dict[str, Any]:
    """Return the marker that a text is, of the archive in `where`; raises as `read_marker` does."""
    try:
        marker = json.loads(text)
    except (ValueError, RecursionError):
        raise UserMistake(Problem(file, "JSON", "text that cannot be read as such")) from None
    version = marker.get("schema") if isinstance(marker, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or marker.get("format") != FORMAT:
        raise UserMistake(Problem(file, f'"format": "{FORMAT}" and a schema', shown(marker)))
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
    check_links(path)
    entries = sorted(entry.name for entry in path.iterdir())
    if not set(entries) - {MARKER + PARTIAL, LOCK}:
        return State.NEW
    if MARKER not in entries:
        some = ", ".join(shown(name, 40) for name in entries[:3]) + (", …" if len(entries) > 3 else "")
        got = f"one that holds something else ({some})"
        raise UserMistake(Problem(str(path), "an empty directory or an archive of gradlab", got, hint))
    marker = read_marker(path)
    return State.ARCHIVE if marker.get("complete") is True else State.UNFINISHED


def check_links(path: Path) -> None:
    """Refuse a directory with links in it: what is written there may end up elsewhere.

    Raises
    ------
    UserMistake
        With every link; nothing is touched.
    """
    links = sorted(entry.name for entry in path.iterdir() if entry.is_symlink())
    if links:
        expected = "a plain file or folder of the archive"
        raise UserMistake(Problem(f"{path}{os.sep}{name}", expected, "a link") for name in links)


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one move; a file that already says so is left alone."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
        return
    temporary = path.with_name(path.name + PARTIAL)
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # a new one: nothing is written through a link
            file.write(text.encode())
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
    for name in (DATA, FORMER, NEXT):
        remove(path / name)
    yield
    (path / FIGURES).mkdir(exist_ok=True)
    write_marker(path, complete=True)


def write_specs(path: Path, given: str | None, resolved: str) -> None:
    """Keep the spec as given (None: there was no text) and as resolved."""
    if given is not None:
        replace_text(path / SPEC, given)
    replace_text(path / RESOLVED, resolved)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace the data and the specs of an archive by what the body makes in the folder it gets, at once.

    The body makes ``data.zarr``, the specs as `write_specs` does, and the folder `FORMER`. Until it is
    done, the archive is the old one; from one move on it is the new one, though a run that is killed
    then leaves it to the next to put the parts in their places (`settle`).
    """
    partial = path / (NEXT + PARTIAL)
    remove(partial)
    try:
        (partial / FORMER).mkdir(parents=True)
        yield partial
        (partial / DATA / _FRESH).touch()
        os.replace(partial, path / NEXT)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(partial)
        raise
    settle(path)


def settle(path: Path) -> None:
    """Put what is to take the place of data and specs there, as far as a killed run has not.

    A killed run leaves no seal: what lies in a sealed archive is none of a run's.
    """
    new = path / NEXT
    if not new.is_dir() or new.is_symlink() or (path / MANIFEST).exists():
        return
    if (new / DATA / _FRESH).exists():
        if (path / DATA).exists() and not _exchanged(new / DATA, path / DATA):
            remove(path / OLD)
            os.replace(path / DATA, path / OLD)
        if not (path / DATA).exists():
            os.replace(new / DATA, path / DATA)
    (path / DATA / _FRESH).unlink(missing_ok=True)
    for name in (SPEC, RESOLVED):
        if (new / name).exists():
            os.replace(new / name, path / name)
    if (new / FORMER).exists():
        remove(path / FORMER)
        os.replace(new / FORMER, path / FORMER)
    with contextlib.suppress(OSError):
        (path / FORMER).rmdir()  # if there are none
    write_marker(path, complete=True)
    remove(path / OLD)
    remove(new)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change their names in one move; return whether the system can."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        done = library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    except (OSError, AttributeError, TypeError):  # not on this system
        return False
    return bool(done == 0)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def sweep_temporaries(path: Path) -> None:
    """Remove the temporary files that a killed run left."""
    remove(path / (NEXT + PARTIAL))
    remove(path / OLD)
    for folder, _, names in os.walk(path):
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
            gone = isinstance(error, FileNotFoundError)  # Zarr raises it with words of its own
            got = error.strerror or (os.strerror(errno.ENOENT) if gone else shown(error))
            problem = Problem(str(path), "a disk that can be written", got, f"{kept}. Mend this and {again}.")
        raise UserMistake(problem) from error
