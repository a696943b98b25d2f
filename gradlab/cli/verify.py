"""``gradlab verify``: check every byte of an archive, its keys, and a part of its numbers again."""

from __future__ import annotations

from typing import Annotated

import typer

from gradlab.cli.group import DIFFERENT
from gradlab.cli.options import Archive, Json, Outside, Quiet

Replay = Annotated[
    str,
    typer.Option(
        "--replay",
        metavar="N",
        help="Measure N cases again on this machine, evenly over cells, activations, clip rules and "
        "learners; all: every one.",
        show_default="none",
    ),
]
Workers = Annotated[
    int,
    typer.Option("--workers", min=1, help="Processes that measure again; the numbers do not depend on it."),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance", min=0.0, help="How far numbers measured again may be apart, relative and absolute."
    ),
]


def verify(
    archive: Archive,
    replay: Replay = "0",
    outside: Outside = None,
    tolerance: Tolerance = 1e-6,
    workers: Workers = 1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Verify an archive, a directory or a packed file: every byte, the schema, the keys of all cases.

    With --replay, cases are measured again and compared: the same bits, within the tolerance, or
    different. Exit code 0: verified; 1: not.

    For example:
      gradlab verify results/spectral-sweep
      gradlab verify spectral-sweep.zip --replay 20
      gradlab verify sunspots.zip --replay all --outside experiments/data
    """
    from gradlab.checking import verify as check
    from gradlab.cli.checked import sample_of, verification_lines, verification_table
    from gradlab.cli.terminal import say, say_json

    sample = sample_of(replay)
    found = check(archive, sample=sample, outside=outside, tolerance=tolerance, workers=workers)
    if as_json:
        say_json({"archive": str(archive), **verification_table(found)})
    else:
        say(*verification_lines(found, archive, quiet))
    if not found.verified:
        raise typer.Exit(DIFFERENT)
