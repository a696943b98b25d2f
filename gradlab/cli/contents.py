"""What an archive holds: as a plain table, and in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from gradlab.archive.directory import DATA, FAILURES, FIGURES
from gradlab.archive.files import files_of
from gradlab.archive.plain import data_of
from gradlab.archive.reading import read_failures, read_provenance
from gradlab.archive.united import FINISHED
from gradlab.cli.report import SHOWN_VALUES, closing, found_in, short_list
from gradlab.cli.terminal import cases, duration, safe, size
from gradlab.core.fingerprint import code_key

_LONGEST = 1e10  # seconds; what a stranger's archive tells beyond it is no time


def archive_table(path: Path) -> dict[str, Any]:
    """Return what an archive holds as a plain table.

    Raises
    ------
    UserMistake
        If there is no archive, or it is damaged or of a newer schema.
    """
    ds = data_of(path)
    files = files_of(path)
    records = {str(name): _record(array) for name, array in ds.data_vars.items()}
    axes = {str(dim): ds[str(dim)].values.tolist() for dim in ds["status"].dims}
    sizes = {str(dim): int(length) for dim, length in ds.sizes.items()}
    about = {key: ds.attrs.get(key, "") for key in ("title", "question", "measure", "seed")}
    return {
        "archive": str(path),
        **about,
        "axes": axes,
        "sizes": sizes,
        "records": records,
        **found_in(ds),
        "code": _codes(ds),
        "code_today": code_key(),
        "failures": len(read_failures(path)),
        "figures": [files.where(name) for name in files.sizes if name.startswith(f"{FIGURES}/")],
        "bytes": sum(size for name, size in files.sizes.items() if name.startswith(f"{DATA}/")),
        "runs": read_provenance(path),
    }


def _codes(ds: Any) -> dict[str, int]:
    """Return how many of the cases that ran are of which numerical code; "" is not known."""
    ran = np.isin(ds["status"].values, FINISHED)
    keys = ds["code_key"].values[ran] if "code_key" in ds else np.full(int(ran.sum()), "")
    found, counts = np.unique(keys.astype("<U16"), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _code_lines(table: Mapping[str, Any]) -> list[str]:
    """Return which cases were measured by other numerical code than that of today, if any."""
    others = {code: count for code, count in table["code"].items() if code != table["code_today"]}
    if not others:
        return []
    parts = [f"{cases(count)} by {code or 'code that is not known'}" for code, count in others.items()]
    own = table["code"].get(table["code_today"], 0)
    today = f"{own} by that of today ({table['code_today']})" if own else f"today's is {table['code_today']}"
    return [f"Measured by other numerical code: {', '.join(parts)}; {today}."]


def _record(array: Any) -> dict[str, Any]:
    attributes = {key: str(array.attrs.get(key, "")) for key in ("long_name", "units", "description")}
    return {"dims": [str(dim) for dim in array.dims], **attributes}


def archive_lines(table: Mapping[str, Any]) -> list[Any]:
    """Return what is printed of the table, for `gradlab.cli.terminal.say`."""
    lines: list[Any] = []
    if table["title"]:
        lines.append(f"[bold]{safe(table['title'])}[/bold]")
    if table["question"]:
        lines.append(safe(table["question"]))
    lines.append(f"{safe(table['archive'])}: {size(table['bytes'])}, seed {safe(table['seed'])}")
    axes = _grid("axis", "length", "values")
    for name, values in table["axes"].items():
        axes.add_row(safe(name), str(len(values)), safe(short_list(values)))
    records = _grid("record", "dims", "unit", "what")
    for name, record in table["records"].items():
        own = [dim for dim in record["dims"] if dim not in table["axes"]]
        along = ", ".join(own) or "each case"
        records.add_row(*map(safe, (name, along, record["units"], record["long_name"])))
    lines += [axes, records, *closing(table)]
    lines += map(safe, _code_lines(table))
    if table["failures"]:
        lines.append(safe(f"Failures are explained in {Path(table['archive']) / FAILURES}."))
    if table["figures"]:
        lines.append(safe(f"Figures: {', '.join(Path(p).name for p in table['figures'])}."))
    return [*lines, *(_run_line(run) for run in table["runs"][-SHOWN_VALUES:])]


def _run_line(run: Mapping[str, Any]) -> str:
    """Return one run of the provenance in a line."""
    command = shlex.join(map(str, run["command"])) if isinstance(run.get("command"), list) else "?"
    seconds = run.get("wall_time_seconds")
    took = ""
    if isinstance(seconds, int | float) and 0 <= seconds < _LONGEST:
        took = f" in {duration(seconds)}"
    git = run.get("git")
    source = f", commit {str(git.get('commit'))[:10]}" if isinstance(git, dict) and git.get("commit") else ""
    dirty = " (changed)" if isinstance(git, dict) and git.get("dirty") else ""
    count = "ended by force" if run.get("cases") is None else f"{run['cases']} cases"
    made = f"{count}{took}, gradlab {run.get('gradlab')}{source}{dirty}, {run.get('cpu')}"
    return safe(f"Run: {command} ({made})")


def _grid(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == headings[0])
    return table
