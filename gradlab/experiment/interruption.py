"""Ctrl-C while other threads work for this one: it is answered where this one waits, and nowhere else.

An exception that comes out of nowhere while a `Future` is looked at leaves its lock held for ever, and
with it the thread that is to give its result; the process would then never end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any


class Arrivals:
    """Futures in the order in which they are done, and whether somebody wants to stop."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Future[Any] | None] = SimpleQueue()
        self._asked = False

    def expect(self, future: Future[Any]) -> None:
        """Have a future arrive here when it is done."""
        future.add_done_callback(self._queue.put)

    def next(self) -> Future[Any]:
        """Wait for the next one.

        Raises
        ------
        KeyboardInterrupt
            If there was a Ctrl-C, now or since the last time.
        """
        arrived = self._queue.get()
        if arrived is None:
            self._asked = False
            raise KeyboardInterrupt
        return arrived

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a Ctrl-C come out of `next` or of the body's end alone; a second one comes at once."""
        own = threading.current_thread() is threading.main_thread()
        if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield  # another thread's business, or somebody else's way to answer
            return

        def note(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._asked = True
            self._queue.put(None)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._asked:  # after the last one arrived
            raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Let a Ctrl-C wait until the body has ended, for what must not stop half-way; it is to be short."""
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
