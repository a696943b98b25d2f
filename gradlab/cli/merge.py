"""``gradlab merge``: unite archives that were written apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli import complete
from gradlab.cli.options import AcceptOlderCode, Json, Quiet

Archives = Annotated[
    list[Path],
    typer.Argument(
        metavar="ARCHIVE...",
        help="The archives, directories or packed files.",
        autocompletion=complete.archives,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the united archive goes.")]


def merge(
    archives: Archives,
    out: Out,
    accept_older_code: AcceptOlderCode = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Unite archives in a new one: those of several people, or of the parts of a sweep.

    They must have the same measure and the same records. What stands in several counts once; a case
    that has other numbers in two of them is an error.

    For example:
      gradlab merge results/anna results/ben --out results/both
      gradlab merge results/mine anna.zip --out results/ours
      gradlab merge parts/* --out results/whole
    """
    from gradlab.archive.merge import merge as merge_archives
    from gradlab.cli.terminal import cases, clean, say_json, tell

    found = merge_archives(archives, out, accept_older_code=accept_older_code)
    if as_json:
        say_json({"archive": str(out), **found})
    elif not quiet:
        rest = [
            f"{found[key]} {word}" for key, word in (("failed", "failed"), ("new", "not run")) if found[key]
        ]
        tell(f"{cases(found['there'])} of {found['cases']} in {clean(out)}{''.join(f', {r}' for r in rest)}.")
