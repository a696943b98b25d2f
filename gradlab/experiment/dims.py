"""The dimensions of a grid: sweep tables united, named and filtered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment import sections
from gradlab.experiment.axes import Axis, kind_of
from gradlab.experiment.labels import coordinate, identity
from gradlab.experiment.measures import record_names
from gradlab.experiment.sweeps import RESERVED, Sweep
from gradlab.experiment.tables import Table, lookup
from gradlab.experiment.where import Column, evaluate

Index = NDArray[np.int64]
Point = tuple[Any, ...]  # one plain value for each key of a dimension

MOST = 10_000_000  # grid points, replicates included


def unite(base: Table, sweeps: Sequence[Sweep], replicates: int) -> tuple[tuple[Axis, ...], Index]:
    """Return the axes of the grid and the points on them that are to be run.

    Parameters
    ----------
    base : dict
        The sections and the seed of the spec. A sweep table that lacks an axis of another one stands at
        the value that `base` has there.
    sweeps : sequence of Sweep
        The sweep tables; their points are united.
    replicates : int
        Copies of every point; here only for the bound on the size of the grid.

    Returns
    -------
    axes : tuple of Axis
        In order of first appearance.
    points : int64 array of shape (points, axes)
        Index along each axis; sorted row-major, each point once.

    Raises
    ------
    UserMistake
        Where axes clash, give too large a grid, or a filter is wrong or leaves nothing.
    """
    problems = list(_clashes(sweeps))
    if problems:
        raise UserMistake(problems)
    places = _places(base, sweeps)
    _check_size([len(points) for points in places.values()], replicates)
    axes = _named(places, sweeps)
    shape = tuple(len(axis) for axis in axes)
    codes: list[Index] = []
    found: list[Problem] = []
    for sweep in sweeps:
        try:
            codes.append(_codes(base, sweep, axes, shape))
        except UserMistake as mistake:
            found += mistake.problems
    if found:
        raise UserMistake(found)
    flat = np.unique(np.concatenate(codes)) if codes else np.zeros(1, dtype=np.int64)
    if not shape:
        return (), np.zeros((1, 0), dtype=np.int64)
    if flat.size == 0:
        got = "a filter that is never true" if len(sweeps) == 1 else "filters that are never true"
        raise UserMistake(Problem("sweep.where", "a filter that leaves at least one grid point", got))
    return axes, np.stack(np.unravel_index(flat, shape), axis=1).astype(np.int64)


def _of(keys: Sequence[str], point: Point) -> tuple[Any, ...]:
    """Return what identifies a point along its dimension."""
    return tuple(identity(key, value) for key, value in zip(keys, point, strict=True))


def _points(sweep: Sweep, keys: Sequence[str]) -> list[Point]:
    return list(zip(*(sweep.axes[key] for key in keys), strict=True))


def _clashes(sweeps: Sequence[Sweep]) -> Iterator[Problem]:
    """Yield a problem for each key that is zipped differently in two tables."""
    zipped: dict[str, tuple[str, ...]] = {}
    for sweep in sweeps:
        for keys in sweep.dims:
            for key in keys:
                if zipped.setdefault(key, keys) != keys:
                    got = f"{' + '.join(zipped[key])} in one and {' + '.join(keys)} in another"
                    yield Problem(f"{sweep.place}.zip", f"{key} zipped alike in all sweep tables", got)


def _places(base: Table, sweeps: Sequence[Sweep]) -> dict[tuple[str, ...], list[Point]]:
    """Return the points along each dimension of the united tables, by the keys of the dimension."""
    places: dict[tuple[str, ...], list[Point]] = {}
    problems: list[Problem] = []
    for keys in dict.fromkeys(keys for sweep in sweeps for keys in sweep.dims):
        points: dict[Any, Point] = {}
        try:
            for sweep in sweeps:
                own = _points(sweep, keys) if keys in sweep.dims else [_base_point(base, keys, sweep.place)]
                for point in own:
                    points.setdefault(_of(keys, point), point)
            places[keys] = list(points.values())
            kinds = [
                kind_of([point[i] for point in places[keys]], f"sweep.{key}") for i, key in enumerate(keys)
            ]
        except UserMistake as mistake:
            problems += mistake.problems
            continue
        if len(sweeps) > 1 and kinds[0] == "number":
            places[keys].sort(key=lambda point: point[0])
    if problems:
        raise UserMistake(problems)
    return places


def _base_point(base: Table, keys: Sequence[str], place: str) -> Point:
    """Return where the spec stands along a dimension that is no axis of the sweep table at `place`."""
    values = []
    for key in keys:
        section, *rest = key.split(".")
        value = lookup(base[section], rest)
        if value is None:
            try:
                value = lookup(sections.to_table(section, sections.build(section, base[section])), rest)
            except UserMistake:
                value = None
        if value is None:
            expected = f"a value of {key}, which is an axis of another sweep table"
            hint = f'Give it outside the sweep, or here: "{key}" = [value].'
            raise UserMistake(Problem(place, expected, "none", hint))
        values.append(value)
    return tuple(values)


def _check_size(lengths: Sequence[int], replicates: int) -> None:
    count = math.prod(lengths) * replicates
    if count > MOST:
        sizes = " x ".join(str(n) for n in [*lengths, replicates])
        expected = f"at most {MOST} grid points, replicates included"
        hint = "Shorten an axis, or zip two of them."
        raise UserMistake(Problem("sweep", expected, f"{count} ({sizes})", hint))


def _named(places: Mapping[tuple[str, ...], list[Point]], sweeps: Sequence[Sweep]) -> tuple[Axis, ...]:
    """Return the axes with their names and coordinates."""
    rename = {key: name for sweep in sweeps for key, name in sweep.rename.items()}
    names = {key: rename.get(key, key.rpartition(".")[2]) for keys in places for key in keys}
    problems = []
    owner: dict[str, str] = {}
    for key, name in names.items():
        if name in RESERVED or name in record_names():
            problems.append(taken_name(key, name))
        if owner.setdefault(name, key) != key:
            got = f"{name!r} for both {owner[name]} and {key}"
            problems.append(Problem(f"sweep.{key}", "a name of its own for every axis", got, _rename(key)))
    if problems:
        raise UserMistake(problems)
    axes = []
    for keys, points in places.items():
        columns = [[point[i] for point in points] for i in range(len(keys))]
        kinds = tuple(kind_of(column, f"sweep.{key}") for key, column in zip(keys, columns, strict=True))
        coordinates = {
            names[key]: coordinate(key, column, kind)
            for key, column, kind in zip(keys, columns, kinds, strict=True)
        }
        axes.append(Axis(names[keys[0]], keys, tuple(points), coordinates, kinds))
    return tuple(axes)


def taken_name(key: str, name: str) -> Problem:
    """Return the problem of an axis whose name stands for something else."""
    return Problem(f"sweep.{key}", "an axis name that means nothing else", shown(name), _rename(key))


def _rename(key: str) -> str:
    return f'Rename it: rename = {{ "{key}" = "another_name" }}.'


def _codes(base: Table, sweep: Sweep, axes: Sequence[Axis], shape: tuple[int, ...]) -> Index:
    """Return the row-major numbers, in the whole grid, of the points of one sweep table."""
    local = []  # for each axis: where the points of this table stand along it
    for axis in axes:
        known = {_of(axis.keys, point): i for i, point in enumerate(axis.values)}
        own = (
            _points(sweep, axis.keys)
            if axis.keys in sweep.dims
            else [_base_point(base, axis.keys, sweep.place)]
        )
        local.append(np.array([known[_of(axis.keys, point)] for point in own], dtype=np.int64))
    codes = np.zeros((1,) * len(axes), dtype=np.int64)
    for i, places in enumerate(local):
        codes = codes * shape[i] + _along(places, i, len(axes))
    if not sweep.where:
        return codes.ravel()
    columns: dict[str, Column] = {}
    for i, axis in enumerate(axes):
        if axis.keys in sweep.dims:
            for key, kind, (name, values) in zip(
                axis.keys, axis.kinds, axis.coordinates.items(), strict=True
            ):
                column = values == "true" if kind == "truth" else values
                columns[name] = columns[key] = Column(_along(column[local[i]], i, len(axes)), kind)
    mask = evaluate(sweep.where, columns, f"{sweep.place}.where")
    return np.asarray(codes[np.broadcast_to(mask, codes.shape)])


def _along(values: NDArray[Any], axis: int, ndim: int) -> NDArray[Any]:
    """Return one-dimensional `values` shaped to lie along one axis of `ndim`."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
