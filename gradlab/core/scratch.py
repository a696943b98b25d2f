"""Temporary arrays that are not given back: fresh pages cost more than the passes over them."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64  # bytes; a vector register's worth that straddles two lines is read and written twice


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, NDArray[np.uint8]] = {}
        self.arrays: dict[tuple[str, tuple[int, ...], Any], NDArray[Any]] = {}


_buffers = _Buffers()


def aligned(size: int) -> NDArray[np.uint8]:
    """Return `size` bytes of undefined content that begin with a cache line."""
    held = np.empty(size + CACHE_LINE, dtype=np.uint8)
    first = -held.ctypes.data % CACHE_LINE
    return held[first : first + size]


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a buffer of this thread with undefined content; the same name gives the same memory."""
    array = _buffers.arrays.get((name, shape, dtype))
    return _shaped(name, shape, dtype) if array is None else array


def _shaped(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a buffer in a shape that it has not been asked for since it last grew."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = _buffers.by_name.get(name)
    if held is None or held.size < size:
        held = _buffers.by_name[name] = aligned(size)
        _buffers.arrays = {key: array for key, array in _buffers.arrays.items() if key[0] != name}
    array: NDArray[Any] = held[:size].view(dtype).reshape(shape)
    _buffers.arrays[name, shape, dtype] = array
    return array
