"""One digest of all that an archive says in numbers and settings, however it lies on disk."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.files import Files
from gradlab.archive.forms import MOST_CHUNK, Form
from gradlab.archive.verify import structure
from gradlab.core.errors import Problem, UserMistake

#: Variables that say which code measured; equal content may come of different code.
OF_CODE = frozenset({"code_key", "case_key"})
#: By variable and number of a chunk along the case dimensions: what `row_digests` gives for its cases.
Digests = dict[tuple[str, tuple[int, ...]], NDArray[np.uint8]]


def content_digest(files: Files, known: Digests | None = None) -> str:
    """Return the digest of an archive's data and settings, ``sha256:`` and hex.

    It covers, of every array of ``data.zarr`` but those that say which code measured, in the order of
    their names: name, dimensions, type, shape and every value; the settings of a case are among them as
    its key. It does not depend on how the numbers came there (chunks, workers, interruptions, the order
    of extensions), nor on titles and descriptions. A number counts with all
    its bits, but every NaN counts alike.

    Parameters
    ----------
    files : Files
        The archive.
    known : mapping, optional
        Digests of chunks that need not be read.

    Raises
    ------
    UserMistake
        If the structure is not that of an archive, or a chunk cannot be decoded.
    """
    problems, forms = structure(files)
    if problems:
        raise UserMistake(problems)
    named = {form.name: form for form in forms.values() if form.name not in OF_CODE}
    if "settings_key" not in named:  # before schema 2 the case's key was that of its settings
        named["settings_key"] = forms["case_key"]
    whole = hashlib.sha256()
    for name in sorted(named):
        form = named[name]
        head = [name, list(form.dims), form.data_type, list(form.shape)]
        whole.update(json.dumps(head, ensure_ascii=True, separators=(",", ":")).encode())
        whole.update(_digest_of(files, form, len(forms["status"].dims), known or {}))
    return f"sha256:{whole.hexdigest()}"


def chunk_names(files: Files) -> dict[str, list[tuple[str, str]]]:
    """Return for every array the files that are not its metadata: name in the archive, key in the array."""
    found: dict[str, list[tuple[str, str]]] = {}
    prefix = f"{directory.DATA}/"
    for name in files.sizes:
        if name.startswith(prefix):
            array, _, key = name[len(prefix) :].partition("/")
            if key and key != "zarr.json":
                found.setdefault(array, []).append((name, key))
    return found


def decoded(files: Files, form: Form, name: str) -> NDArray[Any]:
    """Return the values of one chunk.

    Raises
    ------
    UserMistake
        If it cannot be decoded.
    """
    try:
        return form.values(files.read(name, MOST_CHUNK))
    except ValueError as error:
        if isinstance(error, UserMistake):
            raise
        problem = Problem(files.where(name), "a chunk of the array", f"a damaged one ({error})")
        raise UserMistake(problem) from None


def _digest_of(files: Files, form: Form, cases: int, known: Digests) -> bytes:
    """Return a digest of all values of an array, however they are cut into chunks.

    Values that belong to one case are digested together, then these digests in the cases' order.
    """
    inner = form.shape[cases:]
    pieces: dict[tuple[int, ...], list[tuple[tuple[int, ...], str]]] = {}
    for name, key in chunk_names(files).get(form.name, ()):
        if (place := form.place(key)) is not None:
            pieces.setdefault(place[:cases], []).append((place, name))
    if not inner:
        values = np.full(form.shape, form.fill, dtype=form.dtype)
        for (place, name), *_ in pieces.values():
            _put(values, form, place, decoded(files, form, name))
        return _bytes_digest(values)
    empty = np.full(inner, form.fill, dtype=form.dtype)
    digests = np.frombuffer(_bytes_digest(empty), dtype=np.uint8)
    every = np.broadcast_to(digests, (*form.shape[:cases], len(digests))).copy()
    written = {tile: found for (name, tile), found in known.items() if name == form.name}
    for tile in written.keys() | pieces.keys():
        region = form.region((*tile, *(0,) * len(inner)))[:cases]
        if tile in written:
            every[region] = written[tile]
            continue
        buffer = np.full((*(s.stop - s.start for s in region), *inner), form.fill, dtype=form.dtype)
        for place, name in pieces[tile]:
            inside = form.region(place)[cases:]
            values = decoded(files, form, name)
            fits = tuple(slice(0, s.stop - s.start) for s in (*region, *inside))
            cells: tuple[Any, ...] = (..., *inside)
            buffer[cells] = values[fits]
        every[region] = row_digests(buffer, cases)
    return hashlib.sha256(every.tobytes()).digest()


def row_digests(values: NDArray[Any], cases: int) -> NDArray[np.uint8]:
    """Return the digests of what belongs to each case, shape (cases..., 32), of numbers alone.

    Parameters
    ----------
    values : ndarray, shape (cases..., what the variable runs along...)
    cases : int
        How many dimensions the cases have.
    """
    little = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    rows = _one_nan(little).reshape(-1, *values.shape[cases:])
    found = b"".join(hashlib.sha256(row).digest() for row in rows)
    return np.frombuffer(found, dtype=np.uint8).reshape(*values.shape[:cases], -1)


def _put(values: NDArray[Any], form: Form, place: tuple[int, ...], chunk: NDArray[Any]) -> None:
    region = form.region(place)
    values[region] = chunk[tuple(slice(0, s.stop - s.start) for s in region)]


def _one_nan(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with one NaN for all: whether it keeps its bits depends on how it was written."""
    return np.where(np.isnan(values), np.nan, values) if values.dtype.kind == "f" else values


def _bytes_digest(values: NDArray[Any]) -> bytes:
    """Return the SHA-256 of values in C order, texts with their lengths before them."""
    values = _one_nan(values)
    if values.dtype.kind != "T":
        return hashlib.sha256(values.tobytes()).digest()
    texts = [str(text).encode("utf-8", "surrogatepass") for text in values.flat]
    lengths = np.array([len(text) for text in texts], dtype="<u4").tobytes()
    return hashlib.sha256(lengths + b"".join(texts)).digest()
