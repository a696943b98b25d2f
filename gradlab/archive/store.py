"""The archive on disk: a sink that a run writes into.

Cases are written as they come, data before status, so a killed run loses at most what was in flight:
a case whose status is not on disk is not finished, whatever else of it is. Every write is whole chunks.
Where a write covers a chunk only in part, the rest comes from memory or from disk, and cells
that have no status are reset; so the bytes on disk do not depend on the order of writes.
"""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import chunks, directory
from gradlab.archive.content import Digests, row_digests
from gradlab.archive.creation import array_of, open_data, values_of
from gradlab.archive.directory import State
from gradlab.archive.extend import Meeting, Wanted, begin, meet
from gradlab.archive.failures import FailureLog
from gradlab.archive.manifest import check_unaltered, seal
from gradlab.archive.schema import AxisLike, layout
from gradlab.archive.united import FINISHED, Held, Index, read_held
from gradlab.archive.variables import KEYS, STATUS, VARIABLES, Variable
from gradlab.archive.verify import check_structure
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.fingerprint import code_key

if TYPE_CHECKING:
    import zarr

CACHE_BYTES = 64 * 2**20


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

    def __init__(
        self,
        path: Path,
        held: Held,
        places: tuple[Index, ...],
        begin: Callable[[], None],
        waiting: bool,
        written: Digests,
    ):
        self.path = path
        #: How the archive is laid out: as the spec, or wider where it has cases beside.
        self.layout = held.layout
        self._places = places
        self._data = path / directory.DATA
        self._begin = begin
        self._keys = held.settings
        self._to_run = self._keys != ""
        self._waiting = waiting
        self._written = written
        self._status = held.status.copy()
        self._cache: OrderedDict[tuple[str, tuple[int, ...]], NDArray[Any]] = OrderedDict()
        self._log = FailureLog(path)

    @classmethod
    def open(cls, meeting: Meeting, written: Digests | None = None) -> ArchiveSink:
        """Return the sink for the archive that a spec has met; `begin` makes it ready.

        Chunks that are complete get their digests into `written`.
        """
        make_ready = functools.partial(begin, meeting)
        written = {} if written is None else written
        return cls(meeting.path, meeting.target, meeting.places, make_ready, meeting.waiting, written)

    def begin(self) -> None:
        """Make the archive ready to be written into; what needs it does so itself.

        Raises
        ------
        UserMistake
            If the disk refuses.
        """
        assert self._arrays

    @functools.cached_property
    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays on disk, once the archive is ready for them."""
        with directory.disk(self.path):
            self._begin()
            self._log.compact(self._keys, self._status)
            group = open_data(self._data)
            return {name: array_of(group, name) for name in self.layout.names if name not in KEYS}

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
        settings_keys: NDArray[Any],
        attrs: Mapping[str, Any],
        code: str | None = None,
        prune: bool = False,
    ) -> ArchiveSink:
        """Create the archive in `path`, or go on with the one that is there; code that differs is accepted.

        Parameters
        ----------
        path : path
            A directory that does not exist, is empty, or holds an archive.
        spec_text, spec_resolved, axes, replicates, along, record, tile, settings_keys, attrs, code
            As for `wanted`.
        prune : bool
            Drop cases that are not among these.

        Raises
        ------
        UserMistake
            If `path` holds something else or what cannot be united with this (nothing is touched), or
            the disk refuses.
        """
        path = Path(path)
        asked = wanted(
            spec_text=spec_text,
            spec_resolved=spec_resolved,
            axes=axes,
            replicates=replicates,
            along=along,
            record=record,
            tile=tile,
            settings_keys=settings_keys,
            attrs=attrs,
            code=code,
        )
        sink = cls.open(meet_to_write(path, asked, prune=prune))
        sink.begin()
        return sink

    def finished(self) -> NDArray[np.bool_]:
        """Return which cases need not be run again, shape (axes..., replicate)."""
        return np.isin(self._status[np.ix_(*self._places)], FINISHED)

    def complete(self) -> bool:
        """Return whether every case of the archive was run, also those beside the spec's."""
        return not self._waiting and bool((self._status[self._to_run] != STATUS["not_run"]).all())

    def write(self, index: NDArray[np.int64], records: Mapping[str, NDArray[Any]]) -> None:
        """Write cases, their status last.

        Parameters
        ----------
        index : ndarray of int, shape (cases, case dimensions)
            Places in the dense grid of the spec.
        records : mapping of str to ndarray, shape (cases,) or (cases, what it runs along...)
            `status` must be among them. Variables the archive does not keep are passed over; where a
            dimension is shorter than the archive's, its end is padded.

        Raises
        ------
        UserMistake
            If the disk refuses. Cases written before are safe.
        """
        index = self._placed(index)
        if not len(index):
            return
        status = np.asarray(records["status"], dtype=np.int8)
        names = [name for name in self._arrays if name in records and name != "status"]
        parts: dict[tuple[int, ...], list[_Part]] = {}
        kept = f"The {int(np.isin(self._status, FINISHED).sum())} cases finished before are kept"
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
        keys = self._keys[tuple(self._placed(index).T)].tolist()
        with directory.disk(self.path):
            self._log.append(error, keys, settings)
        empty = {
            name: VARIABLES[name].empty((len(index), *self.layout.shape(name)[self._status.ndim :]))
            for name in self._arrays
        }
        self.write(index, empty | {"status": np.full(len(index), STATUS["failed"], np.int8)})

    def _placed(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return places in the archive's grid, by those in the spec's."""
        index = np.asarray(index, dtype=np.int64).reshape(-1, self._status.ndim)
        return np.stack([place[index[:, axis]] for axis, place in enumerate(self._places)], axis=1)

    def close(self) -> None:
        """Leave out of the failures what counts no more; everything else is on disk already."""
        self._cache.clear()
        if "_arrays" not in self.__dict__:  # an error came before anything was written
            return
        with directory.disk(self.path):
            self._log.compact(self._keys, self._status)

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
        self._written.pop((name, part.chunk), None)
        buffer[part.local] = _fitted(variable, values[part.rows], buffer.shape[cases:])
        for number, piece in chunks.pieces(buffer, shape[cases:], variable):
            chunks.write(self._data / name, part.chunk + number, piece, variable.fill)
        if part.closed:
            if buffer.ndim > cases:
                inside = tuple(slice(0, s.stop - s.start) for s in part.region)
                self._written[name, part.chunk] = row_digests(buffer[inside], cases)
        else:
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
            inside[written] = values_of(array, part.region)[written]
        return buffer


def _fitted(variable: Variable, rows: NDArray[Any], last: tuple[int, ...]) -> NDArray[Any]:
    """Return `rows` with the dimensions after the case dimensions as the archive has them."""
    if rows.shape[1:] == last:
        return rows
    padded = variable.empty((len(rows), *last))
    padded[(slice(None), *map(slice, rows.shape[1:]))] = rows
    return padded


def wanted(
    *,
    spec_text: str | None,
    spec_resolved: str,
    axes: Sequence[AxisLike],
    replicates: int,
    along: Mapping[str, Sequence[Any]],
    record: Iterable[str] | None,
    tile: Sequence[int],
    settings_keys: NDArray[Any],
    attrs: Mapping[str, Any],
    code: str | None = None,
    by_default: bool = False,
    lone: str = "",
) -> Wanted:
    """Return what a spec asks an archive to hold.

    Parameters
    ----------
    spec_text, spec_resolved : str
        The spec as given (None: there was no text), and with every default, in TOML.
    axes, replicates, along, record
        As for `gradlab.archive.schema.layout`.
    tile : sequence of int
        Cases along each case dimension that are written together.
    settings_keys : ndarray of str, shape (axes..., replicate)
        Keys of the settings; empty where a filter left the point out.
    attrs : mapping
        Attributes of the dataset.
    code : str, optional
        Fingerprint of the code; by default that of this process.
    by_default : bool
        Whether `record` is what is recorded where a spec does not say.
    lone : str
        The one row block of all networks, where there is no dimension ``gate``.
    """
    plan = layout(axes, replicates, along, record)
    keys = np.asarray(settings_keys).astype("<U32")
    if keys.shape != plan.shape("settings_key"):
        raise ValueError(f"settings_keys: expected shape {plan.shape('settings_key')}, got {keys.shape}")
    by = np.where(keys != "", code_key() if code is None else code, "").astype("<U16")
    held = Held(plan, keys, by, np.zeros(keys.shape, np.int8), dict(attrs), {}, lone)
    return Wanted(held, tuple(tile), spec_text, spec_resolved, by_default)


def meet_to_write(path: Path, asked: Wanted, *, prune: bool = False) -> Meeting:
    """Return how a spec and what is at `path` meet, once a killed run's last moves have been made."""
    with directory.disk(path):
        directory.settle(path)
        if directory.state(path) is State.ARCHIVE:
            check_unaltered(path)
        return meet(path, asked, prune=prune)


def check_own(path: Path, key: str) -> None:
    """Refuse an archive that has other cases than the one of these settings; with nothing there, all is well.

    Raises
    ------
    UserMistake
        If it has others, or is damaged.
    """
    with directory.disk(path):
        directory.settle(path)
    if directory.state(path) is not State.ARCHIVE:
        return
    if problems := check_structure(path):
        raise UserMistake(problems)
    check_unaltered(path)
    if read_held(path).settings.ravel().tolist() != [key]:
        got = "an archive of another one"
        raise UserMistake(Problem(str(path), "the archive of this measurement", got, "Give another --out."))


@contextlib.contextmanager
def sealed(path: Path) -> Iterator[Digests]:
    """Seal the archive when the body is done, also if it was interrupted or broke the seal and failed.

    The body gets a table for the digests of what it writes, which is then not read again.
    """
    written: Digests = {}
    try:
        yield written
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | UserMistake):
            with contextlib.suppress(UserMistake, OSError):  # what failed is told, and it may be the disk
                if directory.state(path) is State.ARCHIVE and not (path / directory.MANIFEST).exists():
                    seal(path, written)
        raise
    seal(path, written)
