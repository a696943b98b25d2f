"""What blocks that take long tell of themselves while they are under way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from gradlab.cli.terminal import clean, duration, speed

SECONDS_BETWEEN_LOOKS = 1.0
MOST_GROUPS = 6  # blocks told of by themselves


@dataclass(frozen=True)
class Told:
    """What the blocks under way have told last.

    Parameters
    ----------
    done, total : int
        Updates of single cases, of those blocks.
    groups : tuple of str
        What each of them is, and how it fares.
    """

    done: int = 0
    total: int = 0
    groups: tuple[str, ...] = ()


def look(folder: Path) -> Told:
    """Return what is told in a folder of unfinished work; what cannot be read is passed over."""
    from gradlab.measure.block import TELLING  # late: processes start before this one loads NumPy

    done = total = 0
    groups = []
    for path in sorted(folder.glob(f"*{TELLING}")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            done, total = done + int(told["done"]), total + int(told["total"])
            groups.append(_line(told))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another process is just writing it
    more = [f"and {len(groups) - MOST_GROUPS} more"] if len(groups) > MOST_GROUPS else []
    return Told(done, total, (*groups[:MOST_GROUPS], *more))


def _line(told: dict[str, Any]) -> str:
    parts = [f"{100 * told['done'] // max(told['total'], 1)} %"]
    parts += [] if told["loss"] is None else [f"loss {told['loss']:.3g}"]
    parts += [f"{told[name]} {name}" for name in ("solved", "diverged") if told[name]]
    return f"{clean(told['group'])}: {', '.join(parts)}"


class Watch:
    """Looks into a folder of unfinished work every second, in a thread of its own.

    Parameters
    ----------
    folder : Path
        Where blocks tell.
    updates : int
        Updates of every case.
    seen : callable
        Called after every look.
    """

    def __init__(self, folder: Path, updates: int, seen: Callable[[], None]):
        self._folder, self._updates, self._seen = folder, updates, seen
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began: tuple[float, int] | None = None
        self.told = Told()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * SECONDS_BETWEEN_LOOKS)

    def _run(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_LOOKS):
            self.told = look(self._folder)
            self._seen()

    def state(self, finished: int, total: int) -> str:
        """Return updates a second and the time left, given how many cases are done.

        The rate is that since the first time this was asked for, so that what an earlier run left
        unfinished does not count.
        """
        done, now = finished * self._updates + self.told.done, time.perf_counter()
        if self._began is None:
            self._began = now, done
        seconds, own = now - self._began[0], done - self._began[1]
        if own <= 0 or seconds <= 0:
            return ""
        rate = own / seconds
        left = max(total * self._updates - done, 0) / rate
        return f"{speed(rate)} updates a second, {duration(left)} left"
