"""Random streams keyed by role and by the settings that role depends on, never by position.

Two cases that agree in the settings a role depends on see the same numbers in that role; adding a
value to an axis changes no other number. The generators are ``numpy.random.RandomState`` over
PCG64: its methods are frozen by NumPy's policy (NEP 19), while those of ``Generator`` may change
between releases, and a lecture must give the same numbers next year.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 64  # time steps a chunk of a stream in time; part of what the numbers are


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value made of tables, lists, texts and numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """Return 128 bits of SHA-256 of the canonical text of `value`, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def stream(seed: int, role: str, *settings: Any) -> np.random.RandomState:
    """Return the random stream of a `role` under the settings it depends on.

    Parameters
    ----------
    seed : int
        The root seed of the spec.
    role : str
        What the numbers are for ("recurrent weights", "inputs", ...).
    *settings
        Plain values (tables, lists, texts, numbers) that the role depends on.
    """
    entropy = int(digest([seed, role, *settings]), 16)
    return np.random.RandomState(np.random.PCG64(np.random.SeedSequence(entropy)))


def in_time(
    draw: Callable[[np.random.RandomState, int], NDArray[Any]],
    start: int,
    stop: int,
    seed: int,
    role: str,
    *settings: Any,
) -> NDArray[Any]:
    """Return steps `start` to `stop` of a stream whose prefix does not depend on its length.

    Time is cut into chunks of `CHUNK` steps with a stream each, so any stretch can be had without
    the steps before it. `draw(stream, steps)` returns an array with time in front.
    """
    first, last = start // CHUNK, max(start, stop - 1) // CHUNK
    chunks = []
    for chunk in range(first, last + 1):
        key = digest([seed, role, *settings, chunk])
        if key not in _recent:
            _recent.put(key, draw(stream(seed, role, *settings, chunk), CHUNK))
        chunks.append(_recent.get(key))
    whole = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return whole[start - first * CHUNK : stop - first * CHUNK]


class _Recent:
    """The chunks drawn last: a radius axis asks for the same inputs hundreds of times."""

    def __init__(self, limit: int):
        self._limit = limit
        self._chunks: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._chunks

    def get(self, key: str) -> NDArray[Any]:
        self._chunks.move_to_end(key)
        return self._chunks[key]

    def put(self, key: str, chunk: NDArray[Any]) -> None:
        chunk.setflags(write=False)
        self._chunks[key] = chunk
        self._bytes += chunk.nbytes
        while self._bytes > self._limit and len(self._chunks) > 1:
            self._bytes -= self._chunks.popitem(last=False)[1].nbytes


_recent = _Recent(limit=24 << 20)
