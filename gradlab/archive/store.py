"""The archive on disk: a sink that a run writes into, and opening what it wrote.

Cases are written as they come, data before status, so a killed run loses at most what was in flight:
a case whose status is not on disk is not finished, whatever else of it is. Every write is whole chunks.
Where a write covers a chunk only in part, the rest comes from memory or from disk, and cells
that have no status are reset; so the bytes on disk do not depend on the order of writes.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gradlab.archive import chunks, directory
from gradlab.archive.creation import array_of, create_data, go_on
from gradlab.archive.directory import State
from gradlab.archive.schema import AxisLike, Layout, layout
from gradlab.archive.variables import STATUS, VARIABLES, Variable
from gradlab.archive.verify import check_structure
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import xarray as xr

CACHE_BYTES = 64 * 2**20
_FINISHED = (STATUS["ok"], STATUS["overflowed"], STATUS["underflowed"])


@dataclass(frozen=True)
class _Part:
    """The rows of one write that fall into one chunk."""

    chunk: tuple[int, ...]
    region: tuple[slice, ...]  # of the case dimensions
    rows: NDArray[np.int64]
    local: tuple[NDArray[np.int64], ...]
    alone: bool  # no other cell of the chunk has a status
    closed: bool  # nothing is left to write into the chunk


class ArchiveSink:
    """Where a run writes its cases: one archive on disk, one writer.

    Make one with `create_or_open`.
    """

    def __init__(self, path: Path, plan: Layout):
        self.path = path
        self._data = path / directory.DATA
        self._plan = plan
        group = zarr.open_group(self._data, mode="r")
        self._arrays = {name: array_of(group, name) for name in plan.names}
        self._keys = np.asarray(self._arrays["case_key"][...])
        self._to_run = self._keys != ""
        self._status = np.asarray(self._arrays["status"][...])
        self._cache: OrderedDict[tuple[str, tuple[int, ...]], NDArray[Any]] = OrderedDict()

    @classmethod
    def create_or_open(
        cls,
        path: str | Path,
        *,
        spec_text: str | None,
        spec_resolved: str,
        axes: Sequence[AxisLike],
        replicates: int,
        along: Mapping[str, Sequence[Any]],
        record: Iterable[str] | None,
        tile: Sequence[int],
        case_keys: NDArray[Any],
        attrs: Mapping[str, Any],
    ) -> ArchiveSink:
        """Create the archive in `path`, or go on with the one that is there.

        Parameters
        ----------
        path : path
            A directory that does not exist, is empty, or holds an archive of the same experiment.
        spec_text, spec_resolved : str
            The spec as given (None: there was no text), and with every default, in TOML.
        axes, replicates, along, record
            As for `gradlab.archive.schema.layout`.
        tile : sequence of int
            Cases along each case dimension that are written together.
        case_keys : ndarray of str, shape (axes..., replicate)
            Content keys; empty where a filter left the point out.
        attrs : mapping
            Attributes of the dataset.

        Raises
        ------
        UserMistake
            If `path` holds something else or another experiment (nothing is touched), or the disk
            refuses.
        """
        path = Path(path)
        plan = layout(axes, replicates, along, record)
        keys = np.asarray(case_keys).astype(VARIABLES["case_key"].numpy_dtype)
        if keys.shape != plan.shape("case_key"):
            raise ValueError(f"case_keys: expected shape {plan.shape('case_key')}, got {keys.shape}")
        with directory.disk(path):
            if directory.state(path) is State.ARCHIVE:
                go_on(path, plan, keys, attrs)
                directory.write_specs(path, spec_text, spec_resolved)
            else:
                with directory.creation(path):
                    directory.write_specs(path, spec_text, spec_resolved)
                    create_data(path / directory.DATA, plan, tile, keys, attrs)
            return cls(path, plan)

    def finished(self) -> NDArray[np.bool_]:
        """Return which cases need not be run again, shape (axes..., replicate)."""
        return np.isin(self._status, _FINISHED)

    def write(self, index: NDArray[np.int64], records: Mapping[str, NDArray[Any]]) -> None:
        """Write cases, their status last.

        Parameters
        ----------
        index : ndarray of int, shape (cases, case dimensions)
            Places in the dense grid.
        records : mapping of str to ndarray, shape (cases,) or (cases, what it runs along...)
            `status` must be among them. Variables the archive does not keep are passed over; where a
            dimension is shorter than the archive's, its end is padded.

        Raises
        ------
        UserMistake
            If the disk refuses. Cases written before are safe.
        """
        index = np.asarray(index, dtype=np.int64).reshape(-1, self._status.ndim)
        if not len(index):
            return
        status = np.asarray(records["status"], dtype=np.int8)
        names = [n for n in self._arrays if n in records and n not in ("status", "case_key")]
        parts: dict[tuple[int, ...], list[_Part]] = {}
        kept = f"The {int(self.finished().sum())} cases finished before are kept"
        with directory.disk(self.path, kept):
            try:
                for name in (*names, "status"):
                    chunk = self._arrays[name].chunks[: self._status.ndim]
                    if chunk not in parts:
                        parts[chunk] = list(self._parts(index, chunk))
                    for part in parts[chunk]:
                        self._put(name, part, np.asarray(records[name]))
            except BaseException:
                self._cache.clear()
                raise
        self._status[tuple(index.T)] = status

    def fail(self, index: NDArray[np.int64], error: str, settings: Sequence[Mapping[str, Any]]) -> None:
        """Record that cases raised `error`: the reason first, then the status; they hold no numbers.

        Parameters
        ----------
        index : ndarray of int, shape (cases, case dimensions)
        error : str
            The traceback.
        settings : sequence of mapping
            The settings of each case.
        """
        index = np.asarray(index, dtype=np.int64).reshape(-1, self._status.ndim)
        lines = [
            json.dumps(
                {
                    "index": place.tolist(),
                    "case_key": str(self._keys[tuple(place)]),
                    "error": error,
                    "settings": dict(table),
                },
                default=str,
            )
            for place, table in zip(index, settings, strict=True)
        ]
        with directory.disk(self.path):
            _append_lines(self.path / directory.FAILURES, lines)
        empty = {
            name: VARIABLES[name].empty((len(index), *self._plan.shape(name)[self._status.ndim :]))
            for name in self._plan.names
        }
        self.write(index, empty | {"status": np.full(len(index), STATUS["failed"], np.int8)})

    def close(self) -> None:
        """Let go of what is held in memory; everything is on disk already."""
        self._cache.clear()

    def _parts(self, index: NDArray[np.int64], chunk: tuple[int, ...]) -> Iterator[_Part]:
        """Yield the rows of `index` chunk by chunk."""
        shape = self._status.shape
        grid = tuple(-(-size // c) for size, c in zip(shape, chunk, strict=True))
        places = index // chunk
        flat = np.ravel_multi_index(tuple(places.T), grid)
        for number in np.unique(flat):
            rows = np.flatnonzero(flat == number)
            place = places[rows[0]]
            start = place * chunk
            stop = np.minimum(start + chunk, shape)
            region = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
            local = tuple((index[rows] - start).T)
            others = self._status[region].copy()
            others[local] = STATUS["not_run"]
            left = self._to_run[region] & (others == STATUS["not_run"])
            left[local] = False
            yield _Part(tuple(place.tolist()), region, rows, local, not others.any(), not left.any())

    def _put(self, name: str, part: _Part, values: NDArray[Any]) -> None:
        """Write one variable's rows of one chunk, together with the chunk's other cells."""
        variable, cases = VARIABLES[name], self._status.ndim
        shape = self._arrays[name].chunks
        buffer = self._buffer(name, part)
        buffer[part.local] = _fitted(variable, values[part.rows], buffer.shape[cases:])
        for number, piece in _pieces(buffer, shape[cases:], variable):
            chunks.write(self._data / name, part.chunk + number, piece, variable.fill)
        if not part.closed:
            self._cache[name, part.chunk] = buffer
            while len(self._cache) > 1 and sum(b.nbytes for b in self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)

    def _buffer(self, name: str, part: _Part) -> NDArray[Any]:
        """Return what the chunk holds now, nothing in cells that have no status.

        Along what the variable runs besides the case it is whole.
        """
        cached = self._cache.pop((name, part.chunk), None)
        if cached is not None:
            return cached
        array, cases = self._arrays[name], self._status.ndim
        buffer = VARIABLES[name].empty(array.chunks[:cases] + array.shape[cases:])
        if not part.alone:
            inside = buffer[tuple(slice(0, s.stop - s.start) for s in part.region)]
            written = self._status[part.region] != STATUS["not_run"]
            inside[written] = np.asarray(array[part.region])[written]
        return buffer


def _pieces(
    buffer: NDArray[Any], chunk: tuple[int, ...], variable: Variable
) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Cut a buffer into chunks along its last dimension, with their numbers.

    `chunk` is their shape without the case dimensions; only its last dimension may be less than whole.
    """
    if not chunk:
        yield (), buffer
        return
    width, before = chunk[-1], (0,) * (len(chunk) - 1)
    for number, start in enumerate(range(0, buffer.shape[-1], width)):
        piece = buffer[..., start : start + width]
        if piece.shape[-1] < width:
            piece = variable.empty((*piece.shape[:-1], width))
            piece[..., : buffer.shape[-1] - start] = buffer[..., start:]
        yield (*before, number), piece


