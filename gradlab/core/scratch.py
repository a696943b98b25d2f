"""Temporary arrays that are not given back: fresh pages cost more than the passes over them."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, NDArray[np.uint8]] = {}


_buffers = _Buffers()


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a buffer of this thread with undefined content; the same name gives the same memory."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = _buffers.by_name.get(name)
    if held is None or held.size < size:
        held = _buffers.by_name[name] = np.empty(size, dtype=np.uint8)
    array: NDArray[Any] = held[:size].view(dtype).reshape(shape)
    return array
