"""Random streams keyed by role and by the settings that role depends on, never by position.

Two cases that agree in the settings a role depends on see the same numbers in that role; adding a
value to an axis changes no other number. The generators are ``numpy.random.RandomState`` over
PCG64: its methods are frozen by NumPy's policy (NEP 19), while those of ``Generator`` may change
between releases, and a lecture must give the same numbers next year.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.memory import Memory

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

    def drawn(chunk: int) -> NDArray[Any]:
        own = (seed, role, *settings, chunk)
        return _recent.get(digest(list(own)), lambda: draw(stream(*own), CHUNK))

    first, last = start // CHUNK, max(start, stop - 1) // CHUNK
    chunks = [drawn(chunk) for chunk in range(first, last + 1)]
    whole = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return whole[start - first * CHUNK : stop - first * CHUNK]


_recent: Memory[NDArray[Any]] = Memory(24 << 20, lambda chunk: chunk)
