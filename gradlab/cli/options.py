"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gradlab.cli import complete

SpecFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A spec in TOML.", autocompletion=complete.specs)
]
Archive: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="ARCHIVE",
        help="An archive: its directory, or a packed file.",
        autocompletion=complete.archives,
    ),
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the spec, as in network.hidden=32. May be repeated. "
        "An axis is replaced; sweep.KEY makes one.",
        show_default=False,
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes; the numbers do not depend on it.", show_default="all cores"
    ),
]
Scheduler: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="A dask cluster instead of --workers: tcp://HOST:PORT, or local:N for a new one of N "
        "processes. The numbers do not depend on it.",
        show_default=False,
    ),
]
Memory: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Bound on the memory of all processes together (of each worker of a cluster), as in 2GiB.",
        show_default="the spec's, 1GiB",
    ),
]
Prune: TypeAlias = Annotated[
    bool,
    typer.Option("--prune", help="Drop the archive's cases that the spec has not; without it they are kept."),
]
AcceptOlderCode: TypeAlias = Annotated[
    bool,
    typer.Option("--accept-older-code", help="Keep cases that other numerical code than today's measured."),
]
NoFigures: TypeAlias = Annotated[bool, typer.Option("--no-figures", help="Draw no figures.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but problems.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for a script.")]
LogFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Append to this file what is run, every ten seconds how far it is, what was found and any "
        "problem, a time before every line; with --quiet, too.",
        show_default=False,
    ),
]
Outside: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--outside",
        metavar="DIR",
        help="Folder with the files that the settings name, as a record: they are read from there, never "
        "from where the archive says.",
        show_default=False,
    ),
]
