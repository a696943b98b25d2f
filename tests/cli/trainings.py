"""What the tests of trainings on the command line share: a tiny one, and a process that kills itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gradlab.measure.checkpoint import Keeper

SPEC = """
title = "Tiny"
measure = "train"
replicates = 2
[network]
hidden = 3
[task]
name = "temporal_order"
length = 10
batch = 2
[training]
updates = 6
optimiser = { name = "adam", rate = 0.01 }
spacing = "linear"
records = 4
evaluate = 5
[sweep]
clip = ["off", { name = "norm", threshold = 0.5 }]
"training.optimiser.rate" = [0.001, 0.1]
"""
REST = ("--no-figures", "--quiet")

# A state after every update; after so many of them the process kills itself.
KILLED = """
import os, signal
from gradlab.measure import checkpoint, training_block
training_block.SAVE_SECONDS = 0.0
save, left = checkpoint.Keeper.save, [int(os.environ["SAVES"])]
def counted(keeper, state):
    save(keeper, state)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Keeper.save = counted
from gradlab.cli.main import main
main()
"""


def table(text: str = SPEC) -> dict[str, object]:
    import tomllib

    return tomllib.loads(text)


def digest(path: str | Path) -> str:
    return str(json.loads((Path(path) / "manifest.json").read_text())["content_digest"])


def killed(spec: Path, out: str, saves: int, script: str = KILLED) -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "SAVES": str(saves)}
    arguments = [sys.executable, "-c", script, "run", str(spec), "-o", out, "--workers", "1", *REST]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def states_met(monkeypatch: pytest.MonkeyPatch) -> list[list[int] | None]:
    """Return the updates, case by case, that every block to be measured in this process begins with."""
    met: list[list[int] | None] = []
    start = Keeper.start

    def seen(keeper: Keeper, begin: Callable[[], dict[str, np.ndarray]]) -> object:
        state = start(keeper, begin)
        met.append(None if state is None else state["done"].tolist())
        return state

    monkeypatch.setattr(Keeper, "start", seen)
    return met
