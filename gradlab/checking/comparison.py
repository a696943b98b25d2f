"""Compare two archives: their settings, which cases each has, and how far the common ones are apart.

A case of one archive is the same as a case of the other if the keys of their settings are equal, wherever
in the grids they stand and whichever code measured them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.archive.files import Files, files_of
from gradlab.archive.forms import Form
from gradlab.archive.reading import forms_of, read_array
from gradlab.archive.variables import KEYS, STATUS, VARIABLES
from gradlab.checking.distance import Array, Compared, compare, worst_first
from gradlab.checking.settings import Cases, cases_in, tables_in
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

_MISSING = "not there"
_ONE = {"layer": 0, "direction": "forward"}  # where a network without the dimension stands


@dataclass(frozen=True)
class Difference:
    """What differs between two archives.

    Parameters
    ----------
    settings : dict of str to tuple
        Settings of the last runs that differ, by dotted key: in the first and in the second archive.
    only : tuple of list of dict
        Labels of the cases that are in the first archive alone, and in the second alone.
    common : int
        Cases in both.
    records : tuple of tuple of str
        Variables in the first archive alone, and in the second alone.
    variables : tuple of Compared
        How far the common cases are apart, the worst first.
    code : int
        Common cases that were measured by different code.
    tolerance : float
        Relative and absolute.
    measures : tuple of str
        What the first archive measures, and what the second: if they differ, no case is common.
    """

    settings: dict[str, tuple[Any, Any]]
    only: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    common: int
    records: tuple[tuple[str, ...], tuple[str, ...]]
    variables: tuple[Compared, ...]
    code: int
    tolerance: float
    measures: tuple[str, str]

    @property
    def equal(self) -> bool:
        """Whether both have the same cases and records, with the same numbers within the tolerance.

        Settings may differ all the same: titles, and others that change no case.
        """
        alike = self.measures[0] == self.measures[1] and not any(self.only) and not any(self.records)
        return alike and not any(v.different for v in self.variables)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the archives."""

    files: Files
    forms: dict[str, Form]
    cases: Cases
    places: dict[str, tuple[int, ...]]
    labels: dict[str, list[Any]] = field(default_factory=dict)

    def along(self, dim: str) -> list[Any]:
        """Return the labels along a dimension that is not one of the cases."""
        if dim not in self.labels:
            self.labels[dim] = read_array(self.files, self.forms, dim).tolist()
        return self.labels[dim]

    def inner(self, name: str) -> tuple[str, ...]:
        """Return what a variable runs along besides the case."""
        return self.forms[name].dims[self.cases.status.ndim :]

    def rows(self, name: str, keys: list[str]) -> Array:
        """Return a variable of some cases, shape (cases, inner dimensions)."""
        index = np.array([self.places[key] for key in keys], dtype=np.int64)
        return read_array(self.files, self.forms, name)[tuple(index.reshape(-1, self.cases.status.ndim).T)]


def diff(one: str | Path, other: str | Path, tolerance: float = 0.0) -> Difference:
    """Compare two archives.

    Parameters
    ----------
    one, other : path
        A directory or a packed file each.
    tolerance : float
        Relative and absolute; 0: numbers must be equal, as 0 and -0 are.

    Raises
    ------
    UserMistake
        If one of them is no archive, or damaged.
    """
    a, b = _side(one), _side(other)
    tables = tables_in(a.files)[0], tables_in(b.files)[0]
    measures = str(tables[0].get("measure", "probe")), str(tables[1].get("measure", "probe"))
    alike = measures[0] == measures[1]
    common = [key for key in a.places if alike and key in b.places]
    names = [{name for name in side.forms if name in VARIABLES and name not in KEYS} for side in (a, b)]
    compared = [
        compare(
            name,
            *_aligned(name, a, b, common),
            tolerance,
            lambda i: a.cases.at(a.places[common[i]]),
        )
        for name in sorted(names[0] & names[1])
        if alike  # otherwise what has the same name runs along something else
    ]
    return Difference(
        settings=dict(_settings(*tables)),
        only=(_only(a, b), _only(b, a)),
        common=len(common),
        records=(tuple(sorted(names[0] - names[1])), tuple(sorted(names[1] - names[0]))),
        variables=worst_first(compared),
        code=sum(a.cases.code[a.places[key]] != b.cases.code[b.places[key]] for key in common),
        tolerance=tolerance,
        measures=measures,
    )


