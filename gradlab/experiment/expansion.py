"""From base settings and sweep tables to the distinct settings of every grid point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradlab.core.checks import integer
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import NOTHING_KNOWN, in_common
from gradlab.experiment import sections
from gradlab.experiment.axes import Axis
from gradlab.experiment.dims import Index, settings_at, unite
from gradlab.experiment.measures import AbstractMeasure
from gradlab.experiment.sweeps import Sweep
from gradlab.experiment.tables import Table


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
        Settings by section of the spec's measure, and by "seed", the last.
    """

    axes: tuple[Axis, ...]
    points: Index
    parts: dict[str, Distinct]


def resolve(
    measure: AbstractMeasure | None, base: Table, sweeps: Sequence[Sweep], replicates: int
) -> Expansion:
    """Return the grid of a spec with every distinct section built and validated once.

    Parameters
    ----------
    measure : AbstractMeasure or None
        What is done with each case; None where that is not known, for what can be told all the same.
    base : dict
        The tables of the measure's sections, and the "seed", the last. There may be gaps in them.
    sweeps : sequence of Sweep
        The sweep tables.
    replicates : int
        Copies of every point.

    Raises
    ------
    UserMistake
        With the problems of the axes, of all sections, and of those that do not fit each other. One that
        comes with some combinations of axis values only names the first and how many they are.
    """
    united = unite(base, sweeps, replicates)
    axes, points, problems = united.axes, united.points, list(united.problems)
    # A filter that could not be followed may have meant to leave the points out at which more is wrong.
    surely = not united.filtered
    parts = {section: _distinct(base, section, axes, points, problems, surely) for section in base}
    if measure is not None:
        problems += _misfits(
            measure, {name: _at_all_points(part) if surely else part for name, part in parts.items()}
        )
    if problems:
        raise UserMistake(dict.fromkeys(problems))
    return Expansion(axes, points, parts)


def _at_all_points(part: Distinct) -> Distinct:
    """Return what the settings of a section have in common."""
    return Distinct((in_common(part.settings),), np.zeros_like(part.index))


def _misfits(measure: AbstractMeasure, parts: Mapping[str, Distinct]) -> list[Problem]:
    """Return the problems of settings of several sections that do not fit each other."""
    network, task, clip = (parts[section] for section in ("network", "task", "clip"))
    learner = parts.get("learner", Distinct((), np.zeros(0, dtype=np.int64)))
    problems: list[Problem] = []
    fixed = {i for i, one in enumerate(network.settings) if sections.holds_arrays(one)}
    for n, t in _pairs(network, task):
        if n in fixed:
            with gathering(problems):
                sections.check_arrays(network.settings[n], task.settings[t])
    problems += measure.unfit(parts)
    for n, by in _pairs(network, learner):
        with gathering(problems):
            _check_network(learner.settings[by], network.settings[n])
    for rule, by in _pairs(clip, learner):
        with gathering(problems):
            sections.check_learner(learner.settings[by], clip.settings[rule])
    return problems


def _check_network(learner: Any, network: Any) -> None:
    learner.check_network(network, "learner")


def _pairs(one: Distinct, other: Distinct) -> list[tuple[int, int]]:
    """Return which settings of two sections meet at some grid point; none where there is no such section."""
    if not other.settings:
        return []
    places: list[list[int]] = np.unique(np.stack([one.index, other.index]), axis=1).T.tolist()
    return [(a, b) for a, b in places]


def _build(section: str, table: Any, memo: dict[Any, Any]) -> Any:
    return integer("seed", table, at_least=0) if section == "seed" else sections.build(section, table, memo)


@dataclass(frozen=True, eq=False)
class _Combinations:
    """The combinations of axis values that touch one section.

    Parameters
    ----------
    axes : tuple of Axis
        Those that touch it.
    places : int64 array of shape (combinations, axes)
        Index along each of them.
    index : int64 array of shape (points,)
        Which combination each grid point has.
    """

    axes: tuple[Axis, ...]
    places: Index
    index: Index

    def values(self, place: Sequence[int], section: str) -> dict[str, Any]:
        """Return the values that the axes put into the section at a place."""
        return {
            key: value
            for axis, at in zip(self.axes, place, strict=True)
            for key, value in zip(axis.keys, axis.values[at], strict=True)
            if key.partition(".")[0] == section
        }


def _combinations(section: str, axes: Sequence[Axis], points: Index) -> _Combinations:
    dims = [i for i, axis in enumerate(axes) if any(key.partition(".")[0] == section for key in axis.keys)]
    if not dims:
        return _Combinations((), np.zeros((1, 0), dtype=np.int64), np.zeros(len(points), dtype=np.int64))
    shape = tuple(len(axes[i]) for i in dims)
    codes = np.ravel_multi_index(tuple(points[:, i] for i in dims), shape)
    found, index = np.unique(codes, return_inverse=True)
    return _Combinations(
        tuple(axes[i] for i in dims), np.stack(np.unravel_index(found, shape), axis=1), index
    )


def _distinct(
    base: Table, section: str, axes: Sequence[Axis], points: Index, problems: list[Problem], surely: bool
) -> Distinct:
    """Build a section once for every combination of the axis values that touch it.

    Problems are added to the list, `surely` only those that come at every point; what does not fit is a gap.
    """
    combinations = _combinations(section, axes, points)
    settings: list[Any] = []
    known: dict[Any, int] = {}
    memo: dict[Any, Any] = {}
    number = np.zeros(len(combinations.places), dtype=np.int64)
    failed: dict[tuple[str, str], tuple[Problem, list[int]]] = {}
    for row, place in enumerate(combinations.places.tolist()):
        try:
            built = _build(section, settings_at(base, section, combinations.values(place, section)), memo)
        except UserMistake as mistake:
            for problem in mistake.problems:
                # the same sentence about other numbers is the same problem
                kind = (problem.where, re.sub(r"\d+", "", problem.expected))
                rows = failed.setdefault(kind, (problem, []))[1]
                rows += [row] if row not in rows[-1:] else []
            built = NOTHING_KNOWN if mistake.rest is None or surely else mistake.rest
        number[row] = known.setdefault(built, len(settings))
        if number[row] == len(settings):
            settings.append(built)
    problems += _explained(failed.values(), combinations, surely)
    return Distinct(tuple(settings), number[combinations.index])


def _explained(
    failed: Iterable[tuple[Problem, list[int]]], combinations: _Combinations, only_everywhere: bool
) -> list[Problem]:
    """Return the problems, each with the axis values at which it comes, unless it always does."""
    explained = []
    places, axes = combinations.places, combinations.axes
    counts = np.bincount(combinations.index, minlength=len(places))
    for problem, rows in failed:
        if len(rows) == len(places):
            explained.append(problem)
            continue
        if only_everywhere:
            continue
        cause = next((i for i in range(len(axes)) if _alone(places[:, i], rows)), None)
        named = range(len(axes)) if cause is None else [cause]
        at = ", ".join(
            f"{axes[i].name}={axes[i].coordinates[axes[i].name][places[rows[0], i]]}" for i in named
        )
        first = "First" if len(rows) > 1 and cause is None else "This is so"
        note = f"{first} at {at}; {counts[rows].sum()} of {counts.sum()} grid points."
        leave = " Leave such combinations out with where." if cause is None else ""
        explained.append(replace(problem, hint=f"{problem.hint} {note}{leave}".strip()))
    return explained


def _alone(column: Index, rows: Sequence[int]) -> bool:
    """Return whether the rows are exactly those with one value of this axis."""
    values = np.unique(column[rows])
    return len(values) == 1 and int((column == values[0]).sum()) == len(rows)
