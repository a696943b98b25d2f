"""The files of an archive, of a directory or of a packed file, read as what a stranger may have made.

An archive is data. Its files are regular files below its own directory, or members of one zip file:
a link, a device, a name that leads elsewhere and a name that stands twice are refused, nothing is
unpickled or evaluated, and nothing is read that is larger than its kind may be.

======================  ==================================================================
`MOST_TEXT`             bytes of a file that is read at once (metadata, spec, provenance)
`MOST_FILES`            files of a packed archive
`MOST_INFLATED`         a packed archive inflates to at most so many times its own size
======================  ==================================================================
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from gradlab.archive.directory import DATA, MANIFEST, MARKER, NEXT, OLD, PARTIAL, read_marker
from gradlab.core.checks import checked_path, shown
from gradlab.core.errors import Problem, UserMistake

MOST_TEXT = 64 << 20
MOST_FILES = 1 << 20
MOST_INFLATED = 64
PIECE = 1 << 20
ROOM = 64 << 20  # what any packed file may inflate to, however small it is
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Files(ABC):
    """The files of one archive.

    Parameters
    ----------
    path : Path
        The directory or the packed file.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its name, with ``/`` between folders; sorted.

        Raises
        ------
        UserMistake
            If something is not a plain file below the archive.
        """

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    def where(self, name: str) -> str:
        """Return the place of a file, as it is told to a person."""
        return f"{self.path}{os.sep}{name}"

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file.

        Raises
        ------
        UserMistake
            If it cannot be read.
        """
        with self._reading(name), self._open(name) as file:
            while piece := file.read(PIECE):
                yield piece

    def read(self, name: str, most: int = MOST_TEXT) -> bytes:
        """Return the bytes of a file, which may be at most `most`.

        Raises
        ------
        UserMistake
            If it is not there, cannot be read or is larger.
        """
        with self._reading(name), self._open(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise UserMistake(Problem(self.where(name), f"at most {most} bytes", "more"))
        return data

    def read_or_none(self, name: str, most: int = MOST_TEXT) -> bytes | None:
        """Return the bytes of a file as `read` does, or None if it is not there."""
        return self.read(name, most) if self._has(name) else None

    def _has(self, name: str) -> bool:
        return name in self.sizes

    def text(self, name: str) -> str:
        """Return a file as text.

        Raises
        ------
        UserMistake
            If it cannot be read or is not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8")
        except UnicodeDecodeError:
            raise UserMistake(Problem(self.where(name), "text in UTF-8", "other bytes")) from None

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, KeyError):
            raise UserMistake(Problem(self.where(name), "a file", "nothing")) from None
        except OSError as error:
            got = error.strerror or shown(str(error))
            raise UserMistake(Problem(self.where(name), "a file that can be read", got)) from None
        # zipfile raises the last three for methods, encryption and headers that it does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as e:
            got = f"a damaged one ({shown(str(e), 80)})"
            raise UserMistake(Problem(self.where(name), "a file that can be read", got)) from None


class DirectoryFiles(Files):
    """Files below a directory."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its name; what a run has not finished, or a killed one left, is passed over.

        In a sealed archive there is nothing unfinished, whatever its name.
        """
        # A folder that is no archive may be the whole disk: it is not walked.
        if self.path.is_dir() and not any((self.path / name).exists() for name in (MARKER, MANIFEST, DATA)):
            read_marker(self.path)
        found: dict[str, int] = {}
        problems: list[Problem] = []
        sealed, folders = (self.path / MANIFEST).exists(), [""]
        while folders:
            folder = folders.pop()
            for name, mode, size in self._entries(folder):
                unfinished = not sealed and (name.endswith(PARTIAL) or name in (NEXT, OLD))
                if unfinished and not stat.S_ISLNK(mode):
                    continue
                if any("\ud800" <= c <= "\udfff" for c in name):  # bytes that are no UTF-8
                    problems.append(Problem(self.where(shown(name)), "a name in UTF-8", "other bytes"))
                elif stat.S_ISDIR(mode):
                    folders.append(f"{name}/")
                elif stat.S_ISREG(mode):
                    found[name] = size
                else:
                    got = "a link" if stat.S_ISLNK(mode) else "something else"
                    problems.append(Problem(self.where(name), "a plain file or folder of the archive", got))
        if problems:
            raise UserMistake(problems)
        return dict(sorted(found.items()))

    def _entries(self, folder: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, mode and size of what is in a folder."""
        with self._reading(folder):
            try:
                entries = list(os.scandir(self.path / folder))
            except FileNotFoundError:
                if not folder:
                    raise
                return
            for entry in entries:
                name = f"{folder}{entry.name}"
                with suppress(FileNotFoundError):  # a run that writes takes its temporary files away
                    found = entry.stat(follow_symlinks=False)
                    yield name, found.st_mode, found.st_size

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()  # a run may have written it since the others were listed

    def _open(self, name: str) -> IO[bytes]:
        file = os.fdopen(os.open(self.path / name, os.O_RDONLY | _FILE), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError("not a plain file")
        return file


class PackedFiles(Files):
    """Members of a zip file, stored or deflated."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._packed: zipfile.ZipFile | None = None

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of every member by its name."""
        return {name: member.file_size for name, member in self._members.items()}

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        where = str(self.path)
        if not zipfile.is_zipfile(self.path):
            expected = "the directory of an archive of gradlab, or one packed as a zip file"
            raise UserMistake(Problem(where, expected, "a file that is neither"))
        try:
            with zipfile.ZipFile(self.path) as packed:
                members = packed.infolist()
            whole = self.path.stat().st_size
        except OSError as error:
            raise UserMistake(
                Problem(where, "a file that can be read", error.strerror or "an error")
            ) from None
        except Exception as error:  # whatever zipfile says of bytes that are no zip
            got = f"one that cannot be read as such ({shown(str(error), 80)})"
            raise UserMistake(Problem(where, "an archive of gradlab, packed as a zip file", got)) from None
        if len(members) > MOST_FILES:
            raise UserMistake(Problem(where, f"at most {MOST_FILES} files", str(len(members))))
        if sum(m.compress_size for m in members) > whole:
            raise UserMistake(Problem(where, "files that lie one after another", "overlapping ones"))
        if sum(m.file_size for m in members) > MOST_INFLATED * whole + ROOM:
            expected = f"files that inflate to at most {MOST_INFLATED} times the size"
            raise UserMistake(Problem(where, expected, "more"))
        problems: list[Problem] = []
        found: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            if (wrong := _wrong(member, found)) is not None:
                problems.append(Problem(where, *wrong))
            elif not member.filename.endswith("/"):
                found[member.filename] = member
        problems += [
            Problem(where, "names that are a file or a folder, not both", shown(name))
            for name in found
            if any(parent in found for parent in _parents(name))
        ]
        if problems:
            raise UserMistake(problems[:20])
        return dict(sorted(found.items()))

    def _open(self, name: str) -> IO[bytes]:
        if self._packed is None:
            self._packed = zipfile.ZipFile(self.path)
        return self._packed.open(self._members[name])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_packed": None}


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _wrong(member: zipfile.ZipInfo, found: dict[str, zipfile.ZipInfo]) -> tuple[str, str] | None:
    """Return what was expected and what came instead, of a member that is refused."""
    name = member.orig_filename
    parts = member.filename.removesuffix("/").split("/")
    bad = any(part in ("", ".", "..") for part in parts) or any(c in name for c in "\\:\0")
    if bad or name != member.filename or not name.isprintable():
        return "names of files below the archive", shown(name)
    if name in found:
        return "every name once", f"{shown(name)} twice"
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{shown(name)} as a plain file", "a link or a device"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{shown(name)} stored or deflated", f"compression {member.compress_type}"
    if member.flag_bits & 0x1:
        return f"{shown(name)} in plain", "an encrypted file"
    return None


def files_of(path: str | Path) -> Files:
    """Return the files of the archive in `path`, a directory or a packed file.

    Raises
    ------
    UserMistake
        If there is nothing.
    """
    path = checked_path("archive", path, "the path of an archive")
    if path.is_dir():
        return DirectoryFiles(path)
    if path.is_file():
        return PackedFiles(path)
    got = "nothing: there is no such directory" if not path.exists() else "something else"
    raise UserMistake(Problem(str(path), "an archive of gradlab", got))
