"""From base settings and sweep tables to the distinct settings of every grid point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradlab.core import streams
from gradlab.core.checks import integer, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment import sections
from gradlab.experiment.axes import Axis
from gradlab.experiment.dims import Index, unite
from gradlab.experiment.sections import SECTIONS
from gradlab.experiment.sweeps import Sweep
from gradlab.experiment.tables import Table, put

MOST_SHOWN = 20  # problems of one section


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct settings that one section takes over the grid.

    Parameters
    ----------
    settings : tuple
        Validated settings, each once.
    index : int64 array of shape (points,)
        Which of them each grid point has.
    """

    settings: tuple[Any, ...]
    index: Index


@dataclass(frozen=True, eq=False)
class Expansion:
    """All that a sweep comes to.

    Parameters
    ----------
    axes : tuple of Axis
        The dimensions.
    points : int64 array of shape (points, axes)
        The grid points to run, sorted.
    parts : dict of str to Distinct
        Settings by section: "network", "task", "clip" and "seed".
    """

    axes: tuple[Axis, ...]
    points: Index
    parts: dict[str, Distinct]


def resolve(base: Table, sweeps: Sequence[Sweep], replicates: int) -> Expansion:
    """Return the grid of a spec with every distinct section built and validated once.

    Parameters
    ----------
    base : dict
        The tables "network", "task" and "clip", and the "seed".
    sweeps : sequence of Sweep
        The sweep tables.
    replicates : int
        Copies of every point.

    Raises
    ------
    UserMistake
        With the problems of all sections. One that comes with some combinations of axis values only
        names the first and how many they are.
    """
    touched = {key.partition(".")[0] for sweep in sweeps for key in sweep.axes}
    problems: list[Problem] = []
    try:
        axes, points = unite(base, sweeps, replicates)
    except UserMistake as mistake:
        raise UserMistake([*mistake.problems, *untouched(base, touched)]) from None
    parts = {}
    for section in (*SECTIONS, "seed"):
        try:
            parts[section] = _distinct(base, section, axes, points)
        except UserMistake as mistake:
            problems += mistake.problems
    if problems:
        raise UserMistake(problems)
    return Expansion(axes, points, parts)


def untouched(base: Table, touched: set[str]) -> list[Problem]:
    """Return the problems of the sections that no axis touches."""
    problems: list[Problem] = []
    for section in SECTIONS:
        if section not in touched:
            try:
                sections.build(section, base[section])
            except UserMistake as mistake:
                problems += mistake.problems
    return problems


def settings_at(base: Table, section: str, values: Mapping[str, Any]) -> Any:
    """Return the plain table of a section (or the seed) with axis values put in, shorter keys first.

    Raises
    ------
    UserMistake
        Where a key leads through something that is no table.
    """
    table = base[section]
    for key in sorted(values, key=lambda key: key.count(".")):
        parts = key.split(".")[1:]
        if not parts:
            table = values[key]
            continue
        if isinstance(table, str):
            table = {"name": table}
        if not isinstance(table, Mapping):
            raise UserMistake(Problem(section, "a table", shown(table)))
        table = put(table, parts, values[key], sections.names_in(section), key)
    return table


def _build(section: str, table: Any) -> Any:
    return integer("seed", table, at_least=0) if section == "seed" else sections.build(section, table)


def _mark(section: str, settings: Any) -> bytes:
    return streams.canonical(settings if section == "seed" else sections.to_table(section, settings))


def _distinct(base: Table, section: str, axes: Sequence[Axis], points: Index) -> Distinct:
    """Build a section once for every combination of the axis values that touch it."""
    dims = [i for i, axis in enumerate(axes) if any(key.partition(".")[0] == section for key in axis.keys)]
    shape = tuple(len(axes[i]) for i in dims)
    codes = (
        np.ravel_multi_index(tuple(points[:, i] for i in dims), shape)
        if dims
        else np.zeros(len(points), np.int64)
    )
    combos, inverse = np.unique(codes, return_inverse=True)
    places = np.stack(np.unravel_index(combos, shape), axis=1) if dims else np.zeros((1, 0), dtype=np.int64)
    settings: list[Any] = []
    known: dict[bytes, int] = {}
    number = np.empty(len(combos), dtype=np.int64)
    failed: dict[Problem, list[int]] = {}
    for row, place in enumerate(places.tolist()):
        values = {
            key: value
            for i, at in zip(dims, place, strict=True)
            for key, value in zip(axes[i].keys, axes[i].values[at], strict=True)
            if key.partition(".")[0] == section
        }
        try:
            built = _build(section, settings_at(base, section, values))
        except UserMistake as mistake:
            for problem in mistake.problems:
                failed.setdefault(problem, []).append(row)
            continue
        mark = _mark(section, built)
        if mark not in known:
            known[mark] = len(settings)
            settings.append(built)
        number[row] = known[mark]
    if failed:
        counts = np.bincount(inverse, minlength=len(combos))
        raise UserMistake(_explained(failed, [axes[i] for i in dims], places, counts))
    return Distinct(tuple(settings), number[inverse])


def _explained(
    failed: Mapping[Problem, list[int]], axes: Sequence[Axis], places: Index, counts: Index
) -> list[Problem]:
    """Return the problems, each with the axis values at which it comes, unless it always does."""
    explained = []
    for problem, rows in list(failed.items())[:MOST_SHOWN]:
        if len(rows) == len(places):
            explained.append(problem)
            continue
        causes = [i for i in range(len(axes)) if _alone(places[:, i], rows)]
        named = causes[:1] or range(len(axes))
        at = ", ".join(f"{axes[i].name}={_label(axes[i], int(places[rows[0], i]))}" for i in named)
        count = f"{counts[rows].sum()} of {counts.sum()} grid points"
        where = "" if causes else " Leave such combinations out with where."
        note = f"So {'first ' if len(rows) > 1 and not causes else ''}at {at}: {count}.{where}"
        explained.append(replace(problem, hint=f"{problem.hint} {note}".strip()))
    more = len(failed) - MOST_SHOWN
    if more > 0:
        explained.append(Problem("sweep", "settings that can be run", f"{more} more problems like these"))
    return explained


def _alone(column: Index, rows: Sequence[int]) -> bool:
    """Return whether the rows are exactly those with one value of this axis."""
    values = np.unique(column[rows])
    return len(values) == 1 and int((column == values[0]).sum()) == len(rows)


def _label(axis: Axis, at: int) -> str:
    values = axis.coordinates[axis.name][at]
    return str(values)
