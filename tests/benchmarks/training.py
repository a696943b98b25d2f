"""The training table: gradlab, JAX, PyTorch and the floor, each on one core, doing the same updates.

`python -m tests.benchmarks.training [--quick] [--cell NAME] [--json FILE]`

As in `tests.benchmarks.kernels` every tool is a process of its own on the same core, keeps the fastest of
its variants, and takes turns with the others; the norms of all updates are compared (relative 1e-9)
before anything is timed. A round is a few updates of 32 cases: 50 hidden units, batch 20, length 100,
plain descent with the norm clip of every case, every update's loss and norms recorded. gradlab runs
once more with nothing recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.environment import machine
from tests.benchmarks.kernels import ratio, tool
from tests.benchmarks.problem import UPDATES, Problem

TOOLS = {
    "gradlab": "gradlab_training",
    "unrecorded": "gradlab_unrecorded",
    "jax": "jax_training",
    "torch": "torch_training",
    "floor": "training_floor",
}
SAVED = ("gradlab", "jax", "torch")
RTOL = 1e-9


def problem_of(cell: str) -> Problem:
    return Problem(cell, hidden=50, cases=32, length=100, batch=20, features=2, outputs=1)


def measure(problem: Problem, rounds: int, trials: int, core: int) -> dict[str, Any]:
    """One row: variants chosen, norms compared, then times of all tools in turns."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        tools = {name: stack.enter_context(tool(module, core)) for name, module in TOOLS.items()}
        chosen = {
            name: each.ask("prepare", problem=asdict(problem), trials=trials) for name, each in tools.items()
        }
        norms = {}
        for name in SAVED:
            path = Path(folder, f"{name}.npy")
            tools[name].ask("save", path=str(path))
            norms[name] = np.load(path)
        difference = 0.0
        for name, values in norms.items():
            apart = float(np.max(np.abs(values / norms["gradlab"] - 1.0)))
            difference = max(difference, apart)
            if not apart <= RTOL:
                raise SystemExit(f"{problem.cell}: {name} and gradlab differ by {apart:.1e} relative")
        times: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(rounds):
            for name, each in tools.items():
                times[name].append(each.ask("time")["seconds"] / UPDATES)
    return {"problem": asdict(problem), "difference": difference, "chosen": chosen, "times": times}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: times of an update in ms, then ratios."""
    lines = [
        "| work | gradlab ms | JAX ms | PyTorch ms | floor ms | JAX | PyTorch | of the floor | recording |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    pairs = (("jax", "gradlab"), ("torch", "gradlab"), ("gradlab", "floor"), ("gradlab", "unrecorded"))
    for row in rows:
        problem = Problem(**row["problem"])
        names = ("gradlab", "jax", "torch", "floor")
        times = [f"{1e3 * statistics.median(row['times'][name]):.1f}" for name in names]
        cells = ["{:.2f} ({:.2f} … {:.2f})".format(*ratio(row, *pair)) for pair in pairs]
        work = f"{problem.cell} {problem.hidden}, {problem.cases} cases"
        lines.append("| " + " | ".join([work, *times, *cells]) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The training table: each tool on one core.")
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    parser.add_argument("--cell", choices=("elman", "lstm"), help="default: both")
    parser.add_argument("--core", type=int, help="the core all tools run on; default: the last one")
    parser.add_argument("--json", type=Path, help="write all times and variants there")
    chosen = parser.parse_args(argv)
    core = max(os.sched_getaffinity(0)) if chosen.core is None else chosen.core
    rounds, trials = (3, 1) if chosen.quick else (9, 2)
    rows = []
    for cell in [chosen.cell] if chosen.cell else ["elman", "lstm"]:
        rows.append(measure(problem_of(cell), rounds, trials, core))
        picked = {name: answer["variant"] for name, answer in rows[-1]["chosen"].items()}
        print(f"{cell}: agree to {rows[-1]['difference']:.0e}; {picked}", flush=True)
    print(f"{machine()}\n\n{table(rows)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
