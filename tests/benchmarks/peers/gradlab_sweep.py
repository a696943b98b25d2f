"""gradlab's own side of the sweep table: one call of `gradlab.run`, archive on disk included.

`python -m tests.benchmarks.peers.gradlab_sweep SWEEP WORKERS FOLDER` prints seconds (of the call) and
cases; the harness times the whole process, interpreter and imports included, and reports that.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.benchmarks.grid import SWEEPS


def main() -> None:
    name, workers, folder = sys.argv[1:]
    sweep = SWEEPS[name]
    start = time.perf_counter()
    import gradlab

    dataset = gradlab.run(sweep.spec(), out=Path(folder, name), workers=int(workers))
    seconds = time.perf_counter() - start
    ran = int((dataset["status"].values > 0).sum())
    if ran != sweep.cases:
        raise SystemExit(f"expected {sweep.cases} cases run, got {ran}")
    print(json.dumps({"seconds": seconds, "cases": ran}))


if __name__ == "__main__":
    main()
