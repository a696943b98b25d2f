"""``gradlab pack``: an archive in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli.options import Archive, Json, Quiet

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="The file.",
        show_default="the archive's name with .zip, beside it",
    ),
]
Author = Annotated[
    list[str] | None,
    typer.Option(
        "--author",
        metavar="NAME",
        help="Who made it: a name, or 'NAME <https://orcid.org/0000-...>'. May be repeated.",
        show_default=False,
    ),
]
Licence = Annotated[
    str, typer.Option("--licence", metavar="SPDX", help="Licence of the data, as its SPDX identifier.")
]
Date = Annotated[
    str | None,
    typer.Option("--date", metavar="YYYY-MM-DD", help="Date of publication.", show_default="of the last run"),
]


def pack(
    archive: Archive,
    out: Out = None,
    author: Author = None,
    licence: Licence = "CC-BY-4.0",
    date: Date = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pack an archive into one zip file, with a description for machines (RO-Crate) and a README.

    The same archive gives the same bytes. show, plot, verify, diff and export read the file as it is.

    For example:
      gradlab pack results/spectral-sweep --author "Ada Example"
      gradlab pack results/spectral-sweep --out spectral-sweep.zip --licence CC0-1.0
    """
    import hashlib

    from gradlab.archive.packed import pack as pack_archive
    from gradlab.cli.terminal import clean, say_json, size, tell

    made = pack_archive(archive, out, authors=author or (), licence=licence, date=date)
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if as_json:
        say_json({"file": str(made), "bytes": made.stat().st_size, "sha256": digest})
    elif not quiet:
        tell(f"{clean(made)}: {size(made.stat().st_size)}, SHA-256 {digest}.")
