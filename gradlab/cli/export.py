"""``gradlab export``: an archive for programs that do not read Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.cli.options import Archive, Json, Quiet

To = Annotated[str, typer.Option("--to", metavar="FORMAT", help="netcdf or csv.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="The file or folder, which must not exist.",
        show_default="NAME.nc or NAME-csv beside the archive",
    ),
]


def export(archive: Archive, to: To, out: Out = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Write an archive as one netCDF file, or as a folder of CSV tables with a row a case.

    Of the tables, cases.csv has what is one number a case, by_lag.csv and its like what runs along
    lags, layers or time steps, and columns.csv says what every column is.

    For example:
      gradlab export results/spectral-sweep --to netcdf
      gradlab export spectral-sweep.zip --to csv --out tables
    """
    from gradlab.archive.export import export as export_archive
    from gradlab.cli.terminal import clean, say_json, tell

    made = export_archive(archive, to, out)
    if as_json:
        say_json({"archive": str(archive), "to": to, "path": str(made)})
    elif not quiet:
        tell(f"{clean(made)} written.")
