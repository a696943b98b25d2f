"""``gradlab plot``: draw figures of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli import complete
from gradlab.cli.options import Archive, Json, Outside

Figures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FIGURE",
        help="Which figures; without any, all that the data allow.",
        autocompletion=complete.figures,
        show_default=False,
    ),
]
Formats = Annotated[
    str,
    typer.Option(
        "--format", metavar="NAMES", help="File formats: png, pdf, svg.", autocompletion=complete.formats
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder.", show_default="the archive's figures"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a setting of the figures, as in panel=length; `gradlab list figures` names them. May be "
        "repeated. Each figure takes those that it has.",
        show_default=False,
    ),
]
Where = Annotated[
    str,
    typer.Option(
        metavar="FILTER",
        help="Show only cases for which this holds, as in 'radius > 0.9 and length == 50'.",
        show_default=False,
    ),
]


def plot(
    archive: Archive,
    figures: Figures = None,
    settings: Settings = None,
    where: Where = "",
    formats: Formats = "png,pdf",
    out: Out = None,
    outside: Outside = None,
    as_json: Json = False,
) -> None:
    """Draw figures of an archive into files and print their paths.

    For example:
      gradlab plot results/spectral-sweep
      gradlab plot results/spectral-sweep profile phase --format svg --out paper
      gradlab plot results/spectral-sweep profile --set panel=length --where "activation == 'tanh'"
    """
    from gradlab.cli.drawing import draw

    draw(archive, figures or [], formats, out, as_json, outside, settings or [], where)
