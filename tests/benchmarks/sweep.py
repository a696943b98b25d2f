"""The sweep table: 26 880 cases and more by gradlab, by the loop of today, and by JAX, on two cores for all.

`python -m tests.benchmarks.sweep [main] [short] [replicated] [--quick] [--peers-only] [--all] [--json FILE]`

gradlab runs all cases, and its whole process is timed, archive included. xyzpy with PyTorch runs a
random sample (equally many of each activation, length and clip) and is scaled up; JAX runs a random
quarter of the (activation, length) pairs with all radii, clips and replicates, compilation counted, and
is scaled up (`--all`: everything). The tools take turns in rounds; medians and ranges are reported, and
each round has another sample. The last line is the floor: what the matrix products and activations of
the sweep's distinct work take in two processes that run already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.environment import environment, machine
from tests.benchmarks.grid import SWEEPS, Sweep

ROOT = Path(__file__).resolve().parents[2]
CORES = 2
TOOLS = {
    "gradlab, 2 workers": ("gradlab_sweep", "2"),
    "gradlab, 1 worker": ("gradlab_sweep", "1"),
    "xyzpy + PyTorch, 2 processes": ("torch_loop", "2"),
    "xyzpy + PyTorch, 2 threads": ("torch_loop", "1"),
    "JAX, jit and vmap": ("jax_sweep", "vmap"),
    "JAX, jit and map, 2 devices": ("jax_sweep", "map"),
    "products and activations alone, 2 processes": ("floor_sweep", "2"),
}
OURS = "gradlab, 2 workers"


def run(module: str, *arguments: object, threads: int = CORES) -> tuple[float, dict[str, Any]]:
    """Wall seconds of the process, and what it printed."""
    own = environment(threads)
    command = [sys.executable, "-m", f"tests.benchmarks.peers.{module}", *map(str, arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=own, text=True, stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}; its message is above")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def total(tool: str, sweep: Sweep, per_stratum: int, seed: int, everything: bool) -> dict[str, Any]:
    """Seconds for all cases of the sweep, and what they are scaled up from."""
    module, way = TOOLS[tool]
    if module == "gradlab_sweep":
        with tempfile.TemporaryDirectory() as folder:
            seconds, answer = run(module, sweep.name, way, folder)
        return {"seconds": seconds, "cases": answer["cases"], "call": answer["seconds"]}
    if module == "floor_sweep":
        return run(module, sweep.name, way, threads=1)[1]
    if module == "torch_loop":
        threads = CORES // int(way)
        _, answer = run(module, sweep.name, way, threads, per_stratum, seed, threads=threads)
    else:
        _, answer = run(module, sweep.name, way, seed, *(["all"] if everything else []))
    scaled = answer["seconds"] * sweep.cases / answer["cases"]
    return {**answer, "measured": answer["seconds"], "seconds": scaled}


def measure(sweep: Sweep, tools: list[str], rounds: int, everything: bool) -> dict[str, Any]:
    """All rounds of all tools."""
    found: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for seed in range(rounds):
        for tool in tools:
            last = total(tool, sweep, per_stratum=2, seed=seed, everything=everything)
            found[tool].append(last)
            progress = f"{sweep.name}, round {seed + 1}: {tool}: {last['seconds']:.1f} s"
            print(progress, file=sys.stderr, flush=True)
    return {"sweep": sweep.name, "cases": sweep.cases, "tools": found}


def table(row: dict[str, Any]) -> str:
    """Markdown: seconds for all cases, and how many times as long as gradlab's."""
    sweep = SWEEPS[row["sweep"]]
    seconds = {tool: [each["seconds"] for each in rounds] for tool, rounds in row["tools"].items()}
    ours = statistics.median(seconds[OURS]) if OURS in seconds else None
    lengths = f"length {sweep.lengths[0]} … {sweep.lengths[-1]}"
    what = f"{row['cases']} cases, hidden {sweep.hidden}, batch {sweep.batch}, {lengths}"
    lines = [f"| {what} | seconds | range | cases timed | of gradlab |", "|---|--:|--:|--:|--:|"]
    for tool, times in seconds.items():
        middle = statistics.median(times)
        timed = row["tools"][tool][0]["cases"]
        factor = f"{middle / ours:.2f}" if ours else "–"
        lines.append(f"| {tool} | {middle:.1f} | {min(times):.1f} … {max(times):.1f} | {timed} | {factor} |")
    return "\n".join(lines)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The sweep table: two cores for everybody.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SWEEPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--peers-only", action="store_true", help="leave gradlab out")
    parser.add_argument("--all", action="store_true", help="JAX runs every combination (some ten minutes)")
    parser.add_argument("--json", type=Path, help="write all times there")
    chosen = parser.parse_args(argv)
    unknown = set(chosen.names) - set(SWEEPS)
    if unknown:
        parser.error(f"expected names among {', '.join(SWEEPS)}, got {', '.join(sorted(unknown))}")
    return chosen


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    tools = [tool for tool in TOOLS if not (chosen.peers_only and TOOLS[tool][0] == "gradlab_sweep")]
    rounds = 1 if chosen.quick else 3
    rows = [measure(SWEEPS[name], tools, rounds, chosen.all) for name in chosen.names or SWEEPS]
    print("\n\n".join([machine(), *(table(row) for row in rows)]))
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
