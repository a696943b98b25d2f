"""``gradlab run``: measure what a spec asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli.group import command_line
from gradlab.cli.options import Json, Memory, NoFigures, Quiet, Settings, SpecFile, Workers

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Where the archive goes.", show_default="results/NAME"),
]


def run(
    ctx: typer.Context,
    spec: SpecFile,
    out: Out = None,
    settings: Settings = None,
    workers: Workers = None,
    memory: Memory = None,
    no_figures: NoFigures = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every case of a spec, into an archive with data and figures.

    Run again, it continues what was interrupted; cases that failed are tried again.

    For example:
      gradlab run experiments/spectral-sweep.toml
      gradlab run mine.toml --set network.hidden=32 --set task.length=50 --out results/small
      gradlab run mine.toml --workers 4 --memory 2GiB --no-figures
    """
    from gradlab.cli.execution import Wish, run_spec
    from gradlab.cli.specs import given_text, read_spec

    loaded = read_spec(spec, settings or [])
    wish = Wish(
        out=out if out is not None else Path("results") / spec.stem,
        command=command_line(ctx),
        workers=workers,
        memory=memory,
        figures=not no_figures,
        quiet=quiet,
        as_json=as_json,
    )
    run_spec(loaded, given_text(spec, loaded, settings or []), wish)