def _fitted(variable: Variable, rows: NDArray[Any], last: tuple[int, ...]) -> NDArray[Any]:
    """Return `rows` with the dimensions after the case dimensions as the archive has them."""
    if rows.shape[1:] == last:
        return rows
    padded = variable.empty((len(rows), *last))
    padded[(slice(None), *map(slice, rows.shape[1:]))] = rows
    return padded


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines in one write, after a line that a killed run may have left unended."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            lines = lines if file.read(1) == b"\n" else ["", *lines]
        file.write(("\n".join(lines) + "\n").encode())


def read_failures(path: str | Path) -> list[dict[str, Any]]:
    """Return, of each case that is failed now, its last entry in ``failures.jsonl``.

    Each entry has `index`, `case_key`, `error` and `settings`.
    """
    file = Path(path) / directory.FAILURES
    if not file.is_file():
        return []
    group = zarr.open_group(Path(path) / directory.DATA, mode="r")
    status = np.asarray(array_of(group, "status")[...])
    entries: dict[tuple[int, ...], dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            place = tuple(int(i) for i in entry["index"])
            failed = status[place] == STATUS["failed"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue  # a line that a killed run left unended
        if failed.ndim == 0 and failed:
            entries[place] = entry
    return [entries[place] for place in sorted(entries)]


def open_archive(path: str | Path) -> xr.Dataset:
    """Open an archive: labelled data, read from disk when used.

    Raises
    ------
    UserMistake
        If there is no archive, it is damaged, or it was written by a newer gradlab.
    """
    import xarray as xr  # late: the run that writes an archive starts sooner without it

    path = Path(path)
    if problems := check_structure(path):
        raise UserMistake(problems)
    data = path / directory.DATA
    try:
        ds: xr.Dataset = xr.open_zarr(data, chunks=None, consolidated=True)
    except Exception as error:  # whatever a reader says of bytes that are not what they claim to be
        got = f"one that cannot be opened ({type(error).__name__}: {error})"
        raise UserMistake(Problem(str(data), "a Zarr group as the schema describes it", got)) from error
    return ds
