"""What archives and processes cost: the store, plans of 100 000 cases, `show` and `plan`, two workers.

`python -m tests.benchmarks.archives [--rounds N] [--json FILE]`

The main job, ``experiments/spectral-sweep.toml``, tells what two workers gain over one, in whole commands
that take turns, and what two such runs beside each other get out of the machine; which share of a run in
one process the store takes; and with 100 replicates, which are 100 800 cases, what a plan costs. The
archive of as many cases is of small ones: hidden 8, length 10, four records.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import command
from tests.benchmarks.cluster import SPEC as SMALL
from tests.benchmarks.environment import environment, machine

ROOT = Path(__file__).resolve().parents[2]
MAIN_JOB = ROOT / "experiments" / "spectral-sweep.toml"
LARGE: dict[str, Any] = {**SMALL, "replicates": 1008}
CASES = 100_800
REPEATS = 5


def seconds_of(*words: str | Path, times: int = 1) -> float:
    """Run one command of gradlab as a user would, so many times at once; return the seconds until all end.

    ``{}`` in a word stands for the number of the time.
    """
    program = str(Path(sys.executable).with_name("gradlab"))
    lines = [[program, *(str(word).replace("{}", str(i)) for word in words)] for i in range(times)]
    start = time.perf_counter()
    running = [
        subprocess.Popen(line, cwd=ROOT, env=environment(None), stdout=subprocess.DEVNULL) for line in lines
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"{' '.join(lines[0])} failed; its message is above")
    return time.perf_counter() - start


def child(task: str, folder: Path) -> dict[str, float]:
    """Return what a process of its own found; see `store`, `planning` and `opening`."""
    line = [sys.executable, "-m", "tests.benchmarks.archives", "--child", task, str(folder)]
    done = subprocess.run(
        line, cwd=ROOT, env=environment(None), text=True, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def store(folder: Path) -> dict[str, float]:
    """Seconds of the main job in one process, and those of them that the store takes."""
    import gradlab
    from gradlab.archive import store as storing
    from gradlab.archive.store import ArchiveSink

    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **how: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **how)
            finally:
                spent[0] += time.perf_counter() - start

        return wrapped

    for name in ("begin", "write", "close"):
        setattr(ArchiveSink, name, timed(getattr(ArchiveSink, name)))
    storing.seal = timed(storing.seal)
    start = time.perf_counter()
    gradlab.run(MAIN_JOB, out=folder / "stored", workers=1)
    return {"whole": time.perf_counter() - start, "store": spent[0]}


def planning(folder: Path) -> dict[str, float]:
    """Milliseconds a block from the main job with 100 replicates to blocks that are ready to be sent."""
    del folder
    from gradlab.experiment.grid import expand
    from gradlab.experiment.plan import make_plan
    from gradlab.experiment.spec import Spec

    spec = Spec.from_dict({**tomllib.loads(MAIN_JOB.read_text(encoding="utf-8")), "replicates": 100})
    start = time.perf_counter()
    plan = make_plan(expand(spec))
    count = sum(1 for _ in plan.blocks())
    seconds = time.perf_counter() - start
    if plan.grid.n_cases != CASES:
        raise SystemExit(f"expected {CASES} cases, got {plan.grid.n_cases}")
    return {"blocks": count, "milliseconds": seconds / count * 1e3}


def opening(folder: Path) -> dict[str, float]:
    """Seconds to open the archive as a dataset, and files with numbers of cases that were opened for it."""
    import gradlab
    from gradlab.archive.variables import VARIABLES

    seen: list[str] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and "data.zarr" in str(args[0]):
            seen.append(str(args[0]))

    sys.addaudithook(watch)
    start = time.perf_counter()
    gradlab.open_archive(folder / "large")
    seconds = time.perf_counter() - start
    files = [Path(name) for name in seen]
    data = [path for path in files if path.parent.name in VARIABLES and path.name != "zarr.json"]
    return {"seconds": seconds, "files": len(seen), "data files": len(data)}


CHILDREN = {"store": store, "planning": planning, "opening": opening}


def measure(rounds: int) -> dict[str, Any]:
    """Return all that the table tells."""
    ways = {"one": (1, 1), "two": (2, 1), "apart": (1, 2)}  # workers, runs at once
    found: dict[str, Any] = {"machine": machine(), **{label: [] for label in ways}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(rounds):
            for label, (workers, times) in ways.items():
                flags = ("--no-figures", "--quiet", "--workers", str(workers))
                out = folder / f"{label}-{i}-{{}}"
                found[label].append(seconds_of("run", MAIN_JOB, *flags, "--out", out, times=times))
            told = ", ".join(f"{label} {found[label][-1]:.2f} s" for label in ways)
            print(f"round {i + 1}: {told}", file=sys.stderr, flush=True)
        found["store"] = child("store", folder)
        found["planning"] = child("planning", folder)
        found["large"] = run_large(folder)
        found["opening"] = child("opening", folder)
        toml = folder / "large" / "spec.resolved.toml"
        asked = {"show": ("show", folder / "large"), "plan": ("plan", toml, "--out", folder / "large")}
        for label, words in asked.items():
            found[label] = statistics.median(seconds_of(*words) for _ in range(REPEATS))
    return found


def run_large(folder: Path) -> float:
    """Make the archive of 100 800 cases; return its seconds."""
    import gradlab

    start = time.perf_counter()
    gradlab.run(LARGE, out=folder / "large", workers=2)
    return time.perf_counter() - start


def table(found: dict[str, Any]) -> str:
    """Markdown: what was found beside what is wanted."""
    gain = _ratios(found["one"], found["two"])
    limit = _ratios([2 * seconds for seconds in found["one"]], found["apart"])
    one, two = (statistics.median(found[label]) for label in ("one", "two"))
    kept, planned, opened = found["store"], found["planning"], found["opening"]
    rows = [
        (
            "two workers over one, main job",
            "at least 1.8",
            f"{gain}; {one:.1f} s, {two:.1f} s",
        ),
        ("two whole runs apart, at once, over one", "what the machine gives", limit),
        ("store, of the main job's time", "below 10 %", f"{kept['store'] / kept['whole']:.1%}"),
        (
            f"plan of the main job with {CASES} cases, a block",
            "below 1 ms",
            f"{planned['milliseconds']:.2f} ms ({planned['blocks']:.0f} blocks)",
        ),
        (f"`gradlab show`, archive of {CASES} cases", "1 s", f"{found['show']:.2f} s"),
        (f"`gradlab plan --out` of it, {CASES} cases there", "1 s", f"{found['plan']:.2f} s"),
        (
            "opening it as a dataset",
            "reads no data",
            f"{opened['data files']:.0f} files of data opened, {opened['seconds']:.2f} s",
        ),
    ]
    lines = [found["machine"], "", "| what | wanted | measured |", "|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _ratios(above: list[float], below: list[float]) -> str:
    """The median of the ratios of rounds, and their range."""
    each = [one / other for one, other in zip(above, below, strict=True)]
    return f"{statistics.median(each):.2f} (median of {len(each)}, {min(each):.2f} to {max(each):.2f})"


def main(argv: list[str] | None = None) -> None:
    command.run(
        "What archives and processes cost.",
        9,
        lambda task, folder: CHILDREN[task](Path(folder)),
        measure,
        table,
        argv,
    )


if __name__ == "__main__":
    main()
