"""One writer at a time: ``lock.json`` says who writes into an archive, and the system lets go of the dead.

The lock is that of the operating system on the open file, where there is one, so it ends with the
process that holds it, however that ends. What stands in the file is for people. Where files cannot be
locked, the file itself is the lock, and it is taken over from a process of this host that is no more.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradlab.archive import directory
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

LOCK = directory.LOCK
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_TRIES = 20
_OPENED = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def writing(path: str | Path, command: list[str] | None = None) -> Iterator[None]:
    """Hold the right to write into the archive in `path`, which is made if there is nothing yet.

    Parameters
    ----------
    path : path
        The archive's directory.
    command : list of str, optional
        What to tell others; by default this process's command line.

    Raises
    ------
    UserMistake
        If another process holds it, `path` holds something else than an archive, or the disk refuses.
    """
    path = Path(path)
    directory.state(path)  # what is no archive is not touched
    with directory.disk(path):
        new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        file = _acquired(path, _about(command or sys.argv))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (path / LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(file)
        if new:
            with contextlib.suppress(OSError):
                path.rmdir()  # nothing came of it


def holder(path: str | Path) -> dict[str, Any]:
    """Return what the lock of an archive says of the process that holds it or held it; empty if nothing."""
    try:
        table = json.loads((Path(path) / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _acquired(path: Path, about: dict[str, Any]) -> int:
    """Return the descriptor of the lock file, locked."""
    for _ in range(_TRIES):
        file = os.open(path / LOCK, _OPENED, 0o666)
        try:
            if not _locked(file, path):
                raise UserMistake(_held(path))
            if _is_at(file, path / LOCK):
                os.ftruncate(file, 0)
                os.pwrite(file, (json.dumps(about, indent=2) + "\n").encode(), 0)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder removed it between opening and locking
    raise UserMistake(_held(path))


def _locked(file: int, path: Path) -> bool:
    """Lock an open file; return whether that was possible."""
    try:
        import fcntl
    except ImportError:
        return not _alive(holder(path))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return not _alive(holder(path))
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _alive(held: dict[str, Any]) -> bool:
    """Whether the process that wrote the lock may still run; for where files cannot be locked."""
    if not held or held.get("host") != socket.gethostname():
        return bool(held)  # of another host nothing can be said
    pid = held.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    begun = _begun(pid)
    if begun is not None:
        return bool(begun == held.get("begun"))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _about(command: list[str]) -> dict[str, Any]:
    """Return what the lock says of this process."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "begun": _begun(os.getpid()),
        "command": list(command),
    }


def _begun(pid: int) -> int | None:
    """Return when a process began, in the system's ticks; a number is given to another process in time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _held(path: Path) -> Problem:
    held = holder(path)
    command = held.get("command")
    who = f"process {shown(held.get('pid'))} on {shown(held.get('host'))}, since {shown(held.get('since'))}"
    if isinstance(command, list):
        who += f": {' '.join(map(str, command))[:200]}"
    got = f"one into which another run writes ({who})" if held else "one into which another run writes"
    hint = "Wait for it or end it, or give another --out."
    if held and held.get("host") != socket.gethostname():
        hint += f" If that process is no more, remove {path / LOCK}."
    return Problem(str(path), "an archive that nobody else writes into", got, hint)
