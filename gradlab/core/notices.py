"""What a user is told while work goes on: no mistake, and nothing that stops it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

Listener = Callable[[str], object]


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


_listener: Listener = _warn


def notice(text: str) -> None:
    """Tell the user, who gets a warning of Python's where nobody listens."""
    _listener(text)


def listen(listener: Listener) -> Listener:
    """Let `listener` have, each text once, what is told in this process from now on; return who had it."""
    global _listener
    told: set[str] = set()

    def once(text: str) -> None:
        if text not in told:
            told.add(text)
            listener(text)

    before, _listener = _listener, once
    return before


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let `listener` have, each text once, what is told meanwhile."""
    global _listener
    before = listen(listener)
    try:
        yield
    finally:
        _listener = before
