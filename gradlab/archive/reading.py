"""Opening an archive, a directory or a packed file: labelled data, and what stands beside them.

Opening reads metadata and no number. A chunk is read, within the bounds of `gradlab.archive.forms`, when
something uses it.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.archive import directory, failures
from gradlab.archive.content import chunk_names, decoded
from gradlab.archive.files import Files, files_of
from gradlab.archive.forms import Form
from gradlab.archive.verify import structure
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import xarray as xr

ROOM = 1 << 30
MOST_FAILURES = 1 << 29
MOST_TO_STORED = 1 << 12  # beyond `ROOM`, no variable is more than so many times what is stored of it


def open_archive(path: str | Path) -> xr.Dataset:
    """Open an archive: labelled data, read from disk when used.

    Parameters
    ----------
    path : path
        A directory, or a packed file.

    Raises
    ------
    UserMistake
        If there is no archive, it is damaged, or it was written by a newer gradlab.
    """
    files = files_of(path)
    return dataset_of(files, forms_of(files))


def forms_of(files: Files) -> dict[str, Form]:
    """Return the arrays of an archive whose structure is right.

    Raises
    ------
    UserMistake
        If it is not, or a variable declares far more than is stored of it.
    """
    problems, forms = structure(files)
    if not problems:
        stored = {
            array: sum(files.sizes[name] for name, key in names if forms[array].place(key) is not None)
            for array, names in chunk_names(files).items()
            if array in forms
        }
        hint = "If a run writes into it, wait until there is more."
        problems = [
            Problem(files.where(f"{directory.DATA}/{name}"), "a size that its chunks make likely", got, hint)
            for name, form in forms.items()
            if form.nbytes > ROOM and form.nbytes > MOST_TO_STORED * stored.get(name, 0)
            for got in [f"{form.nbytes} bytes of which {stored.get(name, 0)} are stored"]
        ]
    if problems:
        raise UserMistake(problems)
    return forms


def dataset_of(files: Files, forms: dict[str, Form]) -> xr.Dataset:
    """Return the data of an archive, lazily.

    Raises
    ------
    UserMistake
        If they cannot be opened.
    """
    import xarray as xr  # late: the run that writes an archive starts sooner without it

    from gradlab.archive.filestore import ArchiveStore  # and without Zarr

    try:
        ds: xr.Dataset = xr.open_zarr(ArchiveStore(files, forms), chunks=None, consolidated=True)
    except UserMistake:
        raise
    except Exception as error:  # whatever a reader says of bytes that are not what they claim to be
        got = f"one that cannot be opened ({type(error).__name__}: {shown(str(error), 200)})"
        data = files.where(directory.DATA)
        raise UserMistake(Problem(data, "a Zarr group as the schema describes it", got)) from error
    return ds


def read_array(files: Files, forms: dict[str, Form], name: str) -> np.ndarray[Any, Any]:
    """Return all values of one array.

    Raises
    ------
    UserMistake
        If a chunk is damaged.
    """
    form = forms[name]
    try:
        values = np.full(form.shape, form.fill, dtype=form.dtype)
    except MemoryError:
        where = files.where(f"{directory.DATA}/{name}")
        raise UserMistake(Problem(where, "a variable that memory holds", f"{form.nbytes} bytes")) from None
    prefix = f"{directory.DATA}/{name}/"
    for file in files.sizes:
        if file.startswith(prefix) and (place := form.place(file[len(prefix) :])) is not None:
            region = form.region(place)
            values[region] = decoded(files, form, file)[tuple(slice(0, s.stop - s.start) for s in region)]
    return values


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings that an archive's numbers come from: its resolved spec.

    Raises
    ------
    UserMistake
        If they are not there or no TOML.
    """
    return settings_in(files_of(path))


def settings_in(files: Files, name: str = directory.RESOLVED) -> dict[str, Any]:
    """Return the settings in one of an archive's files; see `read_settings`."""
    where = files.where(name)
    try:
        return tomllib.loads(files.text(name))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserMistake(Problem(where, "a spec in TOML", f"text that is none ({error})")) from None


def read_failures(path: str | Path) -> list[dict[str, Any]]:
    """Return, of each case that is failed now, its last entry in ``failures.jsonl``.

    Each entry has `index`, `settings_key`, `error` and `settings`.
    """
    files = files_of(path)
    if directory.FAILURES not in files:
        return []
    text = files.read(directory.FAILURES, MOST_FAILURES).decode("utf-8", errors="replace")
    forms = forms_of(files)
    keys = read_array(files, forms, "settings_key" if "settings_key" in forms else "case_key")
    return failures.read(text, keys, read_array(files, forms, "status"))


def read_provenance(path: str | Path) -> list[dict[str, Any]]:
    """Return the runs that wrote into the archive, oldest first; unreadable provenance is none."""
    try:
        return provenance_in(files_of(path))
    except UserMistake:
        return []


def provenance_in(files: Files) -> list[dict[str, Any]]:
    """Return the runs in an archive's files; see `read_provenance`."""
    try:
        table = json.loads(files.text(directory.PROVENANCE))
    except (ValueError, RecursionError):  # a UserMistake is a ValueError
        return []
    runs = table.get("runs") if isinstance(table, dict) else None
    return [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []
