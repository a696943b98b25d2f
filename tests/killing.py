"""Runs that are stopped in earnest, at random instants: `python -m tests.killing --times 100`.

A run is started as a shell starts it and, at an instant drawn from a seed, killed (SIGKILL), interrupted
(Ctrl-C), bereft of a worker, of the right to write, or of room on its disk, several times over; the
same command is then run to its end. Whatever stood in the archive in between must be readable and right,
and the archive in the end must have the bytes and the content digest of one that nothing happened to.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from disturbances import CODES, DISTURBANCES, allow, can_mount, small_disk

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-c", "from gradlab.cli.main import main; main()"]
COARSE = """
title = "Stopped"
replicates = 2
[network]
hidden = 4
[task]
name = "noise"
features = 2
batch = 2
length = {length}
[sweep]
"network.spectrum.radius" = [0.5, 1.5]
"network.activation" = ["tanh", "relu"]
"network.cell" = ["elman", "lstm"]
"""
FINE = (
    COARSE.replace("[0.5, 1.5]", "[0.5, 0.75, 1.0, 1.25, 1.5, 40.0]")
    .replace("replicates = 2", "replicates = 4")
    .replace('"relu"', '"relu", "logistic"')
)
LENGTH = 150  # some blocks are under way for a while, and their results are large enough to take a file
WORKS = ("run", "run by two", "extend", "merge")
SECONDS = 120.0  # longer is a hang
_DAC_OVERRIDE, _DAC_READ_SEARCH, _DROP = 1, 2, 24  # Linux: capabilities, and what drops them


class Fault(AssertionError):
    """What must not happen."""


@dataclass(frozen=True)
class Bench:
    """What trials start from, made once.

    Parameters
    ----------
    folder : Path
        With the specs, ``coarse`` and two parts of the fine sweep.
    whole : dict
        Bytes of the data of an uninterrupted run by the name of the file, and the digest under "".
    numbers : dict
        Of every case, by its key.
    seconds : dict
        By work, how long it takes.
    """

    folder: Path
    whole: dict[str, bytes]
    numbers: dict[str, Any]
    seconds: dict[str, float]


def start(*arguments: object, temporary: Path | None = None) -> subprocess.Popen[str]:
    """Start the program as the leader of a group of its own, to which file permissions apply."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        preexec_fn=_as_a_user,  # this process has one thread
    )


def _as_a_user() -> None:
    """Let Ctrl-C reach what was started in the background, and permissions bind the superuser, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getuid() == 0 and sys.platform == "linux":
        library = ctypes.CDLL(None)
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            library.prctl(_DROP, capability, 0, 0, 0)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit code and what it said."""
    try:
        out, error = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise Fault(f"a hang: more than {SECONDS:g} s") from None
    return process.returncode, out + error


def command(bench: Bench | Path, work: str, out: Path) -> list[object]:
    """Return the command line of a work."""
    folder = bench.folder if isinstance(bench, Bench) else bench
    if work == "merge":
        return ["merge", folder / "part-1", folder / "part-2", "--out", out]
    workers = 2 if work == "run by two" else 1
    return ["run", folder / "fine.toml", "--out", out, "--workers", workers, "--no-figures", "--quiet"]


def bench_in(folder: Path, length: int = LENGTH) -> Bench:
    """Make what trials start from, and run every work once without any disturbance."""
    (folder / "coarse.toml").write_text(COARSE.format(length=length))
    (folder / "fine.toml").write_text(FINE.format(length=length))
    rest = ("--workers", 1, "--no-figures", "--quiet")
    _done("run", folder / "coarse.toml", "--out", folder / "coarse", *rest)
    for part in (1, 2):
        part_of = ("--partition", f"{part}/2", "--out", folder / f"part-{part}")
        _done("run", folder / "fine.toml", *part_of, *rest)
    seconds, whole = {}, {}
    for work in WORKS:
        out = folder / f"whole {work}"
        if work == "extend":
            shutil.copytree(folder / "coarse", out)
        began = time.monotonic()
        _done(*command(folder, work, out))
        seconds[work] = time.monotonic() - began
        whole = whole or content(out)
        if content(out) != whole:
            raise Fault(f"{work}: other bytes than a run at once")
    return Bench(folder, whole, numbers(folder / "whole run"), seconds)


def _done(*arguments: object) -> None:
    code, text = ended(start(*arguments))
    if code:
        raise Fault(f"exit code {code}: {text}")


def content(path: Path) -> dict[str, bytes]:
    """Return the files of the data with their bytes, and the digest under an empty name."""
    root = path / "data.zarr"
    found = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    digest = json.loads((path / "manifest.json").read_text())["content_digest"]
    return {"": digest.encode()} | found


def numbers(path: Path) -> dict[str, Any]:
    """Return the bytes of everything that is known of every finished case, by its key."""
    from gradlab.api import open_archive

    ds = open_archive(path).load()
    names = sorted(str(name) for name in ds.data_vars if not str(name).endswith("_key"))
    status = ds["status"].values
    values = {name: ds[name].values for name in names}
    found = {}
    for place in zip(*status.nonzero(), strict=True):
        if status[place] == 4:  # failed: no fault of the case's; it is tried again
            raise Fault(f"{path}: the case at {place} failed")
        key = str(ds["case_key"].values[place])
        found[key] = (ds.attrs["title"], {n: _trimmed(values[n][place]) for n in names})
    return found


def _trimmed(values: Any) -> bytes:
    """Return a case's values, whatever the archive has room for besides."""
    import numpy as np

    flat = np.atleast_1d(values)
    return bytes(flat[flat == flat].tobytes())  # NaN fills what other cases have


# --- a trial -------------------------------------------------------------------------------------------


def trial(bench: Bench, folder: Path, rng: random.Random, kinds: list[str]) -> list[str]:
    """Disturb a work some times, then end it; return what happened, or raise `Fault`."""
    work = rng.choice(WORKS)
    if work != "run by two":
        kinds = [kind for kind in kinds if kind != "a worker killed"]
    happened: list[str] = []
    with contextlib.ExitStack() as held:
        temporary = Path(held.enter_context(tempfile.TemporaryDirectory()))
        kind = rng.choice(kinds)
        place = held.enter_context(small_disk(folder)) if kind == "a full disk" else folder
        out = place / "out"
        if work == "extend":
            shutil.copytree(bench.folder / "coarse", out)
        for _ in range(rng.randint(1, 3)):
            try:
                code, text = disturbed(bench, work, out, kind, rng, temporary)
            except Fault as fault:
                raise Fault(f"{work}: {kind}: {fault}") from None
            stage = "done already" if code == 0 and not happened else f"exit {code}"
            happened.append(f"{work}: {kind}, {stage}")
            if code not in CODES[kind] or ("Traceback" in text and not is_pythons_own(kind, code, text)):
                raise Fault(f"{happened[-1]}: {text}")
            check_between(bench, out)
            if work == "merge" and code == 0:
                break  # it does not write into an archive that is there
            kind = rng.choice([kind] if kind == "a full disk" else [k for k in kinds if k != "a full disk"])
        else:
            code, text = ended(start(*command(bench, work, out), temporary=temporary))
            if code:
                raise Fault(f"{happened}, then exit code {code}: {text}")
        found = content(out)
        if found != bench.whole:
            names = [n for n in found.keys() | bench.whole.keys() if found.get(n) != bench.whole.get(n)]
            raise Fault(f"{happened}: other bytes in {sorted(names)}")
        left = [
            str(p) for p in out.rglob("*") if p.name.endswith(".partial") or p.name in ("lock.json", "next")
        ]
        if left:
            raise Fault(f"{happened}: left behind: {left}")
        if not any("SIGKILL to all" in each for each in happened):  # then nobody can tidy up
            check_tidy(temporary, happened)
    return happened


