"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

import sys
from collections.abc import Callable

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
PROGRAM = [sys.executable, "-c", "from gradlab.cli.main import main; main()"]