def _side(path: str | Path) -> _Side:
    files = files_of(path)
    forms = forms_of(files)
    cases = cases_in(files, forms)
    there = np.argwhere((cases.settings != "") & (cases.status != STATUS["not_run"]))
    keys = cases.settings[tuple(there.T)].tolist()
    return _Side(files, forms, cases, dict(zip(keys, map(tuple, there.tolist()), strict=True)))


def _only(one: _Side, other: _Side) -> list[dict[str, Any]]:
    return [one.cases.at(place) for key, place in one.places.items() if key not in other.places]


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the settings that differ, by dotted key."""
    a, b = dict(_flat(one)), dict(_flat(other))
    for key in sorted({*a, *b}):
        left, right = a.get(key, _MISSING), b.get(key, _MISSING)
        if type(left) is not type(right) or left != right:
            yield key, (left, right)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _aligned(name: str, a: _Side, b: _Side, keys: list[str]) -> tuple[Array, Array]:
    """Return a variable of the common cases in both archives, with the same labels along every dimension.

    What an archive has not got of a dimension is empty there, as in a sweep that has it for other cases.
    """
    one, other = a.rows(name, keys), b.rows(name, keys)
    dims = tuple(dim for dim in VARIABLES[name].over if dim in a.inner(name) or dim in b.inner(name))
    for axis, dim in enumerate(dims, start=1):
        if dim not in a.inner(name):
            one = _put_along(one, other, axis, dim, b)
        elif dim not in b.inner(name):
            other = _put_along(other, one, axis, dim, a)
        elif a.along(dim) != b.along(dim):
            every = list(dict.fromkeys([*a.along(dim), *b.along(dim)]))
            one = _spread(name, one, axis, [every.index(label) for label in a.along(dim)], len(every))
            other = _spread(name, other, axis, [every.index(label) for label in b.along(dim)], len(every))
    return one, other


def _spread(name: str, values: Array, axis: int, places: list[int], size: int) -> Array:
    """Return values along an axis at other places of a longer one, empty in between."""
    whole = VARIABLES[name].empty((*values.shape[:axis], size, *values.shape[axis + 1 :]))
    whole[(slice(None),) * axis + (places,)] = values
    return whole


def _put_along(values: Array, model: Array, axis: int, dim: str, side: _Side) -> Array:
    """Return values that lack a dimension with it, at the one place along it that each case has.

    That is the layer 0, the direction forward, and of the row blocks the one where the model has a number.

    Raises
    ------
    UserMistake
        If it is none of these: one of the archives is not of the measure that its settings tell.
    """
    labels = side.along(dim)
    if dim == "gate":
        apart = np.moveaxis(model, axis, 1).reshape(
            len(model), len(labels), model[:1].size // max(len(labels), 1)
        )
        place = np.argmax(~np.isnan(apart).all(axis=2), axis=1)
    elif dim not in _ONE or _ONE[dim] not in labels:
        expected = f"the dimension {dim} in both archives, or one that can be left out"
        raise UserMistake(Problem(str(side.files.path), expected, f"it with {shown(labels)}"))
    else:
        place = np.full(len(model), labels.index(_ONE[dim]))
    whole = np.full((*values.shape[:axis], len(labels), *values.shape[axis:]), np.nan)
    index = place.reshape(-1, *(1,) * (whole.ndim - 1))
    np.put_along_axis(whole, index, np.expand_dims(values, axis), axis)
    return whole
