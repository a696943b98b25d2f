"""The floor of the sweep: the matrix products and activations of its distinct work, and nothing else.

One forward pass for each radius, activation and replicate, at the greatest length. For each length, two
backward passes and two weight gradients: `off`, `norm` and `value` have the same adjoints, `adjoint_norm`
has others, and each length has a loss of its own. No matrix is drawn, nothing recorded, clipped or
written; no process is started while the time is taken.

`python -m tests.benchmarks.peers.floor_sweep SWEEP PROCESSES` prints seconds and cases.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time

import numpy as np
from scipy.special import expit

from tests.benchmarks.grid import ACTIVATIONS, FEATURES, RADII, SWEEPS, Sweep

CALLS = {"tanh": np.tanh, "logistic": expit, "relu": lambda z, out: np.maximum(z, 0.0, out=out)}
LANES = 2


def passes(sweep: Sweep, activation: str) -> None:
    """The products of one radius: forward, then backward and weight gradient of each length and lane."""
    n, samples, cases, longest = sweep.hidden, sweep.batch, sweep.replicates, max(sweep.lengths)
    inputs = n + FEATURES + 1  # a row of ones stands for the bias
    weights = np.full((cases, n, inputs), 0.01)
    transposed = np.full((cases, n, n), 0.01)
    states, out = np.full((cases, inputs, samples), 0.01), np.empty((cases, n, samples))
    adjoints, earlier = np.full((2, cases, n, LANES * samples), 0.01)
    shares, tape = np.full((LANES * n, longest * samples), 0.01), np.full((longest * samples, inputs), 0.01)
    gradient = np.empty((LANES * n, inputs))
    call = CALLS.get(activation)
    for _ in range(longest):
        np.matmul(weights, states, out=out)
        if call is not None:
            call(out, out=out)
    for length in sweep.lengths:
        for _ in range(length):
            np.matmul(transposed, adjoints, out=earlier)
        for _ in range(cases):
            np.matmul(shares[:, : length * samples], tape[: length * samples], out=gradient)


def work(job: tuple[str, str]) -> float:
    """Seconds that one radius took."""
    name, activation = job
    start = time.perf_counter()
    passes(SWEEPS[name], activation)
    return time.perf_counter() - start


def main() -> None:
    name, processes = sys.argv[1], int(sys.argv[2])
    jobs = [(name, activation) for activation in ACTIVATIONS for _ in RADII]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(work, jobs[:processes], chunksize=1)  # the processes are there, and warm
        start = time.perf_counter()
        for _ in pool.imap_unordered(work, jobs):
            pass
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cases": SWEEPS[name].cases}))


if __name__ == "__main__":
    main()
