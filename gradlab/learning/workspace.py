"""Buffers that outlive a pass, so that no pass pays for fresh pages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scratch import aligned


class Workspace:
    """Named buffers, grown when a larger one is asked for and reused otherwise.

    A buffer's content is undefined when it is taken; taking the same name again gives the same
    memory.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._parts: dict[str, Workspace] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return the buffer `name` as an array of `shape` and `dtype`."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers.pop(name, None)
            self._buffers[name] = aligned(size)
        array: NDArray[Any] = self._buffers[name][:size].view(dtype).reshape(shape)
        return array

    def part(self, name: str) -> Workspace:
        """Return the workspace of a part, whose names are its own."""
        return self._parts.setdefault(name, Workspace())
