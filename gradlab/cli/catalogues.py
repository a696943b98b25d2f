"""The catalogues as plain tables: what each entry is, what it claims, and its settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from gradlab.cli.complete import LISTS
from gradlab.cli.report import label
from gradlab.cli.terminal import safe
from gradlab.core.checks import nearest, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import Registry

REQUIRED = "required"
LONGEST_WORD = 30  # letters that are not cut, on a terminal of at least `WIDE` columns
WIDE = 80
_NO_CLAIMS = ("name", "checks", "summary", "why")  # said elsewhere, or no claim


def _registry(what: str) -> Registry[Any]:
    from gradlab import figures, tasks
    from gradlab.learning import clipping, learners, optimisers, schedules
    from gradlab.network import activations, cells, initialisers, spectra
    from gradlab.tasks import losses

    folders = {"cells": cells, "activations": activations, "spectra": spectra, "initialisers": initialisers}
    folders |= {"tasks": tasks, "losses": losses, "clips": clipping, "learners": learners, "figures": figures}
    folders |= {"optimisers": optimisers, "schedules": schedules}
    registry: Registry[Any] = folders[what].registry
    return registry


def overview() -> dict[str, list[str]]:
    """Return the names in every catalogue."""
    return {what: list(catalogue_table(what)) for what in LISTS}


def catalogue_table(what: str) -> dict[str, dict[str, Any]]:
    """Return a catalogue: by name, what each entry is, its claims and its settings with defaults.

    Raises
    ------
    UserMistake
        If there is no such catalogue.
    """
    if what not in LISTS:
        raise UserMistake(Problem("WHAT", "the name of a catalogue", shown(what), nearest(what, LISTS)))
    if what == "records":
        return _records()
    return {
        entry.name: {"what": _summary(entry), "claims": _claims(entry), "settings": _settings(entry)}
        for entry in _registry(what)
    }


def _records() -> dict[str, dict[str, Any]]:
    from gradlab.archive.variables import VARIABLES
    from gradlab.experiment.measures import measure_of, names, record_names
    from gradlab.measure.records import OF_LEARNER

    measures = [measure_of(name) for name in names()]

    def claims(name: str) -> dict[str, Any]:
        own = [measure for measure in measures if name in measure.records]
        dims = {measure.name: measure.records[name] for measure in own}
        along = {measure: found or "each case" for measure, found in dims.items()}
        recorded = "on request" if any(name in measure.on_request for measure in own) else "by default"
        recorded = "for learners other than bptt" if name in OF_LEARNER else recorded
        same = len(set(along.values())) == 1
        return {
            "measure": list(along),
            "along": next(iter(along.values())) if same else along,
            "unit": VARIABLES[name].units,
            "recorded": recorded,
        }

    return {
        name: {"what": VARIABLES[name].description, "claims": claims(name), "settings": {}}
        for name in record_names()
    }


def _summary(entry: type[Any]) -> str:
    """Return the first sentence of an entry's own description."""
    text = str(getattr(entry, "summary", "")) or inspect.getdoc(entry) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "")


def _claims(entry: type[Any]) -> dict[str, Any]:
    """Return what the catalogue's contract lets an entry say about itself."""
    contracts = [c for c in reversed(entry.__mro__) if c.__name__.startswith("Abstract")]
    kinds = {name: kind for c in contracts for name, kind in inspect.get_annotations(c).items()}
    names = [name for name, kind in kinds.items() if str(kind).startswith("ClassVar")]
    claims = {name: getattr(entry, name) for name in names if name not in _NO_CLAIMS and hasattr(entry, name)}
    claims = {name: value for name, value in claims.items() if value != ""}
    if hasattr(entry, "recurrent_blocks"):
        claims |= _of_cell(entry())
    bound = _derivative_bound(entry)
    return claims if bound is None else {"derivative_bound": bound, **claims}


def _of_cell(cell: Any) -> dict[str, Any]:
    """Return the claims of a cell with the names of blocks and parts in place of their numbers."""
    fed = [block for block, has in zip(cell.row_blocks, cell.fed_blocks, strict=True) if has]
    memory = None if cell.memory is None else cell.state_parts[cell.memory]
    return {"recurrent": cell.recurrent_blocks, "fed": fed, "memory": memory}


def _derivative_bound(entry: type[Any]) -> float | None:
    """Return an activation's bound under its default settings."""
    return float(entry().derivative_bound) if hasattr(entry, "derivative_bound") else None


def _settings(entry: type[Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    scalings = getattr(entry, "scalings", None)
    for field in dataclasses.fields(entry):
        unfit = (
            scalings is not None and field.name in ("radius", "norm", "gain") and field.name not in scalings
        )
        if field.init and not unfit:
            settings[field.name] = REQUIRED if field.default is dataclasses.MISSING else field.default
    return settings


def catalogue_lines(what: str, table: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return what is printed of a catalogue, for `gradlab.cli.terminal.say`."""
    common = _common([entry["claims"] for entry in table.values()])
    headings = {"claims": any(e["claims"].keys() - common for e in table.values())}
    headings["settings"] = any(entry["settings"] for entry in table.values())
    rows: list[list[str]] = []
    for name, entry in table.items():
        own = {key: value for key, value in entry["claims"].items() if key not in common}
        cells = {"claims": _claim_lines(own), "settings": _setting_lines(entry["settings"])}
        rows.append([name, entry["what"], *(cells[n] for n, there in headings.items() if there)])
    grid = Table(box=box.SIMPLE_HEAD)
    grid.add_column(what, no_wrap=True)
    for place, heading in enumerate(("what it is", *(name for name, there in headings.items() if there)), 1):
        longest = max((len(word) for row in rows for word in row[place].split()), default=0)
        whole = min(longest, LONGEST_WORD) if Console().width >= WIDE else None
        grid.add_column(heading, overflow="fold", min_width=whole)
    for row in rows:
        grid.add_row(*map(_cell, row))
    return [grid, *(safe(f"All of them: {_claim_lines({key: value})}") for key, value in common.items())]


def _common(claims: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the claims in words that all entries make alike: they are told once."""
    first = claims[0] if len(claims) > 1 else {}
    return {k: v for k, v in first.items() if isinstance(v, str) and all(c.get(k) == v for c in claims)}


def _claim_lines(claims: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {_text(value)}" for key, value in claims.items())


def _setting_lines(settings: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{key}, required" if value == REQUIRED else f"{key} = {_text(value)}"
        for key, value in settings.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else label(value) or "''"


def _cell(text: str) -> str:
    return "\n".join(safe(line) for line in text.split("\n"))
