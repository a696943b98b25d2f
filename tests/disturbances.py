"""What may happen to a run: ways to stop it, or to take from it what it needs, in earnest."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path


def kill(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Kill the process and nothing else, as the system does for want of memory."""
    process.kill()


def kill_all(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Kill it with its workers."""
    os.killpg(process.pid, signal.SIGKILL)


def interrupt(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Send what a terminal sends on Ctrl-C, to all of them."""
    os.killpg(process.pid, signal.SIGINT)


def kill_worker(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Kill one of its workers, or the process that they are forked of, if there are any."""
    workers = []
    for child in children(process.pid):
        with contextlib.suppress(OSError):
            if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes():
                workers += [child, *children(child)]
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def forbid(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Take the right to write away from everything below the archive."""
    for folder, _, names in os.walk(out):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            with contextlib.suppress(OSError):
                path.chmod(0o555 if path.is_dir() else 0o444)


def allow(out: Path) -> None:
    """Give it back."""
    for folder, _, names in os.walk(out):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            with contextlib.suppress(OSError):
                path.chmod(0o755 if path.is_dir() else 0o644)


def limit(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Let no file of the process's grow beyond some bytes, as a disk does that takes only so much."""
    with contextlib.suppress(ProcessLookupError):
        hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (rng.choice([0, 100, 1000]), hard))


def fill(process: subprocess.Popen[str], out: Path, rng: random.Random) -> None:
    """Fill the disk on which the archive is, to the last byte or nearly."""
    room = shutil.disk_usage(out.parent).free
    with contextlib.suppress(OSError), (out.parent / "ballast").open("wb", buffering=0) as file:
        file.write(b"\0" * max(0, room - rng.choice([0, 0, 4096, 20480])))
        while not rng.choice([True, False]):
            file.write(b"\0" * 4096)


DISTURBANCES: dict[str, Callable[[subprocess.Popen[str], Path, random.Random], None]] = {
    "SIGKILL": kill,
    "SIGKILL to all": kill_all,
    "Ctrl-C": interrupt,
    "a worker killed": kill_worker,
    "no right to write": forbid,
    "a limit on files": limit,
    "a full disk": fill,
}
CODES = {
    "SIGKILL": {0, -signal.SIGKILL},
    "SIGKILL to all": {0, -signal.SIGKILL},
    "Ctrl-C": {0, 130, -signal.SIGINT},  # the last one while Python itself starts
    "a worker killed": {0},
    "no right to write": {0, 2},
    "a limit on files": {0, 2},
    "a full disk": {0, 2},
}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a disk of 4 MiB of its own, where the system lets us; else nothing but a folder."""
    place = folder / "disk"
    place.mkdir()
    mounted = _mount("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place))
    try:
        yield place
    finally:
        if mounted:
            _mount("umount", "-l", str(place))


def _mount(*arguments: str) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    return False


def can_mount(folder: Path) -> bool:
    """Whether disks of our own can be made."""
    (folder / "try").mkdir()
    with small_disk(folder / "try") as place:
        return os.path.ismount(place)
