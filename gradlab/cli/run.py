"""``gradlab run``: measure what a spec asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli.group import command_line
from gradlab.cli.options import (
    AcceptOlderCode,
    Json,
    LogFile,
    Memory,
    NoFigures,
    Prune,
    Quiet,
    Scheduler,
    Settings,
    SpecFile,
    Workers,
)

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Where the archive goes.", show_default="results/NAME"),
]

Partition = Annotated[
    str | None,
    typer.Option(
        "--partition",
        metavar="I/N",
        help="Run part I of N alone; gradlab merge puts their archives together.",
        show_default=False,
    ),
]


def run(
    ctx: typer.Context,
    spec: SpecFile,
    out: Out = None,
    settings: Settings = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    memory: Memory = None,
    partition: Partition = None,
    prune: Prune = False,
    accept_older_code: AcceptOlderCode = False,
    no_figures: NoFigures = False,
    quiet: Quiet = False,
    log: LogFile = None,
    as_json: Json = False,
) -> None:
    """Measure every case of a spec, into an archive with data and figures.

    Run again, it continues what was interrupted; cases that failed are tried again. Run with a changed
    spec (a finer axis, more replicates, another activation), it measures what is new and keeps the rest:
    gradlab plan SPEC --out DIR says what that comes to.

    For example:
      gradlab run experiments/spectral-sweep.toml
      gradlab run mine.toml --set network.hidden=32 --set task.length=50 --out results/small
      gradlab run mine.toml --workers 4 --memory 2GiB --no-figures
      gradlab run mine.toml --partition 3/16 --out parts/3
      gradlab run mine.toml --scheduler tcp://10.0.0.1:8786
    """
    from gradlab.cli.execution import Wish, run_spec
    from gradlab.cli.logbook import logged
    from gradlab.cli.specs import given_text, read_spec

    command = command_line(ctx)
    with logged(log, command) as book:
        wish = Wish(
            out=out if out is not None else Path("results") / spec.stem,
            command=command,
            workers=workers,
            scheduler=scheduler,
            memory=memory,
            partition=partition,
            prune=prune,
            accept_older_code=accept_older_code,
            figures=not no_figures,
            quiet=quiet,
            as_json=as_json,
        )
        loaded = read_spec(spec, settings or [])
        run_spec(loaded, given_text(spec, loaded, settings or []), wish, book)
