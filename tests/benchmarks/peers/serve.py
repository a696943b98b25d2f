"""A kernel peer as a process of its own, on one core, that works only when asked.

`python -m tests.benchmarks.peers.serve MODULE CORE` pins itself to the core, imports
`tests.benchmarks.peers.MODULE`, and answers requests, one JSON object a line: `prepare` draws the
arrays, tries each variant the peer offers and keeps the fastest; `save` writes the norms of that
variant; `time` runs it once and returns processor seconds. While one tool works the others wait for input,
so a harness can interleave them in rounds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np

from tests.benchmarks.problem import Kernel, Problem


def clock(kernel: Kernel) -> float:
    """Seconds the processor spends on one evaluation, in all threads of this process."""
    start = time.process_time()
    kernel()
    return time.process_time() - start


class Server:
    """The state of one tool between two requests: the variant that was chosen."""

    def __init__(self, module: str) -> None:
        self.module = importlib.import_module(f"tests.benchmarks.peers.{module}")
        self.kernel: Kernel | None = None

    def prepare(self, problem: dict[str, Any], trials: int) -> dict[str, Any]:
        """Time every variant `trials` times after one warm-up (which compiles); keep the fastest."""
        self.kernel = None
        best: tuple[float, str] = (np.inf, "")
        seconds: dict[str, float] = {}
        for name, kernel in self.module.variants(Problem(**problem)):
            kernel()
            seconds[name] = min(clock(kernel) for _ in range(trials))
            if (seconds[name], name) < best:
                best, self.kernel = (seconds[name], name), kernel
        return {"variant": best[1], "tried": seconds}

    def save(self, path: str) -> dict[str, Any]:
        assert self.kernel is not None
        np.save(path, self.kernel())
        return {}

    def time(self) -> dict[str, Any]:
        assert self.kernel is not None
        return {"seconds": clock(self.kernel)}


def main() -> None:
    module, core = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    server = Server(module)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(server, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
