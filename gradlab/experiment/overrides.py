"""Settings given beside a spec: ``KEY=VALUE``."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradlab.core.checks import nearest, shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import GAP
from gradlab.experiment import sections
from gradlab.experiment.axes import is_range
from gradlab.experiment.sweeps import OPTIONS
from gradlab.experiment.tables import Table, put, with_paths
from gradlab.experiment.toml import parse_key, parse_value


def overridden(table: Table, settings: Sequence[str], known: Iterable[str]) -> tuple[Table, list[Problem]]:
    """Return the table of a spec with settings replaced, and what is wrong with settings.

    Those that are not of this form or have no place are left out; a value that cannot be read is a gap.

    Parameters
    ----------
    table : dict
        The plain table of a valid spec, its sweep as a list of tables with dotted keys.
    settings : sequence of str
        ``KEY=VALUE`` each; see `gradlab.experiment.spec.with_settings`.
    known : iterable of str
        The keys a spec has at the top.
    """
    problems: list[Problem] = []
    table = {"sweep": [], **copy.deepcopy(table)}
    for text in settings:
        with gathering(problems):
            _set(table, text, list(known), problems)
    return table, problems


def split(text: str, hint: str) -> tuple[str, str]:
    """Return the two sides of ``KEY=VALUE``.

    Raises
    ------
    UserMistake
        With that hint, for anything else.
    """
    key, equals, written = text.partition("=")
    if not equals:
        raise UserMistake(Problem(shown(text), "KEY=VALUE", shown(text), hint))
    return key, written


def pair(text: str, hint: str) -> tuple[str, Any]:
    """Return the key and the value of ``KEY=VALUE``, where the key is that of no table; see `split`."""
    key, written = split(text, hint)
    return key.strip(), parse_value(written, key.strip())


def _set(table: Table, text: str, known: Sequence[str], problems: list[Problem]) -> None:
    key, written = split(text, "As in network.hidden=32.")
    parts = parse_key(key)
    dotted = ".".join(parts)
    value: Any = GAP
    with gathering(problems):
        value = with_paths(parse_value(written, dotted), Path.cwd(), parts[-1].rpartition(".")[2])
    if parts[0] not in known:
        raise UserMistake(Problem(dotted, "a key of a spec", shown(parts[0]), nearest(parts[0], known)))
    if parts[0] == "sweep":
        _set_sweep(table, parts[1:], value)
    elif not _replace_axis(table["sweep"], dotted, value):
        _set_leaf(table, parts, value)


def _set_leaf(table: Table, parts: Sequence[str], value: Any) -> None:
    section, *rest = parts
    if not rest:
        table[section] = value
        return
    key = ".".join(parts)
    if section not in sections.SECTIONS:
        raise UserMistake(Problem(key, f"{section!r} alone", shown(key), f"{section!r} is no table."))
    inner = table.get(section, sections.FALLBACK[section])
    inner = {"name": inner} if isinstance(inner, str) else inner
    if not isinstance(inner, dict):
        raise UserMistake(Problem(key, f"a table [{section}]", shown(inner)))
    table[section] = put(inner, rest, value, sections.names_in(section), key)


def _as_axis(value: Any) -> Any:
    return value if isinstance(value, list) or is_range(value) else [value]


def _replace_axis(tables: Any, key: str, value: Any) -> bool:
    """Replace the axis `key` in every sweep table that has it; return whether one had it."""
    found = False
    for sweep in _tables(tables):
        for axis in [axis for axis in sweep if axis not in OPTIONS]:
            if key.startswith(f"{axis}."):
                hint = f"It replaces the whole table at every grid point; set sweep.{axis}=[...] instead."
                raise UserMistake(
                    Problem(key, "a setting that no axis replaces", f"one inside the axis {axis}", hint)
                )
        if key in sweep:
            sweep[key] = _as_axis(value)
            found = True
    return found


def _tables(sweep: Any) -> list[Table]:
    """Return the sweep tables; what is none is told of when the spec is read."""
    return [one for one in (sweep if isinstance(sweep, list) else [sweep]) if isinstance(one, dict)]


def _set_sweep(table: Table, parts: Sequence[str], value: Any) -> None:
    if not parts:
        table["sweep"] = value if isinstance(value, list) else [value]
        return
    if not table["sweep"]:
        table["sweep"] = [{}]
    key, tables = ".".join(parts), _tables(table["sweep"])
    for sweep in tables:
        if parts[0] == "rename" and len(parts) > 1:
            former = sweep.get("rename")
            sweep["rename"] = {**(former if isinstance(former, dict) else {}), ".".join(parts[1:]): value}
        elif parts[0] in OPTIONS:
            sweep[key] = value
    if parts[0] not in OPTIONS:
        holders = [sweep for sweep in tables if key in sweep] or tables
        for sweep in holders:
            sweep[key] = _as_axis(value)
