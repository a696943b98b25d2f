"""``gradlab diff``: what differs between two archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli import complete
from gradlab.cli.group import DIFFERENT
from gradlab.cli.options import Archive, Json, Quiet

Other = Annotated[
    Path, typer.Argument(metavar="OTHER", help="Another archive.", autocompletion=complete.archives)
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        min=0.0,
        help="How far numbers of a common case may be apart, relative and absolute; 0: not at all.",
    ),
]


def diff(
    archive: Archive, other: Other, tolerance: Tolerance = 0.0, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Compare two archives: settings, cases that only one of them has, and numbers of the common ones.

    Exit code 0: the same cases with the same numbers; 1: not.

    For example:
      gradlab diff results/anna results/ben
      gradlab diff spectral-sweep.zip results/again --tolerance 1e-9
    """
    from gradlab.checking import diff as compare
    from gradlab.cli.checked import difference_lines, difference_table
    from gradlab.cli.terminal import say, say_json

    found = compare(archive, other, tolerance)
    if as_json:
        say_json({"archives": [str(archive), str(other)], **difference_table(found)})
    elif not quiet:
        say(*difference_lines(found, archive, other))
    if not found.equal:
        raise typer.Exit(DIFFERENT)