def check_tidy(temporary: Path, happened: list[str]) -> None:
    """Check that nothing stays in the folder for temporary files; workers without a parent take a moment."""
    deadline = time.monotonic() + 5.0
    while left := [path.name for path in temporary.glob("gradlab-*")]:
        if time.monotonic() > deadline:
            raise Fault(f"{happened}: temporary files left behind: {left}")
        time.sleep(0.02)


def is_pythons_own(kind: str, code: int, text: str) -> bool:
    """Whether a traceback is that of a Ctrl-C before the program's first line, or in Python's import."""
    early = code == -signal.SIGINT or "Exception ignored in: <function _get_module_lock" in text
    return kind == "Ctrl-C" and early and text.rstrip(": \n").endswith("KeyboardInterrupt")


def disturbed(
    bench: Bench, work: str, out: Path, kind: str, rng: random.Random, temporary: Path
) -> tuple[int, str]:
    """Start a work and disturb it at a random instant; return how it ended, all put right again."""
    written = _newest(out)
    process = start(*command(bench, work, out), temporary=temporary)
    seconds = bench.seconds[work]
    if rng.random() < 0.8:  # most of the time is that of starting: rather once it writes
        while process.poll() is None and _newest(out) == written:
            time.sleep(0.001)
        seconds /= 2
    instant = time.monotonic() + rng.uniform(0, seconds)
    while process.poll() is None and time.monotonic() < instant:
        time.sleep(0.001)
    if process.poll() is None:
        DISTURBANCES[kind](process, out, rng)
    try:
        return ended(process)
    finally:
        allow(out)
        (out.parent / "ballast").unlink(missing_ok=True)


def _newest(out: Path) -> float:
    """Return when something changed last in an archive, or nothing."""
    with contextlib.suppress(OSError):
        return max(out.stat().st_mtime_ns, (out / "data.zarr").stat().st_mtime_ns)
    return 0.0


def check_between(bench: Bench, out: Path) -> None:
    """Read what stands in the archive now: every case that is finished must be right."""
    from gradlab.core.errors import UserMistake

    try:
        found = numbers(out)
    except UserMistake:  # there is none yet, and that is told
        if (out / "archive.json").exists() and '"complete": true' in (out / "archive.json").read_text():
            raise Fault(f"{out}: an archive that cannot be read") from None
        return
    for key, case in found.items():
        if case != bench.numbers.get(key):
            raise Fault(f"{out}: the case {key} has other numbers")


def trials(
    bench: Bench, folder: Path, times: int, seed: int, first: int = 0, only: str = ""
) -> tuple[collections.Counter[str], list[str]]:
    """Return how many trials ended how, and what went wrong; `only` names the one disturbance there is."""
    kinds = [kind for kind in DISTURBANCES if kind != "a full disk" or can_mount(folder)]
    kinds = [only] if only else kinds
    counts: collections.Counter[str] = collections.Counter()
    faults = []
    for number in range(first, first + times):
        place = folder / f"{number}"
        place.mkdir()
        try:
            counts.update(trial(bench, place, random.Random(f"{seed} {number}"), kinds))
        except (Fault, OSError) as fault:
            faults.append(f"trial {number}: {fault}")
            print(faults[-1], file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return counts, faults


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Stop runs at random instants and go on with them.")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--only", choices=[k for k in DISTURBANCES if k != "a worker killed"], default="")
    chosen = parser.parse_args(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = bench_in(Path(folder))
        digest = bench.whole[""].decode()
        took = ", ".join(f"{work} {seconds:.1f} s" for work, seconds in bench.seconds.items())
        print(f"{len(bench.numbers)} cases, {digest}; {took}", flush=True)
        counts, faults = trials(bench, Path(folder), chosen.times, chosen.seed, chosen.first, chosen.only)
    for what, count in sorted(counts.items()):
        print(f"{count:5d}  {what}")
    stops = counts.total()
    seconds = time.monotonic() - began
    print(f"{chosen.times} archives, {stops} stops, {len(faults)} faults, {seconds:.0f} s")
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
