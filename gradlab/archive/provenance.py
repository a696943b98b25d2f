"""Where numbers came from: versions, machine, command and wall time. Never part of a digest."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.archive import directory
from gradlab.archive.reading import read_provenance

LIBRARIES = ("numpy", "scipy", "xarray", "zarr", "numcodecs", "pydantic", "threadpoolctl", "matplotlib")
_GIT_SECONDS = 5.0


def collect(command: Sequence[str], seed: int, blas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what made a run's numbers, as a plain table.

    Parameters
    ----------
    command : sequence of str
        The command line, or the Python call.
    seed : int
        The root seed.
    blas : sequence of mapping
        Its libraries of linear algebra, from `gradlab.experiment.worker.linear_algebra`.
    """
    return {
        "begun": _now("microseconds"),
        "command": list(command),
        "seed": seed,
        "gradlab": _version("gradlab"),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": _cpu(),
        "blas": list(blas),
        "simd": _simd(),
        "git": git_state(Path(__file__).resolve().parent),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that `folder` is of and whether its tree differs; None outside a checkout.

    A folder that lies in a repository without being tracked by it (an installation) is outside.
    """
    if not _git(folder, "ls-files", "--", "."):
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    return {
        "commit": _git(folder, "rev-parse", "--verify", "--quiet", "HEAD") or None,
        "dirty": changes != "",
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or None where it cannot say it."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """Return the processor's model, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _simd() -> list[str]:
    """Return the vector instructions of which NumPy makes use on this processor."""
    told: Any = np.show_config(mode="dicts")
    groups = told.get("SIMD Extensions", {}) if isinstance(told, dict) else {}
    return [name for group in ("baseline", "found") for name in groups.get(group, [])]


def write_provenance(
    path: str | Path,
    collected: Mapping[str, Any],
    wall_time: float | None,
    *,
    workers: int | None = None,
    cases: int | None = None,
) -> None:
    """Add one run to the archive's provenance; what has been written of it before makes room.

    Parameters
    ----------
    path : path
        The archive's directory.
    collected : mapping
        From `collect`.
    wall_time : float or None
        Seconds the run took; None while it goes on: that is what stays of one that is killed.
    workers, cases : int, optional
        Processes that computed; cases that this run wrote.

    Raises
    ------
    UserMistake
        If the disk refuses.
    """
    file = Path(path) / directory.PROVENANCE
    runs = read_provenance(path)
    if runs and "begun" in collected and runs[-1].get("begun") == collected["begun"]:
        runs.pop()
    entry = {
        **collected,
        "finished": None if wall_time is None else _now("seconds"),
        "wall_time_seconds": None if wall_time is None else round(wall_time, 3),
        "workers": workers,
        "cases": cases,
    }
    text = json.dumps({"runs": [*runs, entry]}, indent=2) + "\n"
    with directory.disk(file, "Every case that was written is kept"):
        directory.replace_text(file, text)


def _now(timespec: str) -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=timespec)


def command_line() -> list[str]:
    """Return the command that runs now."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
