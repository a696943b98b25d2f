"""The kernel table: gradlab, JAX, PyTorch and the floor, each on one core, computing the same norms.

`python -m tests.benchmarks.kernels [--quick] [--networks | --only NAME[,NAME]] [--json FILE]`

Each tool is a process of its own, pinned to the same core with one thread. It first tries its variants
and keeps the fastest; the numbers of all tools are compared (relative 1e-10, absolute 0) before anything
is timed; then the tools take turns in rounds, so that a disturbance of the machine meets all alike.
Reported: medians of processor time, ratios of medians, and the range of the ratio over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.environment import environment, machine
from tests.benchmarks.problem import PROBLEMS, Problem

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {
    "gradlab": "gradlab_kernel",
    "jax": "jax_kernel",
    "torch": "torch_kernel",
    "floor": "floor",
}
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


class Tool:
    """A peer's process, asked by one line and answering by one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"expected an answer to {do!r}, got none from: {self.process.args}")
        return json.loads(answer)


@contextmanager
def tool(module: str, core: int) -> Iterator[Tool]:
    command = [sys.executable, "-m", "tests.benchmarks.peers.serve", module, str(core)]
    own = {**environment(threads=1), "XLA_FLAGS": XLA_ONE_THREAD}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=own
    ) as process:
        try:
            yield Tool(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def compare(problem: Problem, norms: dict[str, np.ndarray]) -> float:
    """Largest relative difference from gradlab's norms; an error above 1e-10, or where zeros differ."""
    worst = 0.0
    for name, values in norms.items():
        known = norms["gradlab"] != 0.0
        if values.shape != known.shape or not np.array_equal(values != 0.0, known):
            raise SystemExit(f"{problem.name}: {name} and gradlab differ in shape or in what is zero")
        difference = float(np.max(np.abs(values[known] / norms["gradlab"][known] - 1.0)))
        if not difference <= 1e-10:
            raise SystemExit(f"{problem.name}: {name} and gradlab differ by {difference:.1e} relative")
        worst = max(worst, difference)
    return worst


def measure(problem: Problem, rounds: int, trials: int, core: int) -> dict[str, Any]:
    """One row: variants chosen, results compared, then times of all tools in turns."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        tools = {name: stack.enter_context(tool(module, core)) for name, module in TOOLS.items()}
        chosen = {
            name: each.ask("prepare", problem=asdict(problem), trials=trials) for name, each in tools.items()
        }
        norms = {}
        for name, each in tools.items():
            if name != "floor":
                path = Path(folder, f"{name}.npy")
                each.ask("save", path=str(path))
                norms[name] = np.load(path)
        difference = compare(problem, norms)
        times: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(rounds):
            for name, each in tools.items():
                times[name].append(each.ask("time")["seconds"])
    return {"problem": asdict(problem), "difference": difference, "chosen": chosen, "times": times}


def ratio(row: dict[str, Any], over: str, under: str) -> tuple[float, float, float]:
    """Ratio of the medians, and the smallest and largest ratio within a round."""
    top, bottom = row["times"][over], row["times"][under]
    rounds = [a / b for a, b in zip(top, bottom, strict=True)]
    return statistics.median(top) / statistics.median(bottom), min(rounds), max(rounds)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: times in ms, then how many times faster than the peers and slower than the floor."""
    lines = [
        "| work | gradlab ms | JAX ms | PyTorch ms | floor ms | to JAX | to PyTorch | of the floor |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        problem = Problem(**row["problem"])
        times = [f"{1e3 * statistics.median(row['times'][name]):.1f}" for name in TOOLS]
        ratios = [
            ratio(row, "jax", "gradlab"),
            ratio(row, "torch", "gradlab"),
            ratio(row, "gradlab", "floor"),
        ]
        cells = [f"{middle:.2f} ({low:.2f} … {high:.2f})" for middle, low, high in ratios]
        lines.append("| " + " | ".join([described(problem), *times, *cells]) + " |")
    return "\n".join(lines)


def described(problem: Problem) -> str:
    """The first column."""
    what = [f"{problem.cell} {problem.hidden}"]
    if problem.layers > 1:
        what.append(f"{problem.layers} layers")
    if problem.directions > 1:
        what.append("bidirectional, loss at every step")
    what.append(f"{problem.cases} cases" if problem.cases > 1 else "one case")
    return ("credit matrix, " if problem.credit else "") + ", ".join(what)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The kernel table: each tool on one core.")
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--networks", action="store_true", help="GRU, deep and bidirectional networks, credit")
    which.add_argument("--only", help="names such as elman-64,lstm-128; default: all")
    parser.add_argument("--core", type=int, help="the core all tools run on; default: the last one")
    parser.add_argument("--json", type=Path, help="write all times and variants there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    names = [problem.name for problem in PROBLEMS]
    if chosen.only or chosen.networks:
        names = chosen.only.split(",") if chosen.only else [p.name for p in PROBLEMS if p.is_network]
    unknown = set(names) - {problem.name for problem in PROBLEMS}
    if unknown:
        raise SystemExit(
            f"--only: {', '.join(sorted(unknown))} not among {', '.join(p.name for p in PROBLEMS)}"
        )
    core = max(os.sched_getaffinity(0)) if chosen.core is None else chosen.core
    rounds, trials = (3, 1) if chosen.quick else (9, 2)
    rows = []
    for problem in PROBLEMS:
        if problem.name in names:
            rows.append(measure(problem, rounds, trials, core))
            variants = {name: answer["variant"] for name, answer in rows[-1]["chosen"].items()}
            print(
                f"{problem.name}: agree to {rows[-1]['difference']:.0e}; {variants}",
                file=sys.stderr,
                flush=True,
            )
    print(f"{machine()}\n\n{table(rows)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
