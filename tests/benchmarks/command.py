"""What benchmarks of whole runs have in common on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def run(
    description: str,
    rounds: int,
    child: Callable[[str, str], object],
    measure: Callable[[int], Any],
    table: Callable[[Any], str],
    argv: Sequence[str] | None,
) -> None:
    """Print the table of what was measured in some rounds; as a process of its own, what `child` returns."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.child:
        print(json.dumps(child(*chosen.child)))
        return
    found = measure(chosen.rounds)
    print(table(found))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))
