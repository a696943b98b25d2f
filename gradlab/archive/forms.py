"""How an array of an archive lies in its files: its metadata, checked, and its chunks, decoded within bounds.

Only what gradlab writes is read: a regular grid of chunks, numbers or variable-length text, and Blosc
or no compression. Metadata that declares more than any sweep has is refused before anything is
allocated:

=================  ==============================================
`MOST_CASES`       cells along the case dimensions
`MOST_BYTES`       bytes of one variable, not compressed
`MOST_CHUNK`       bytes of one chunk, compressed or not
=================  ==============================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import blosc
from numcodecs.vlen import VLenUTF8
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

MOST_CASES = 1 << 24
MOST_BYTES = 1 << 38
MOST_CHUNK = 1 << 27
MOST_DIMENSIONS = 32
CODECS = frozenset({"bytes", "vlen-utf8", "blosc"})  # a codec is code: no other is let in
TYPES = {"float64": "<f8", "int64": "<i8", "int8": "|i1", "bool": "|b1"}
TEXT = "string"
_BLOSC_HEADER = 16
_COUNT = 4  # bytes of a number in variable-length text


@dataclass(frozen=True)
class Form:
    """One array as its metadata describe it.

    Parameters
    ----------
    name : str
    shape, chunk : tuple of int
        Of the array and of one chunk.
    dims : tuple of str
    data_type : str
        One of `TYPES`, or `TEXT`.
    fill : float, int, bool or str
        What stands where no chunk is.
    compressed : bool
        By Blosc.
    separator : str
        Between the numbers in a chunk's name.
    attributes : dict
    """

    name: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dims: tuple[str, ...]
    data_type: str
    fill: float | int | bool | str
    compressed: bool
    separator: str
    attributes: dict[str, Any]

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.data_type == TEXT

    @property
    def dtype(self) -> Any:
        """The NumPy type."""
        return np.dtypes.StringDType() if self.is_text else np.dtype(TYPES[self.data_type])

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, 16 for a text."""
        return math.prod(self.shape) * (16 if self.is_text else self.dtype.itemsize)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along every dimension."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunk, strict=True))

    def place(self, key: str) -> tuple[int, ...] | None:
        """Return the number of a chunk from its name, or None if it is the name of none."""
        parts = key.split(self.separator) if self.shape else [key]
        if parts[0] != "c" or len(parts) != len(self.shape) + 1:
            return None
        if not all(
            part.isascii() and part.isdigit() and part == part.lstrip("0").zfill(1) for part in parts[1:]
        ):
            return None
        place = tuple(int(part) for part in parts[1:] if len(part) < 20)
        inside = len(place) == len(self.shape) and all(p < n for p, n in zip(place, self.grid, strict=True))
        return place if inside else None

    def region(self, place: tuple[int, ...]) -> tuple[slice, ...]:
        """Return what of the array a chunk holds."""
        ends = zip(place, self.chunk, self.shape, strict=True)
        return tuple(slice(p * c, min((p + 1) * c, size)) for p, c, size in ends)

    def raw(self, data: bytes) -> bytes:
        """Return a chunk's bytes without compression, as many as there must be.

        Raises
        ------
        ValueError
            If they are damaged or claim to be more.
        """
        cells = math.prod(self.chunk)
        if self.compressed:
            claimed = int.from_bytes(data[4:8], "little")
            whole = len(data) >= _BLOSC_HEADER and int.from_bytes(data[12:16], "little") == len(data)
            fits = claimed <= MOST_CHUNK if self.is_text else claimed == cells * self.dtype.itemsize
            if not whole or not fits:
                raise ValueError("not a chunk of the size that the metadata say")
            try:
                data = blosc.decompress(data)
            except RuntimeError as error:
                raise ValueError(str(error)) from None
        if self.is_text:
            if len(data) < _COUNT or int.from_bytes(data[:_COUNT], "little") != cells:
                raise ValueError("not as many texts as the metadata say")
            if len(data) < _COUNT * (cells + 1):
                raise ValueError("fewer texts than it says")
        elif len(data) != cells * self.dtype.itemsize:
            raise ValueError("not as many bytes as the metadata say")
        return data

    def values(self, data: bytes) -> NDArray[Any]:
        """Return the cells of a chunk, of the chunk's full shape; raises as `raw` does."""
        raw = self.raw(data)
        if not self.is_text:
            return np.frombuffer(raw, dtype=self.dtype).reshape(self.chunk)
        return np.array(self.texts(raw), dtype=self.dtype).reshape(self.chunk)

    @staticmethod
    def texts(raw: bytes) -> list[str]:
        """Return the texts in what `raw` returned."""
        try:
            return [str(text) for text in VLenUTF8().decode(raw)]
        except Exception as error:  # whatever the codec says of bytes that are no texts
            raise ValueError(f"not texts: {error}") from None

    def checked(self, data: bytes) -> None:
        """Check that a chunk can be decoded; raises as `raw` does."""
        raw = self.raw(data)
        if self.is_text:
            self.texts(raw)


