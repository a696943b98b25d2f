"""The sweep that the tests of this folder check."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, Any] = {
    "title": "Two [bold]cells[/bold]",
    "question": "What of \x1b[31m?",
    "replicates": 2,
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 5},
    "sweep": {
        "network.cell": ["elman", "lstm"],
        "network.spectrum.radius": [0.5, 2.0],
        "clip": ["off", {"name": "norm", "threshold": 0.5}],
    },
}
