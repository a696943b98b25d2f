"""``gradlab plan``: what a spec comes to, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli import complete
from gradlab.cli.options import Json, Memory, Prune, Settings, SpecFile, Workers

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="An archive: say which cases it has, and what becomes of its others.",
        show_default=False,
        autocompletion=complete.archives,
    ),
]


def plan(
    spec: SpecFile,
    out: Out = None,
    settings: Settings = None,
    workers: Workers = None,
    memory: Memory = None,
    prune: Prune = False,
    as_json: Json = False,
) -> None:
    """Show axes, cases, shared work, memory, disk and time of a spec; run nothing.

    The time is estimated from a short calibration on this machine. With --out it is that of the cases
    which the archive lacks.

    For example:
      gradlab plan experiments/spectral-sweep.toml
      gradlab plan mine.toml --out results/mine
      gradlab plan mine.toml --set replicates=100 --workers 2
    """
    from gradlab.cli.planning import plan_lines, plan_table
    from gradlab.cli.specs import read_spec
    from gradlab.cli.terminal import say, say_json

    table = plan_table(read_spec(spec, settings or []), workers, memory, out, prune=prune)
    if as_json:
        say_json(table)
    else:
        say(*plan_lines(table))
