"""What a dask scheduler costs: 100 000 small cases on a cluster of two workers and by two processes.

`python -m tests.benchmarks.cluster [--rounds N] [--json FILE]`

Hidden 8, length 10, four records; archive on disk included. Both ways take turns, and turns at being
first; medians are reported. Times of the processor are told beside wall time, for they depend less on
what else the machine does. The cluster's workers are there already, as those of a cluster are; the two
processes are started by the run. Needs the `cluster` extra.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import command
from tests.dask_processes import Dask, dask

ROOT = Path(__file__).resolve().parents[2]
SPEC = {
    "replicates": 1000,
    "network": {"hidden": 8},
    "task": {"name": "noise", "features": 2, "batch": 4, "length": 10},
    "record": ["log10_state_gradient_norm", "log10_gradient_norm", "growth_rate", "loss"],
    "sweep": {
        "network.spectrum.radius": {"start": 0.5, "stop": 1.5, "num": 25},
        "network.activation": ["tanh", "relu", "identity", "logistic"],
    },
}
CASES = 100_000
WAYS = ("two processes", "cluster of two workers")


def child(scheduler: str, folder: str) -> dict[str, float]:
    """Run the sweep once; return its times."""
    import gradlab

    way: dict[str, Any] = {"scheduler": scheduler} if scheduler else {"workers": 2}
    start = time.perf_counter()
    dataset = gradlab.run(SPEC, out=folder, **way)
    seconds = time.perf_counter() - start
    ran = int((dataset["status"].values > 0).sum())
    if ran != CASES:
        raise SystemExit(f"expected {CASES} cases run, got {ran}")
    return {"wall": seconds, "writer": _cpu(resource.getrusage(resource.RUSAGE_SELF))}


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def once(cluster: Dask | None) -> dict[str, float]:
    """Run the sweep in a process of its own; return seconds by what took them."""
    import psutil

    watched = [psutil.Process(process.pid) for process in cluster.processes] if cluster else []
    before = [sum(process.cpu_times()[:2]) for process in watched]
    spent = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN))
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "tests.benchmarks.cluster", "--child"]
        line += [cluster.address if cluster else "", str(Path(folder, "out"))]
        done = subprocess.run(
            line,
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    spent = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN)) - spent
    after = [sum(process.cpu_times()[:2]) for process in watched]
    scheduler, *workers = [later - earlier for earlier, later in zip(before, after, strict=True)] or [0.0]
    answer["scheduler"] = scheduler
    answer["workers"] = sum(workers) if cluster else spent - answer["writer"]
    answer["cpu"] = spent + scheduler + sum(workers)
    return answer


def measure(rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return the times of all rounds of both ways; a first round of the cluster loads what it needs."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder, dask(Path(folder), 1, 1) as cluster:
        once(cluster)
        for i in range(rounds):
            ways = list(zip(WAYS, (None, cluster), strict=True))
            for way, given in ways if i % 2 == 0 else reversed(ways):  # a pace that drifts favours neither
                found[way].append(once(given))
                print(f"round {i + 1}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: seconds of each, and what the cluster costs."""
    columns = ("wall", "cpu", "workers", "writer", "scheduler")
    middle = {
        way: {name: statistics.median(each[name] for each in rounds) for name in columns}
        for way, rounds in found.items()
    }
    lines = [
        f"| {CASES} cases | wall s | processor s, all | workers | writer | scheduler |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {way} | {' | '.join(f'{row[name]:.2f}' for name in columns)} |" for way, row in middle.items()
    ]
    local, cluster = (middle[way] for way in WAYS)
    wall, cpu = (
        statistics.median(two[name] / one[name] for one, two in zip(*found.values(), strict=True))
        for name in ("wall", "cpu")
    )
    lines += [
        "",
        f"The scheduler takes {cluster['scheduler'] / local['cpu']:.1%} of two processes' processor time.",
        f"Cluster over two processes, median over rounds: wall {wall:.3f}, processor {cpu:.3f}.",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    command.run("What a dask scheduler costs over two processes.", 3, child, measure, table, argv)


if __name__ == "__main__":
    main()
