"""What was drawn is kept: a radius axis scales one matrix hundreds of times."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from gradlab.network.spectra._measure import Properties

Held = tuple[NDArray[np.float64], Properties]


class Memory:
    """The latest drawn matrices and their properties, bounded in bytes. It never changes a result.

    Parameters
    ----------
    bound : int, optional
        Bytes of matrices to keep; the latest one is kept whatever its size.
    """

    def __init__(self, bound: int = 32 * 2**20):
        self._bound = bound
        self._bytes = 0
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Held]) -> Held:
        """Return what is held under `key`, making it first if need be."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        made[0].setflags(write=False)
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._bytes += made[0].nbytes
            while self._bytes > self._bound and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][0].nbytes
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
