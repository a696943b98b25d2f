"""Plain tables: what a spec is made of before any of it is understood."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import GAP, known

Table = dict[str, Any]

DEEPEST = 16  # nesting a spec may have; far above what any setting needs, far below Python's recursion limit
LARGEST = 1 << 256  # of an integer; a float must hold it
PATH_SETTINGS = ("file", "path")  # a setting of this name is a path, wherever it stands


def plain(value: Any, where: str, problems: list[Problem], depth: int = 0) -> Any:
    """Return `value` as tables, lists, texts, booleans and finite numbers; problems are added to the list.

    NumPy scalars and arrays, tuples and paths become what TOML would have given; what is nothing of the
    kind becomes a gap.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if depth > DEEPEST:
        problems.append(Problem(where, f"at most {DEEPEST} levels of nesting", "more"))
        return GAP
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                problems.append(Problem(where or "the spec", "keys that are texts", shown(key)))
        return {
            key: plain(item, f"{where}.{key}" if where else key, problems, depth + 1)
            for key, item in value.items()
            if isinstance(key, str)
        }
    if isinstance(value, list | tuple | range):
        return [plain(item, f"{where}[{i}]", problems, depth + 1) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(where, "a finite number", shown(value)))
        return GAP
    if isinstance(value, int) and abs(value) >= LARGEST:
        problems.append(Problem(where, "an integer of less than 257 bits", f"one of {value.bit_length()}"))
        return GAP
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is not None and not isinstance(value, str | bool | int | float):
        problems.append(Problem(where, "a text, a number, a boolean, a list or a table", shown(value)))
        return GAP
    return value


def with_paths(value: Any, base: Path, key: str = "") -> Any:
    """Return plain `value` with every path in it made absolute, relative ones read from folder `base`."""
    if isinstance(value, Mapping):
        # `rename` of a sweep has keys of settings too, but what it holds are names of axes
        return {
            k: item if k == "rename" else with_paths(item, base, k.rpartition(".")[2])
            for k, item in value.items()
        }
    if isinstance(value, list):
        return [with_paths(item, base, key) for item in value]
    if isinstance(value, str) and value and key in PATH_SETTINGS and value is not GAP:
        return os.path.abspath(os.path.join(base, os.path.expanduser(value)))
    return value


def paths_in(table: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield every path that settings name, with its dotted key."""
    if isinstance(table, Mapping):
        for key, value in table.items():
            dotted = f"{where}.{key}" if where else str(key)
            if dotted.rpartition(".")[2] in PATH_SETTINGS:
                values = value if isinstance(value, list) else [value]
                yield from ((dotted, one) for one in values if isinstance(one, str))
            yield from paths_in(value, dotted)
    elif isinstance(table, list):
        for one in table:
            yield from paths_in(one, where)


def file_name(path: str) -> str:
    """Return the last part of a path of any system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def put(
    table: Mapping[str, Any], parts: Sequence[str], value: Any, names: Mapping[str, str], key: str
) -> Table:
    """Return a copy of `table` with `value` at the end of the path `parts`.

    Parameters
    ----------
    table : mapping
        A section of the spec. A bare name on the way is promoted to ``{name = ...}``.
    parts : sequence of str
        The path inside `table`, at least one part.
    value : object
        A plain value.
    names : mapping
        For settings of `table` that may be absent: the name of the entry that then stands there.
    key : str
        The whole key, for the message.

    Raises
    ------
    UserMistake
        Where something on the way is neither a table nor a name.
    """
    head, rest = parts[0], parts[1:]
    if not rest:
        return {**table, head: value}
    inner = known(table.get(head, {"name": names[head]} if head in names else {}))
    if isinstance(inner, str):
        inner = {"name": inner}
    if not isinstance(inner, Mapping):
        raise UserMistake(Problem(key, f"a table at {head!r} to hold {rest[0]!r}", shown(inner)))
    return {**table, head: put(inner, rest, value, {}, key)}


def lookup(table: Any, parts: Iterable[str]) -> Any:
    """Return what stands at the end of the path, or None; a bare name is its own table."""
    for part in parts:
        if isinstance(table, str) and part == "name":
            return table
        if not isinstance(table, Mapping) or part not in table:
            return None
        table = table[part]
    return table


def without_none(value: Any) -> Any:
    """Return plain `value` without the keys whose value is None: absent and None mean the same."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_none(item) for item in value]
    return value
