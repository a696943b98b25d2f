"""The sweep tables of a spec: which keys are axes, which of them are zipped, filtered and renamed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradlab.core.checks import meant, nearest, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import GAP
from gradlab.experiment.axes import axis_values, is_range
from gradlab.experiment.labels import identity
from gradlab.experiment.sections import SECTIONS
from gradlab.experiment.tables import Table

OPTIONS = ("zip", "where", "rename")
FIXED = ("title", "question", "measure", "replicates", "record", "memory", "sweep")
#: Names that no axis may have. What only a record on request runs along is free until it is asked for.
RESERVED = (
    *("replicate", "layer", "direction", "gate", "predictor", "lag", "update", "first", "second"),
    *("status", "settings_key", "code_key", "case_key"),
    *("and", "or", "not", "in", "true", "false"),
)
_FIRST = (*SECTIONS, "seed")  # what the key of an axis begins with
LONGEST = 100  # characters of a name that a hint tells
NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Sweep:
    """One sweep table, its forms resolved.

    Parameters
    ----------
    place : str
        Where it stands in the spec: "sweep", or "sweep[1]" where there are several.
    axes : dict of str to list
        Dotted key -> its values, in the order of the spec.
    dims : tuple of tuple of str
        The keys of each dimension in order: one, or several that are zipped.
    where : str
        The filter, "" for none.
    rename : dict of str to str
        Dotted key -> name of its coordinate.
    """

    place: str
    axes: dict[str, list[Any]]
    dims: tuple[tuple[str, ...], ...]
    where: str
    rename: dict[str, str]


def flattened(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the axes of a sweep table by dotted key, whether it was quoted or written as tables."""
    items: list[tuple[str, Any]] = []
    for key, value in table.items():
        if not prefix and key in OPTIONS:
            continue
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not is_range(value):
            items += flattened(value, f"{dotted}.")
        else:
            items.append((dotted, value))
    return items


def read_sweeps(tables: list[Table]) -> tuple[Sweep, ...]:
    """Return all sweep tables understood; every problem of every table is reported."""
    sweeps, problems = understood(tables)
    if problems:
        raise UserMistake(problems)
    return sweeps


def understood(tables: Sequence[object]) -> tuple[tuple[Sweep, ...], list[Problem]]:
    """Return what can be understood of sweep tables, and the problems of the rest.

    Axes that cannot be read have one value, a gap; values that stand twice stand once.
    """
    problems: list[Problem] = []
    places = ["sweep"] if len(tables) == 1 else [f"sweep[{i}]" for i in range(len(tables))]
    sweeps = [_understood(table, place, problems) for table, place in zip(tables, places, strict=True)]
    return tuple(sweeps), problems


def _understood(table: object, place: str, problems: list[Problem]) -> Sweep:
    """Return what can be understood of a sweep table; problems are added to the list."""
    if not isinstance(table, Mapping):
        if table is not GAP:
            problems.append(Problem(place, "a table of axes", shown(table)))
        return Sweep(place, {}, (), "", {})
    axes: dict[str, list[Any]] = {}
    keys: list[str] = []
    for key, setting in flattened(table):
        if key in keys:
            problems.append(Problem(f"{place}.{key}", "each axis once", "it twice, quoted and as a table"))
        keys.append(key)
        section, dot, rest = key.partition(".")
        try:
            _check_key(key, place)
            axes[key] = axis_values(setting, f"{place}.{key}")
        except UserMistake as mistake:
            problems += mistake.problems
            section = section if section in _FIRST else meant(section, _FIRST)
            if section and (dot or section == "seed"):
                axes[section + dot + rest] = [GAP]
    zipped = _zipped(table.get("zip", []), axes, keys, place, problems)
    for key, values in axes.items():
        if not any(key in group[1:] for group in zipped):
            hint = (
                "Zip first the key whose values all differ." if any(key in group for group in zipped) else ""
            )
            axes[key] = _differing(key, values, place, hint, problems)
    _spread_gaps(axes, zipped)
    where = table.get("where", "")
    if not isinstance(where, str):
        problems.append(Problem(f"{place}.where", 'a filter such as "radius < 1.2", as a text', shown(where)))
    where = where.strip() if isinstance(where, str) and where is not GAP else ""
    rename = _renamed(table.get("rename", {}), keys, place, problems)
    whole = [group for group in zipped if _of_one_length(group, axes)]
    dims = [next((group for group in whole if key in group), (key,)) for key in axes]
    return Sweep(place, axes, tuple(dict.fromkeys(dims)), where, rename)


