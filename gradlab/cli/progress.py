"""Progress of a run on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gradlab.cli.logbook import Log
from gradlab.cli.terminal import cases, duration, speed, tell
from gradlab.cli.watch import Watch

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SHARE_BETWEEN_LINES = 0.1
SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Cases done, cases a second and time left, counted over this run alone.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    log : Log, optional
        Is told, too, quiet or not.
    """

    def __init__(self, quiet: bool, log: Log | None = None):
        self.quiet, self._log = quiet, log or Log(None)
        self.there = self.done = self.failed = self.total = 0
        self._began = self._latest = time.perf_counter()
        self._bar: Bar | None = None
        self._told = (0.0, 0)
        self._watch: Watch | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.__exit__(kind, error, trace)
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def start(self, there: int, total: int) -> None:
        """Begin: `there` of `total` cases need no run."""
        self.there, self.total = there, total
        self._began = self._latest = time.perf_counter()
        self._told = (self._began, 0)
        if self.quiet or there >= total:
            return
        if sys.stderr.isatty():
            self._bar = _bar(self)
            self._bar.add_task("", total=total, completed=there)
            self._bar.start()

    def watch(self, folder: Path, updates: int) -> None:
        """Show what blocks that take long tell meanwhile; to be called after `start`."""
        if (self._log.open or not self.quiet) and self.there < self.total:
            self._watch = Watch(folder, updates, self._tell_watched)
            self._watch.__enter__()

    def _tell_watched(self) -> None:
        assert self._watch is not None
        now = time.perf_counter()
        self._log_progress()
        if self._bar is None and not self.quiet and now - self._told[0] >= SECONDS_BETWEEN_LINES:
            self._told = (now, self.done)
            for line in (self.state(), *self._watch.told.groups):
                tell(line)

    def advance(self, done: int, failed: int) -> None:
        """Count `done` more cases, of which `failed` failed."""
        self.done += done
        self.failed += failed
        self._latest = time.perf_counter()
        self._log_progress()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=done)
        elif not self.quiet:
            self._tell_sparsely()

    def _log_progress(self) -> None:
        if self._log.open:
            finished = self.there + self.done
            groups = self.groups if finished < self.total else ()
            self._log.progress(finished, self.total, [self.state(), *(f"  {line}" for line in groups)])

    def _tell_sparsely(self) -> None:
        now = time.perf_counter()
        when, at = self._told
        enough = self.done - at >= SHARE_BETWEEN_LINES * (self.total - self.there)
        if self.done + self.there >= self.total or enough or now - when >= SECONDS_BETWEEN_LINES:
            self._told = (now, self.done)
            tell(self.state())

    @property
    def groups(self) -> tuple[str, ...]:
        """What blocks under way tell of themselves."""
        return () if self._watch is None else self._watch.told.groups

    def state(self) -> str:
        """Return the line that says how far the run is."""
        finished = self.there + self.done
        text = f"{finished} of {cases(self.total)}"
        if self._watch is not None:
            own = self._watch.state(finished, self.total)
            text += f", {own}" if own and finished < self.total else ""
        elif self.done and self._latest > self._began:
            rate = self.done / (self._latest - self._began)
            text += f", {speed(rate)} a second"
            if finished < self.total:
                left = (self.total - finished) / rate - (time.perf_counter() - self._latest)
                text += f", {duration(max(left, 0.0))} left"
        return f"{text}, {self.failed} failed" if self.failed else text


def _bar(progress: Progress) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class State(ProgressColumn):
        """The state in words; the time left counts down between blocks."""

        def render(self, task: Task) -> Text:
            return Text("\n".join([progress.state(), *progress.groups]))

    console = Console(stderr=True, highlight=False)
    return Bar(BarColumn(), TaskProgressColumn(), State(), console=console)
