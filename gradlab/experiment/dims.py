"""The dimensions of a grid: sweep tables united, named and filtered."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import GAP, known
from gradlab.experiment import sections
from gradlab.experiment.axes import Axis, kind_of
from gradlab.experiment.labels import coordinate, identity
from gradlab.experiment.measures import AbstractMeasure, record_names
from gradlab.experiment.sweeps import RESERVED, Sweep
from gradlab.experiment.tables import Table, lookup, put
from gradlab.experiment.where import Column, evaluate

Index = NDArray[np.int64]
Point = tuple[Any, ...]  # one plain value for each key of a dimension

MOST = 10_000_000  # grid points, replicates included


@dataclass(frozen=True)
class United:
    """What sweep tables come to.

    Parameters
    ----------
    axes : tuple of Axis
        In order of first appearance.
    points : int64 array of shape (points, axes)
        Index along each axis; sorted row-major, each point once.
    problems : tuple of Problem
        What is wrong with the axes and filters. Where something is, there are gaps along the axes.
    filtered : bool
        Whether points are left out as the filters say; a wrong one leaves none out.
    """

    axes: tuple[Axis, ...]
    points: Index
    problems: tuple[Problem, ...]
    filtered: bool


def unite(base: Table, sweeps: Sequence[Sweep], replicates: int) -> United:
    """Return the axes of the grid and the points on them that are to be run, as far as can be told.

    Parameters
    ----------
    base : dict
        The sections and the seed of the spec. A sweep table that lacks an axis of another one stands at
        the value that `base` has there.
    sweeps : sequence of Sweep
        The sweep tables; their points are united.
    replicates : int
        Copies of every point; here only for the bound on the size of the grid.
    """
    clashes = _clashes(sweeps)
    problems = list(dict.fromkeys(clashes.values()))
    sweeps = _blurred(sweeps, clashes)
    places = _places(base, sweeps, problems)
    oversize: list[Problem] = []
    with gathering(oversize):
        _check_size([len(points) for points in places.values()], replicates)
    if oversize:
        problems += oversize
        sweeps = _blurred(sweeps, {key for sweep in sweeps for key in sweep.axes})
        places = _places(base, sweeps, problems)
    axes, doubtful = _named(base, places, sweeps, problems)
    shape = tuple(len(axis) for axis in axes)
    found = [_codes(base, sweep, axes, shape, doubtful, problems) for sweep in sweeps]
    filtered = all(sure for _, sure in found)
    if not shape:
        return United((), np.zeros((1, 0), dtype=np.int64), tuple(problems), filtered)
    flat = np.unique(np.concatenate([codes for codes, _ in found]))
    if flat.size == 0:
        got = "a filter that is never true" if len(sweeps) == 1 else "filters that are never true"
        problems.append(Problem("sweep.where", "a filter that leaves at least one grid point", got))
        flat, filtered = np.arange(math.prod(shape)), False
    elif len(sweeps) > 1:
        problems += [
            Problem(
                f"{sweep.place}.where", "a filter that leaves a point of its table", "one that is never true"
            )
            for sweep, (codes, sure) in zip(sweeps, found, strict=True)
            if sure and sweep.where and not codes.size
        ]
    points = np.stack(np.unravel_index(flat, shape), axis=1).astype(np.int64)
    return United(axes, points, tuple(problems), filtered)


def _blurred(sweeps: Sequence[Sweep], keys: Collection[str]) -> Sequence[Sweep]:
    """Return the sweep tables with gaps along these keys, none of which is zipped then."""
    if not keys:
        return sweeps
    return [
        replace(
            sweep,
            axes={key: [GAP] if key in keys else values for key, values in sweep.axes.items()},
            dims=tuple(
                part
                for dim in sweep.dims
                for part in ([(key,) for key in dim] if {*dim} & {*keys} else [dim])
            ),
        )
        for sweep in sweeps
    ]


def _of(keys: Sequence[str], point: Point) -> tuple[Any, ...]:
    """Return what identifies a point along its dimension."""
    return tuple(identity(key, value) for key, value in zip(keys, point, strict=True))


def _points(sweep: Sweep, keys: Sequence[str]) -> list[Point]:
    return list(zip(*(sweep.axes[key] for key in keys), strict=True))


def _clashes(sweeps: Sequence[Sweep]) -> dict[str, Problem]:
    """Return a problem for each key that is zipped differently in two tables, or with such a key."""
    zipped: dict[str, tuple[str, ...]] = {}
    found: dict[str, Problem] = {}
    for sweep in sweeps:
        for keys in sweep.dims:
            for key in keys:
                if zipped.setdefault(key, keys) != keys:
                    got = f"{' + '.join(zipped[key])} in one and {' + '.join(keys)} in another"
                    problem = Problem(f"{sweep.place}.zip", f"{key} zipped alike in all sweep tables", got)
                    found |= dict.fromkeys((*zipped[key], *keys), problem)
    return found


def _places(
    base: Table, sweeps: Sequence[Sweep], problems: list[Problem]
) -> dict[tuple[str, ...], list[Point]]:
    """Return the points along each dimension of the united tables, by the keys of the dimension."""
    places: dict[tuple[str, ...], list[Point]] = {}
    for keys in dict.fromkeys(keys for sweep in sweeps for keys in sweep.dims):
        points: dict[Any, Point] = {}
        try:
            for sweep in sweeps:
                own = _points(sweep, keys) if keys in sweep.dims else _base_points(base, sweep, keys)[0]
                for point in own:
                    points.setdefault(_of(keys, point), point)
            kinds = [
                kind_of([point[i] for point in points.values()], f"sweep.{key}") for i, key in enumerate(keys)
            ]
        except UserMistake as mistake:
            problems += [] if any(_is_unknown(base, key, sweeps) for key in keys) else mistake.problems
            places[keys] = [(GAP,) * len(keys)]
            continue
        places[keys] = list(points.values())
        if len(sweeps) > 1 and kinds[0] == "number":
            places[keys].sort(key=lambda point: point[0] if point[0] is not GAP else math.inf)
    return places


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
        if isinstance(table, str) and table is not GAP:
            table = {"name": table}
        known(table)
        if not isinstance(table, Mapping):
            raise UserMistake(Problem(section, "a table", shown(table)))
        table = put(table, parts, values[key], sections.names_in(section), key)
    return table


def _base_points(
    base: Table, sweep: Sweep, keys: tuple[str, ...]
) -> tuple[list[Point], tuple[str, ...] | None]:
    """Return where a sweep table stands along a dimension that is none of its own.

    That is where the spec stands; but where one of its own dimensions sets a table that holds such a key,
    it is what that table says: one point for each of that dimension, which is returned as well.
    """
    holders = [dim for dim in sweep.dims if any(key.startswith(f"{outer}.") for key in keys for outer in dim)]
    if not holders:
        return [base_point(base, keys, sweep.place)], None
    if len(holders) > 1:
        expected = f"a value of {keys[0]}, which is an axis of another sweep table"
        got, hint = "tables on several axes that hold it", f"Give it here: {_here(keys[0])}."
        raise UserMistake(Problem(sweep.place, expected, got, hint))
    points = []
    for point in _points(sweep, holders[0]):
        table, given = dict(base), dict(zip(holders[0], point, strict=True))
        for section in {key.split(".")[0] for key in given}:
            own = {key: value for key, value in given.items() if key.split(".")[0] == section}
            table[section] = settings_at(base, section, own)
        points.append(base_point(table, keys, sweep.place))
    return points, holders[0]


def base_point(base: Table, keys: Sequence[str], place: str) -> Point:
    """Return where the spec stands along a dimension that is no axis of the sweep table at `place`."""
    values = []
    for key in keys:
        section, *rest = key.split(".")
        value = lookup(base.get(section, GAP), rest)
        if value is None:
            try:
                value = lookup(
                    sections.to_table(section, sections.build(section, base.get(section, GAP))), rest
                )
            except UserMistake as mistake:
                if all(problem.where != key for problem in mistake.problems):
                    raise
        if value is None:
            expected = f"a value of {key}, which is an axis of another sweep table"
            raise UserMistake(
                Problem(place, expected, "none", f"Give it outside the sweep, or here: {_here(key)}.")
            )
        values.append(value)
    return tuple(values)


def _here(key: str) -> str:
    return f'"{key}" = [value]'


def _is_unknown(base: Table, key: str, sweeps: Sequence[Sweep]) -> bool:
    """Return whether no setting has the key at any point, which is told when its section is built."""
    section, *rest = key.split(".")
    if not rest or any(key.startswith(f"{other}.") for sweep in sweeps for other in sweep.axes):
        return False
    table = base.get(section, GAP)
    problems: list[Problem] = []
    with gathering(problems):
        named = {"name": table} if isinstance(table, str) and table is not GAP else known(table)
        sections.build(section, put(named, rest, GAP, sections.names_in(section), key))
    return any(one.where != section and f"{key}.".startswith(f"{one.where}.") for one in problems)


def _check_size(lengths: Sequence[int], replicates: int) -> None:
    count = math.prod(lengths) * replicates
    if count > MOST:
        sizes = " x ".join(str(n) for n in [*lengths, replicates])
        expected = f"at most {MOST} grid points, replicates included"
        hint = "Shorten an axis, or zip two of them."
        raise UserMistake(Problem("sweep", expected, f"{count} ({sizes})", hint))


def names_of(keys: Iterable[str], sweeps: Sequence[Sweep]) -> dict[str, str]:
    """Return the name that each axis is to have, by its key."""
    rename = {key: name for sweep in sweeps for key, name in sweep.rename.items()}
    return {key: rename.get(key, key.rpartition(".")[2]) for key in keys}


def _named(
    base: Table,
    places: Mapping[tuple[str, ...], list[Point]],
    sweeps: Sequence[Sweep],
    problems: list[Problem],
) -> tuple[tuple[Axis, ...], set[str]]:
    """Return the axes with their names and coordinates, and the names that several of them were to have."""
    names = names_of((key for keys in places for key in keys), sweeps)
    owner: dict[str, str] = {}
    doubtful = set()
    for key, name in names.items():
        if name in RESERVED or name in record_names():
            problems.append(_taken_name(key, name))
        if owner.setdefault(name, key) != key:
            doubtful.add(name)
            names[key] = key
            if _is_unknown(base, key, sweeps) or _is_unknown(base, owner[name], sweeps):
                continue
            got = f"{name!r} for both {owner[name]} and {key}"
            problems.append(Problem(f"sweep.{key}", "a name of its own for every axis", got, _rename(key)))
    axes = []
    for keys, points in places.items():
        columns = [[point[i] for point in points] for i in range(len(keys))]
        kinds = tuple(kind_of(column, f"sweep.{key}") for key, column in zip(keys, columns, strict=True))
        coordinates = {
            names[key]: coordinate(key, column, kind)
            for key, column, kind in zip(keys, columns, kinds, strict=True)
        }
        axes.append(Axis(names[keys[0]], keys, tuple(points), coordinates, kinds))
    return tuple(axes), doubtful


def taken_names(
    measure: AbstractMeasure, record: Sequence[str] | None, sweeps: Sequence[Sweep]
) -> list[Problem]:
    """Return the problems of axes with the name of a dimension of what is recorded (None: the usual)."""
    recorded = set(measure.records) - measure.on_request if record is None else record
    dims = {dim for name, along in measure.records.items() if name in recorded for dim in along}
    names = names_of((key for sweep in sweeps for key in sweep.axes), sweeps)
    return [_taken_name(key, name) for key, name in names.items() if name in dims - set(RESERVED)]


def _taken_name(key: str, name: str) -> Problem:
    """Return the problem of an axis whose name stands for something else."""
    return Problem(f"sweep.{key}", "an axis name that means nothing else", shown(name), _rename(key))


def _rename(key: str) -> str:
    return f'Rename it: rename = {{ "{key}" = "another_name" }}.'


def _codes(
    base: Table,
    sweep: Sweep,
    axes: Sequence[Axis],
    shape: tuple[int, ...],
    doubtful: Collection[str],
    problems: list[Problem],
) -> tuple[Index, bool]:
    """Return the row-major numbers, in the whole grid, of the points of one sweep table.

    And whether its filter could be followed.
    """
    local = []  # for each axis: where the points of this table stand along it
    codes = np.zeros((1,) * len(axes), dtype=np.int64)
    number = {axis.keys: i for i, axis in enumerate(axes)}
    for i, axis in enumerate(axes):
        places = {_of(axis.keys, point): place for place, point in enumerate(axis.values)}
        points, within = _points_along(base, axis.keys, sweep)
        local.append(np.array([places.get(_of(axis.keys, point), 0) for point in points], dtype=np.int64))
        codes = codes * shape[i] + _along(local[i], i if within is None else number[within], len(axes))
    if not sweep.where:
        return codes.ravel(), True
    columns: dict[str, Column | None] = dict.fromkeys(doubtful)
    for i, axis in enumerate(axes):
        if axis.keys in sweep.dims:
            for n, (key, kind, (name, values)) in enumerate(
                zip(axis.keys, axis.kinds, axis.coordinates.items(), strict=True)
            ):
                column = values == "true" if kind == "truth" else values
                whole = all(point[n] is not GAP for point in axis.values)
                seen = Column(_along(column[local[i]], i, len(axes)), kind) if whole else None
                columns[key] = seen
                columns.setdefault(name, seen)
    try:
        mask = evaluate(sweep.where, columns, f"{sweep.place}.where")
    except UserMistake as mistake:
        problems += mistake.problems
        return codes.ravel(), False
    return np.asarray(codes[np.broadcast_to(mask, codes.shape)]), True


def _points_along(
    base: Table, keys: tuple[str, ...], sweep: Sweep
) -> tuple[list[Point], tuple[str, ...] | None]:
    """Return the points of a sweep table along a dimension, and the one that they follow from if any."""
    if keys in sweep.dims:
        return _points(sweep, keys), None
    try:
        return _base_points(base, sweep, keys)
    except UserMistake:  # it is told of; the axis is a gap
        return [(GAP,) * len(keys)], None


def _along(values: NDArray[Any], axis: int, ndim: int) -> NDArray[Any]:
    """Return one-dimensional `values` shaped to lie along one axis of `ndim`."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
