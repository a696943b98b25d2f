"""The log file of a run, for batch systems: what the terminal would show, a time before every line."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from gradlab.cli.terminal import clean, plain, tell
from gradlab.core.errors import Problem, UserMistake, lines_of

SECONDS_BETWEEN_LINES = 10.0
SHARE_BETWEEN_LINES = 0.01
LEAST_SECONDS = 1.0  # between two lines of progress, however fast cases are done


class Log:
    """Appends lines to a file, or to none.

    Parameters
    ----------
    path : Path or None
        The file; None: nothing is written.

    Raises
    ------
    UserMistake
        If it cannot be written, or lies in an archive; an archive's own file would be spoilt.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self._file: FileIO | None = None
        self._lock = threading.Lock()  # a watching thread writes, too
        self._told = (time.perf_counter(), 0)
        self._made = path is not None and not path.exists()
        if path is not None:
            _check_no_archive(path)
            if path.suffix == ".toml":
                raise UserMistake(Problem("--log", "a file for the log", f"{path}, which looks like a spec"))
            try:
                self._file = path.open("ab", buffering=0)  # a line is there as soon as it is written
            except OSError as error:
                got = f"{path} ({error.strerror or type(error).__name__})"
                raise UserMistake(Problem("--log", "a file that can be written", got)) from None

    @property
    def open(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def check_outside(self, archive: Path) -> None:
        """Refuse a file within what will be the archive, which holds what is sealed and nothing else."""
        if self.path is not None and self.path.resolve().is_relative_to(archive.resolve()):
            self.close()
            if self._made:
                with contextlib.suppress(OSError):
                    self.path.unlink()
            raise _inside(self.path, archive)

    def write(self, *lines: str) -> None:
        """Append lines; if that fails, say so once: the run goes on."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._lock:
            if self._file is None:
                return
            try:
                text = "".join(f"{stamp} {clean(line)}".rstrip() + "\n" for line in lines)
                self._file.write(text.encode("utf-8", "replace"))
            except OSError as error:
                self._file.close()
                self._file = None
                tell(f"{self.path}: the log could not be written ({error.strerror}). The run goes on.")

    def show(self, *renderables: Any) -> None:
        """Append what would be said on a terminal: texts with markup, and tables."""
        self.write(*plain(*renderables).splitlines())

    def progress(self, done: int, total: int, lines: Sequence[str]) -> None:
        """Append how far the run is, if it is time to: every ten seconds, or hundredth of the cases."""
        now = time.perf_counter()
        when, at = self._told
        enough = done - at >= SHARE_BETWEEN_LINES * total and now - when >= LEAST_SECONDS
        if (done > at and done >= total) or enough or now - when >= SECONDS_BETWEEN_LINES:
            self._told = now, done
            self.write(*lines)

    def close(self) -> None:
        """Write nothing more."""
        with self._lock, contextlib.suppress(OSError):
            file, self._file = self._file, None
            if file is not None:
                file.close()


def _check_no_archive(path: Path) -> None:
    """Refuse a file in an archive that is there, before a line is written into it."""
    from gradlab.archive.directory import MARKER

    here = Path.cwd()
    for folder in path.resolve().parents:
        if (folder / MARKER).exists():
            raise _inside(path, folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _inside(path: Path, archive: Path) -> UserMistake:
    hint = "An archive is sealed with every file in it, and a log goes on."
    return UserMistake(Problem("--log", f"a file outside the archive {archive}", str(path), hint))


@contextlib.contextmanager
def logged(path: Path | None, command: Sequence[str]) -> Iterator[Log]:
    """Open the log of a command; the problems that end the command are in it.

    Raises
    ------
    UserMistake
        If the file cannot be written, before the body begins.
    """
    from gradlab import __version__

    log = Log(path)
    log.write(f"gradlab {__version__}: {shlex.join(command)}")
    try:
        yield log
    except UserMistake as mistake:
        log.write(*(f"Error: {line}" for line in lines_of(mistake)))
        raise
    except Exception as error:
        if not hasattr(error, "exit_code"):  # of typer: it says how the command ends
            log.write(f"Stopped by an error of the program: {type(error).__name__}: {error}")
        raise
    finally:
        log.close()