def form_of(name: str, where: str, metadata: dict[str, Any], cases: int) -> Form:
    """Return the form that an array's Zarr metadata describe.

    Parameters
    ----------
    name, where : str
        The array's name, and its place as it is told to a person.
    metadata : dict
        Of a Zarr v3 array.
    cases : int
        Number of case dimensions, whose product is bounded.

    Raises
    ------
    UserMistake
        If it is not one that an archive may have.
    """
    problems = list(_problems(where, metadata, cases))
    if problems:
        raise UserMistake(problems)
    kinds = [codec["name"] for codec in metadata["codecs"]]
    return Form(
        name=name,
        shape=tuple(metadata["shape"]),
        chunk=tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
        dims=tuple(metadata["dimension_names"]),
        data_type=metadata["data_type"],
        fill=_fill(metadata["fill_value"], metadata["data_type"]),
        compressed=kinds[-1] == "blosc",
        separator=_separator(metadata),
        attributes=metadata.get("attributes") or {},
    )


def _problems(where: str, metadata: dict[str, Any], cases: int) -> Iterator[Problem]:
    shape: Any = metadata.get("shape")
    names: Any = metadata.get("dimension_names")
    plain = isinstance(shape, list) and isinstance(names, list) and len(shape) == len(names)
    if not plain or len(shape) > MOST_DIMENSIONS or not _sizes_and_names(shape, names):
        got = f"{shown(shape)} with {shown(names)}"
        yield Problem(where, "a shape with a name for each dimension", got)
        return
    kind = metadata.get("data_type")
    if not isinstance(kind, str) or (kind not in TYPES and kind != TEXT):
        yield Problem(where, f"a type among {', '.join((*TYPES, TEXT))}", shown(kind))
        return
    if not _codecs_fit(metadata.get("codecs"), kind):
        expected = f"codecs among {', '.join(sorted(CODECS))}, as gradlab writes them"
        yield Problem(where, expected, shown(metadata.get("codecs")))
    grid = metadata.get("chunk_grid")
    chunk: Any = _configuration(grid).get("chunk_shape")
    regular = isinstance(grid, dict) and grid.get("name") == "regular" and isinstance(chunk, list)
    if not regular or len(chunk) != len(shape) or not all(type(n) is int and n > 0 for n in chunk):
        yield Problem(where, "a regular grid of chunks", shown(grid))
        return
    size = 16 if kind == TEXT else np.dtype(TYPES[kind]).itemsize
    if math.prod(chunk) * size > MOST_CHUNK:
        yield Problem(where, f"chunks of at most {MOST_CHUNK} bytes", shown(chunk))
    if math.prod(shape[:cases]) > MOST_CASES or math.prod(shape) * size > MOST_BYTES:
        yield Problem(
            where, f"at most {MOST_CASES} cases and {MOST_BYTES} bytes", f"the shape {shown(shape)}"
        )
    encoding = metadata.get("chunk_key_encoding")
    if (
        not isinstance(encoding, dict)
        or encoding.get("name") != "default"
        or _separator(metadata) not in "./"
    ):
        yield Problem(where, "the default names of chunks", shown(encoding))
    if metadata.get("storage_transformers"):
        yield Problem(where, "no storage transformers", shown(metadata["storage_transformers"]))
    if not isinstance(metadata.get("attributes", {}), dict):
        yield Problem(where, "attributes by name", shown(metadata["attributes"]))
    try:
        _fill(metadata.get("fill_value"), kind)
    except (ValueError, TypeError, OverflowError):
        yield Problem(where, "a fill value of its type", shown(metadata.get("fill_value")))


def _sizes_and_names(shape: list[Any], names: list[Any]) -> bool:
    sized = all(type(size) is int and 0 <= size < 1 << 62 for size in shape)
    return sized and all(isinstance(name, str) and name for name in names)


def _configuration(part: Any) -> dict[str, Any]:
    found = part.get("configuration", {}) if isinstance(part, dict) else {}
    return found if isinstance(found, dict) else {}


def _separator(metadata: dict[str, Any]) -> str:
    found = _configuration(metadata.get("chunk_key_encoding")).get("separator", "/")
    return found if isinstance(found, str) and len(found) == 1 else "?"


def _codecs_fit(codecs: Any, kind: str) -> bool:
    """Whether the codecs are those of the type, then Blosc or nothing."""
    if not isinstance(codecs, list) or not all(isinstance(codec, dict) for codec in codecs):
        return False
    names = [codec.get("name") for codec in codecs]
    first = "vlen-utf8" if kind == TEXT else "bytes"
    little = _configuration(codecs[0]).get("endian", "little") == "little" if codecs else False
    return little and names in ([first], [first, "blosc"])


def _fill(value: Any, kind: str) -> float | int | bool | str:
    if kind == TEXT:
        if not isinstance(value, str):
            raise TypeError(value)
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise TypeError(value)
        return value
    if isinstance(value, bool):
        raise TypeError(value)
    if kind == "float64":
        return float({"Infinity": "inf", "-Infinity": "-inf"}.get(value, value) if value != "NaN" else "nan")
    if type(value) is not int:
        raise TypeError(value)
    return int(np.dtype(TYPES[kind]).type(value))
