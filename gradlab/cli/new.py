"""``gradlab new``: a starter spec."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the spec; the file is NAME.toml.")]


def new(name: Name) -> None:
    """Write a commented starter spec, NAME.toml, that runs as it is.

    For example:
      gradlab new mine
    """
    import shlex

    from gradlab.cli.starter import as_argument, write_starter
    from gradlab.cli.terminal import clean, write

    path = write_starter(name)
    write(f"{clean(path)} is written. Run it with: gradlab run {clean(shlex.quote(as_argument(path)))}\n")
