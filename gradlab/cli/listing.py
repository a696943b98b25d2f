"""``gradlab list``: the catalogues."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gradlab.cli import complete
from gradlab.cli.options import Json

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        help=", ".join(complete.LISTS) + "; without it, the names in all of them.",
        autocompletion=complete.lists,
        show_default=False,
    ),
]


def list_(what: What = None, as_json: Json = False) -> None:
    """List a catalogue: what each entry is, what it claims, and its settings.

    For example:
      gradlab list
      gradlab list spectra
      gradlab list activations --json
    """
    from gradlab.cli.catalogues import catalogue_lines, catalogue_table, overview
    from gradlab.cli.terminal import say, say_json

    if what is None:
        names = overview()
        lines: list[Any] = [f"[bold]{name}[/bold]: {', '.join(entries)}" for name, entries in names.items()]
        say_json(names) if as_json else say(*lines)
        return
    table = catalogue_table(what)
    say_json(table) if as_json else say(*catalogue_lines(what, table))
