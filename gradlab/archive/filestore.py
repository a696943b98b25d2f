"""The numbers of an archive as Zarr reads them: of a directory or a packed file, each chunk checked first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from gradlab.archive.directory import DATA
from gradlab.archive.files import Files
from gradlab.archive.forms import MOST_CHUNK, Form
from gradlab.core.errors import Problem, UserMistake

_METADATA = "zarr.json"


class ArchiveStore(Store):
    """What is in ``data.zarr``, to be read only.

    Parameters
    ----------
    files : Files
        The archive's.
    forms : mapping of str to Form
        Its arrays; chunks that are not what these say are refused before they are decoded.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, files: Files, forms: Mapping[str, Form]):
        super().__init__(read_only=True)
        self.files = files
        self.forms = dict(forms)

    def __str__(self) -> str:
        return self.files.where(DATA)

    def __repr__(self) -> str:
        return f"ArchiveStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArchiveStore) and other.files.path == self.files.path

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what a key holds, or None."""
        data = self._read(key)
        if data is None:
            return None
        if isinstance(byte_range, RangeByteRequest):
            data = data[byte_range.start : byte_range.end]
        elif isinstance(byte_range, OffsetByteRequest):
            data = data[byte_range.offset :]
        elif isinstance(byte_range, SuffixByteRequest):
            data = data[-byte_range.suffix :] if byte_range.suffix else b""
        return prototype.buffer.from_bytes(data)

    def _read(self, key: str) -> bytes | None:
        name = f"{DATA}/{key}"
        data = self.files.read_or_none(name, MOST_CHUNK)
        array, _, chunk = key.partition("/")
        if data is None or key == _METADATA or chunk == _METADATA or array not in self.forms:
            return data
        try:
            self.forms[array].checked(data)
        except ValueError as error:
            problem = Problem(self.files.where(name), "a chunk of the array", f"a damaged one ({error})")
            raise UserMistake(problem) from None
        return data

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of what several keys hold."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether a key holds something."""
        return f"{DATA}/{key}" in self.files

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        raise PermissionError(f"{self} is only read")

    async def delete(self, key: str) -> None:
        """Refuse."""
        raise PermissionError(f"{self} is only read")

    def list(self) -> AsyncIterator[str]:
        """Yield every key."""
        return self.list_prefix("")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin so."""
        start = f"{DATA}/"
        for name in self.files.sizes:
            if name.startswith(start + prefix):
                yield name[len(start) :]

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield what is right below a folder."""
        start = f"{DATA}/{prefix.strip('/')}/".replace("//", "/")
        seen: dict[str, Any] = {}
        for name in self.files.sizes:
            if name.startswith(start):
                seen.setdefault(name[len(start) :].partition("/")[0])
        for name in seen:
            yield name
