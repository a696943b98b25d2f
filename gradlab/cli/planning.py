"""What a spec comes to: as a plain table, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from gradlab.api import estimate
from gradlab.archive.united import FINISHED
from gradlab.cli.execution import useful_workers
from gradlab.cli.report import short_list, there_lines
from gradlab.cli.terminal import cases, duration, safe, size
from gradlab.experiment.runner import check_blocks
from gradlab.experiment.spec import parse_memory
from gradlab.running import met, plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from gradlab.archive.extend import Meeting
    from gradlab.experiment.spec import Spec


def plan_table(
    spec: Spec, workers: int | None, memory: str | None, out: Path | None = None, *, prune: bool = False
) -> dict[str, Any]:
    """Return the plan of a spec with an estimate of what it takes, or what is left of it takes.

    Parameters
    ----------
    spec : Spec
        What would be run.
    workers : int or None
        Processes; None: as many as are of use.
    memory : str or None
        Bound on memory; None: the spec's.
    out : Path, optional
        An archive that it would run into. Blocks, passes and time are then those of what it lacks.
    prune : bool
        Whether cases of the archive that the spec has not would be dropped.

    Raises
    ------
    UserMistake
        If `memory` is no amount of memory, or too little for one case, or the spec cannot run into the
        archive.
    """
    bound = spec.memory if memory is None else parse_memory(memory, "--memory")
    plan = plan_of(spec)
    meeting = None if out is None else met(plan, out, prune=prune)
    archive = {} if meeting is None else {"archive": _told(meeting)}
    # Of an archive, what it lacks is planned.
    finished = None if meeting is None else np.isin(meeting.status, FINISHED)
    blocks = list(plan.blocks(finished))
    processes = workers or useful_workers(blocks, plan.record, bound)
    check_blocks(blocks, plan.record, bound, min(processes, max(1, len(blocks))))
    cost = estimate(plan, processes, bound, finished)
    return {
        **archive,
        "title": spec.title,
        "axes": {name: list(c) for axis in plan.grid.axes for name, c in _coordinates(axis)},
        "replicates": plan.grid.replicates,
        "cases": plan.grid.n_cases,
        "lags": plan.lags,
        "records": list(plan.record),
        "blocks": cost.blocks,
        "forward_passes": cost.forward_passes,
        "forward_passes_unshared": cost.forward_passes_unshared,
        "lanes": cost.lanes,
        "lanes_unshared": cost.lanes_unshared,
        "workers": processes,
        "memory_bytes": cost.memory_bytes,
        "memory_bound_bytes": bound,
        "disk_bytes": cost.disk_bytes,
        "seconds": cost.seconds,
        "calibration_seconds": cost.calibration_seconds,
    }


def _told(meeting: Meeting) -> dict[str, Any]:
    """Return which cases of a plan an archive has, and what a run would do with it."""
    return {
        "path": str(meeting.path),
        "exists": meeting.old is not None,
        **meeting.counts(),
        "rewrites": meeting.rewrites,
    }


def _coordinates(axis: Any) -> list[tuple[str, list[Any]]]:
    return [(name, values.tolist()) for name, values in axis.coordinates.items()]


def plan_lines(table: Mapping[str, Any]) -> list[Any]:
    """Return what is printed of a plan, for `gradlab.cli.terminal.say`."""
    axes = Table(box=box.SIMPLE_HEAD)
    for heading in ("axis", "length", "values"):
        axes.add_column(heading, overflow="fold")
    for name, values in table["axes"].items():
        axes.add_row(safe(name), str(len(values)), safe(short_list(values)))
    axes.add_row("replicate", str(table["replicates"]), "")
    workers = table["workers"]
    processes = f"{workers} worker{'s' * (workers > 1)}"
    rows = [
        ("cases", str(table["cases"])),
        ("forward passes", _shared(table["forward_passes"], table["forward_passes_unshared"])),
        ("backward lanes", _shared(table["lanes"], table["lanes_unshared"])),
        ("blocks", str(table["blocks"])),
        *([("lags", str(table["lags"]))] if table["lags"] else []),
        ("records", str(len(table["records"]))),
        ("memory", f"{size(table['memory_bytes'])}, bound {size(table['memory_bound_bytes'])}"),
        ("disk", f"at most {size(table['disk_bytes'])}"),
        ("time", f"about {duration(table['seconds'])} with {processes}"),
        ("", f"(from a calibration of {duration(table['calibration_seconds'])})"),
    ]
    facts = Table(box=None, show_header=False)
    for name, value in rows:
        facts.add_row(name, value)
    lines = []
    if archive := table.get("archive"):
        lines = there_lines(archive) if archive["exists"] else ["there is no archive yet: all cases are new."]
        lines += ["its data are laid out anew first."] if archive["rewrites"] else []
        lines = [safe(f"{archive['path']}: {line[0].lower()}{line[1:]}") for line in lines]
    title: list[Any] = [f"[bold]{safe(table['title'])}[/bold]"] if table["title"] else []
    return [*title, f"{cases(table['cases'])}; nothing was run.", axes, facts, *lines]


def _shared(distinct: int, asked: int) -> str:
    """Return a count of distinct work and what sharing saves."""
    if distinct == asked or not distinct:
        return f"{distinct} (nothing to share)"
    return f"{distinct} in place of {asked}: sharing saves {1 - distinct / asked:.0%}"
