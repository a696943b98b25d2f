"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import Result

TINY = """
title = "Tiny"
replicates = 2
[network]
hidden = 4
[task]
name = "noise"
features = 3
batch = 2
length = 5
[sweep]
"network.spectrum.radius" = [0.5, 3.0]
"network.activation" = ["tanh", "identity"]
"""

Cli = Callable[..., Result]
DATA = Path(__file__).resolve().parents[1] / "data"
PROGRAM = [sys.executable, "-c", "from gradlab.cli.main import main; main()"]


def known(name: str) -> dict[str, np.ndarray[Any, Any]]:
    """What PyTorch computed: see tests/data/make_weights.py."""
    with np.load(DATA / f"{name}.npz") as file:
        return {key: file[key] for key in file}
