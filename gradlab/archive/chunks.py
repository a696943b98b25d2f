"""Writing chunks of a Zarr v3 array, each as one file, in one move.

Through `zarr.Array` a write costs a millisecond of event loop, most of what a small one takes; a
sweep makes thousands. What stands in the file is what Zarr writes, byte for byte (tested), and
everything is read through Zarr.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from gradlab.archive.directory import PARTIAL

if TYPE_CHECKING:
    from zarr.codecs import BloscCodec

    from gradlab.archive.variable import Variable

SEPARATOR = "."  # all chunks of an array in one folder: making folders cost more than the files
# Measured on profiles of a sweep: 800 MB/s to a fifth of the size. Zstandard saves a few per cent
# more at a quarter of the speed.
_NAME: Literal["lz4"] = "lz4"
_LEVEL = 5


def codec(itemsize: int) -> BloscCodec:
    """Return how values of `itemsize` bytes are compressed, for an array's metadata."""
    from zarr.codecs import BloscCodec  # late: a run starts its work sooner without it

    return BloscCodec(cname=_NAME, clevel=_LEVEL, shuffle="shuffle", typesize=itemsize)


blosc.use_threads = False  # as Zarr does: its bytes then depend on nothing but the data
_BLOSC = blosc.Blosc(cname=_NAME, clevel=_LEVEL, shuffle=blosc.SHUFFLE)


def write(array: Path, chunk: tuple[int, ...], values: NDArray[Any], fill: float | str) -> None:
    """Write the chunk number `chunk` of the array in folder `array`.

    Parameters
    ----------
    array : Path
        The array's folder.
    chunk : tuple of int
        The chunk's place in the grid of chunks.
    values : ndarray
        Of the full chunk shape, past the edge of the array too.
    fill : number
        A chunk that holds nothing else is not kept.
    """
    path = array / SEPARATOR.join(("c", *map(str, chunk)))
    if _only(values, fill):
        path.unlink(missing_ok=True)
        return
    little = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    data = _BLOSC.encode(little)
    temporary = path.with_name(path.name + PARTIAL)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def pieces(
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


def _only(values: NDArray[Any], fill: float | str) -> bool:
    first = values.flat[0]
    if first != fill and not (first != first and fill != fill):
        return False
    return bool(np.isnan(values).all() if fill != fill else (values == fill).all())