def _check_key(key: str, place: str) -> None:
    section = key.partition(".")[0]
    if key in FIXED:
        expected = "the key of a setting of each case"
        raise UserMistake(Problem(f"{place}.{key}", expected, f"{key!r}, which holds for the whole spec"))
    if (section not in SECTIONS and key != "seed") or not all(key.split(".")):
        expected = f"a dotted key under {', '.join(SECTIONS[:-1])} or {SECTIONS[-1]}, or seed"
        raise UserMistake(
            Problem(f"{place}.{key}", expected, shown(key), nearest(section, [*SECTIONS, "seed", *OPTIONS]))
        )


def _differing(key: str, values: list[Any], place: str, hint: str, problems: list[Problem]) -> list[Any]:
    """Return the values of an axis, each once; the first that stands twice is a problem."""
    if values[0] is GAP:
        return values
    once: dict[Any, Any] = {}
    twice = []
    for value in values:
        mark = identity(key, value)
        if mark in once:
            twice.append(Problem(f"{place}.{key}", "values that differ", f"{shown(value)} twice", hint))
        once.setdefault(mark, value)
    problems += twice[:1]
    return list(once.values())


def _zipped(
    setting: object, axes: Mapping[str, list[Any]], keys: list[str], place: str, problems: list[Problem]
) -> list[tuple[str, ...]]:
    """Return the groups of zipped keys; problems are added to the list."""
    where = f"{place}.zip"
    if setting is GAP:
        return []
    groups = setting if isinstance(setting, list) else None
    if groups is None or not all(isinstance(g, list) and all(isinstance(k, str) for k in g) for g in groups):
        problems.append(
            Problem(where, 'lists of keys such as [["network.hidden", "task.batch"]]', shown(setting))
        )
        return []
    seen: set[str] = set()
    for group in groups:
        found = len(problems)
        if len(group) < 2:
            problems.append(Problem(where, "at least two keys to zip", shown(group)))
        for key in group:
            if key not in keys:
                problems.append(
                    Problem(where, "the key of an axis of this table", shown(key), nearest(key, brief(keys)))
                )
            if key in seen:
                problems.append(Problem(where, "each key once", f"{key!r} twice"))
            seen.add(key)
        lengths = {key: len(axes[key]) for key in group if key in axes and axes[key][0] is not GAP}
        if len(problems) == found and len(set(lengths.values())) > 1:
            got = " and ".join(f"{length} of {key}" for key, length in lengths.items())
            problems.append(Problem(where, "zipped axes of equal length", got))
    return [tuple(group) for group in groups]


def _spread_gaps(axes: dict[str, list[Any]], zipped: Sequence[tuple[str, ...]]) -> None:
    """Make axes that could not be read as long as those that they are zipped with."""
    for group in zipped:
        length = max((len(axes[key]) for key in group if key in axes), default=0)
        for key in group:
            if key in axes and axes[key][0] is GAP:
                axes[key] = [GAP] * length


def brief(keys: Iterable[str]) -> list[str]:
    """Return names of the user's own that are short enough to be listed in a message."""
    return [key for key in keys if len(key) <= LONGEST]


def _of_one_length(group: tuple[str, ...], axes: Mapping[str, list[Any]]) -> bool:
    """Return whether the keys are those of axes with equally many values."""
    return all(key in axes for key in group) and len({len(axes[key]) for key in group}) == 1


def _renamed(setting: object, keys: list[str], place: str, problems: list[Problem]) -> dict[str, str]:
    """Return the new names by key; problems are added to the list."""
    where = f"{place}.rename"
    if not isinstance(setting, Mapping):
        problems.append(Problem(where, 'a table such as {"network.spectrum.radius" = "rho"}', shown(setting)))
        return {}
    rename = {}
    for key, name in _flat_texts(setting):
        if key not in keys:
            problems.append(
                Problem(
                    f"{where}.{key}",
                    "the key of an axis of this table",
                    shown(key),
                    nearest(key, brief(keys)),
                )
            )
        elif not isinstance(name, str) or (name is not GAP and NAME.fullmatch(name) is None):
            expected = "a name made of letters, digits and underscores"
            problems.append(Problem(f"{where}.{key}", expected, shown(name)))
        elif name is not GAP:
            rename[key] = name
    return rename


def _flat_texts(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            items += _flat_texts(value, f"{prefix}{key}.")
        else:
            items.append((f"{prefix}{key}", value))
    return items
