"""An archive packed into one zip file: the same archive gives the same bytes.

Members stand in the order of their names, stored and not compressed (chunks are compressed already, and
what a compressor makes differs between its versions), with the time stamp of zip's first day. Besides
the archive's own files, ``lock.json`` apart, there are ``ro-crate-metadata.json`` (RO-Crate 1.1) and
``README.md``, both made from these files.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from gradlab.archive import crate, directory
from gradlab.archive.files import PIECE, DirectoryFiles, Files, PackedFiles
from gradlab.archive.manifest import OF_PACKED, check
from gradlab.core.errors import Problem, UserMistake

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_UNIX = 3


def pack(
    path: str | Path,
    out: str | Path | None = None,
    *,
    authors: Sequence[str] = (),
    licence: str = crate.LICENCE,
    date: str | None = None,
) -> Path:
    """Pack a sealed archive into one file.

    Parameters
    ----------
    path : path
        The archive's directory.
    out : path, optional
        The file; by default the directory's name with ``.zip`` beside it.
    authors : sequence of str
        Who made it: a name each, or ``NAME <https://orcid.org/...>``.
    licence : str
        SPDX identifier of the licence that the data are given under.
    date : str, optional
        Date of publication, ``YYYY-MM-DD``; by default that of the last run.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserMistake
        If the archive is not sealed or was altered since, or `out` is something else than a packed archive.
    """
    path = Path(path)
    out = directory.beside(path, ".zip") if out is None else Path(out)
    directory.check_outside(path, out)
    files = _sealed(path)
    if out.exists() and not _is_packed(out):
        expected = "a file that does not exist yet, or a packed archive to be replaced"
        raise UserMistake(Problem(str(out), expected, "another file", "Give another --out."))
    made = crate.texts(files, authors=authors, licence=licence, date=date)
    with directory.disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(out.name + directory.PARTIAL)
        try:
            with temporary.open("wb") as target:
                write(files, made, target)
            os.replace(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)
    return out


def _sealed(path: Path) -> Files:
    if path.is_file():
        raise UserMistake(
            Problem(str(path), "the directory of an archive", "a file", "It is packed already.")
        )
    if not (path / directory.MARKER).is_file():
        directory.read_marker(path)
    files = DirectoryFiles(path)
    seal = check(files)
    if seal.problems:
        hint = "Run the experiment into it again, which seals it unless its data are damaged."
        more = f", and {len(seal.problems) - 1} more" if len(seal.problems) > 1 else ""
        first = replace(seal.problems[0], hint="")
        raise UserMistake(Problem(str(path), "a sealed archive", f"{first}{more}", hint))
    return files


def _is_packed(path: Path) -> bool:
    try:
        return directory.MARKER in PackedFiles(path)
    except UserMistake:
        return False


def write(files: Files, made: Mapping[str, str], target: IO[bytes]) -> None:
    """Write the packed form of an archive's files and of what was `made` from them."""
    names = sorted({*files.sizes, *made} - {directory.LOCK})
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for name in names:
            member = zipfile.ZipInfo(name, _FIRST_DAY)
            member.create_system, member.external_attr = _UNIX, _PLAIN_FILE
            if name in made:
                packed.writestr(member, made[name].encode())
                continue
            member.file_size = files.sizes[name]
            with packed.open(member, "w") as place:
                for piece in files.pieces(name):
                    place.write(piece)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give an archive's directory; a packed one has one in the system's folder of temporary files meanwhile.

    Parameters
    ----------
    path : Path
        A directory, or a packed file.

    Raises
    ------
    UserMistake
        If a member cannot be read or would stand elsewhere, or the disk refuses.
    """
    if not path.is_file():
        yield path
        return
    files = PackedFiles(path)
    names = [name for name in files.sizes if name not in OF_PACKED]
    with contextlib.ExitStack() as stack:
        with directory.disk(path):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradlab-")))
        with directory.disk(folder):
            for name in names:
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as file:
                    file.writelines(files.pieces(name))
        yield folder


def check_packed(files: PackedFiles) -> Iterator[Problem]:
    """Yield what differs of a packed file from the bytes that `pack` writes of its members.

    Raises
    ------
    UserMistake
        If there is no room for these bytes among the system's temporary files.
    """
    made = {}
    for name in OF_PACKED:
        if name not in files:
            yield Problem(files.where(name), "a file", "nothing: it is missing")
            continue
        try:
            made[name] = files.text(name)
        except UserMistake as mistake:
            yield from mistake.problems
    if len(made) < len(OF_PACKED):
        return
    yield from crate.check_texts(files)
    with directory.disk(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as target:
        found = _damaged(files, made, target)
        target.seek(0)
        if not found and not _same(target, files.path):
            hint = "Was it packed again by another program? Unpack it and give the directory."
            got = "others between its files"
            found.append(Problem(str(files.path), "the bytes that gradlab pack writes", got, hint))
    yield from found


def _damaged(files: PackedFiles, made: Mapping[str, str], target: IO[bytes]) -> list[Problem]:
    """Write the packed form once more; return what cannot be read for it."""
    try:
        write(files, made, target)
    except UserMistake as mistake:
        return list(mistake.problems)
    return []


def _same(one: IO[bytes], path: Path) -> bool:
    with path.open("rb") as other:
        while True:
            a, b = one.read(PIECE), other.read(PIECE)
            if a != b:
                return False
            if not a:
                return True
