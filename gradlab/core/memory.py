"""What was drawn is kept: an axis asks for the same matrix, and the same inputs, hundreds of times."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

T = TypeVar("T")


class Memory(Generic[T]):
    """The latest things drawn, bounded in bytes, for all threads of a process. It never changes a result.

    Parameters
    ----------
    bound : int
        Bytes of arrays to keep; the latest one is kept whatever its size.
    array : callable
        Returns the array that something drawn holds; nobody may write into it any more.
    """

    def __init__(self, bound: int, array: Callable[[T], NDArray[Any]]):
        self._bound, self._array = bound, array
        self._bytes = 0
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is held under `key`, making it first if need be."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        self._array(made).setflags(write=False)
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._bytes += self._array(made).nbytes
            while self._bytes > self._bound and len(self._held) > 1:
                self._bytes -= self._array(self._held.popitem(last=False)[1]).nbytes
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
