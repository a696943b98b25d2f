"""The way of a result from a worker process: large ones through a file, for a pipe takes little at a time."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradlab.experiment.worker import Parts

#: Measured between two processes: from here a file takes less time, at a megabyte an eighth.
LEAST_BYTES = 1 << 17


class Handover:
    """A result that is pickled in one process and unpickled in another, there as what it is.

    Both processes copy it once, and neither waits for the other. Where the file cannot be written, the
    result takes the pipe.

    Parameters
    ----------
    parts : list
        The result.
    folder : str
        Where the file is put; empty: there shall be none.
    """

    def __init__(self, parts: Parts, folder: str):
        self.parts = parts
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., Parts], tuple[Any, ...]]:
        """Write the numbers into a file, if they are many, and return how they are read."""
        buffers: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(self.parts, protocol=5, buffer_callback=buffers.append)
        numbers = [buffer.raw() for buffer in buffers]
        if self.folder and sum(piece.nbytes for piece in numbers) >= LEAST_BYTES:
            with contextlib.suppress(OSError):
                return _read, (_written(self.folder, numbers), rest, [piece.nbytes for piece in numbers])
        return _as_it_is, (self.parts,)


def _written(folder: str, numbers: Sequence[memoryview]) -> str:
    number, path = tempfile.mkstemp(dir=folder)
    try:
        with open(number, "wb") as file:
            for piece in numbers:
                file.write(piece)
    except BaseException:
        os.unlink(path)
        raise
    return path


def _read(path: str, rest: bytes, sizes: Sequence[int]) -> Parts:
    """Return what was written, and remove the file."""
    pieces = [np.empty(size, dtype=np.uint8) for size in sizes]
    with open(path, "rb", buffering=0) as file:
        for piece in pieces:
            left = piece.data
            while left:  # the system reads no more than two gigabytes at once
                got = file.readinto(left)
                if not got:
                    raise EOFError(f"{path} ends before the numbers that were written to it")
                left = left[got:]
    os.unlink(path)
    parts: Parts = pickle.loads(rest, buffers=pieces)
    return parts


def _as_it_is(parts: Parts) -> Parts:
    return parts
