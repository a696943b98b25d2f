"""From the flags of ``gradlab sweep`` to the table of a spec."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.registry import Registry
from gradlab.experiment.axes import is_range
from gradlab.experiment.sections import CATALOGUES, names_in
from gradlab.experiment.spec import Spec, parse_memory, spec_with
from gradlab.experiment.tables import Table, put
from gradlab.experiment.toml import parse_value

SCALINGS = ("radius", "norm", "gain")
RANGE = "numbers such as 0.5,1.0 or a range START:STOP:NUM such as 0.5:1.5:21"

Values = list[Any] | Table


def _number(text: str, where: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UserMistake(Problem(where, RANGE, shown(text)))


def numbers(text: str, where: str) -> Values:
    """Return a list of numbers, or the table of a range, ``start:stop:num`` or ``start:stop:num:log``."""
    if ":" not in text:
        return [_number(part.strip(), where) for part in text.split(",")]
    parts = text.split(":")
    log = parts[3:] == ["log"]
    if len(parts) != 3 + log:
        raise UserMistake(Problem(where, RANGE, shown(text), "A logarithmic range is START:STOP:NUM:log."))
    start, stop, num = (_number(part.strip(), where) for part in parts[:3])
    return {"start": start, "stop": stop, "num": num} | ({"logspace": True} if log else {})


def words(text: str, where: str) -> Values:
    """Return a list of names; commas in brackets belong to the name."""
    parts = [part.strip() for part in re.split(r",(?![^\[\]]*\])", text)]
    if not all(parts):
        raise UserMistake(Problem(where, "names separated by commas", shown(text)))
    return parts


def looks(text: str, where: str) -> Values:
    """Return places of the loss: ``final``, ``every``, or time steps joined by ``+``."""
    return [
        part if part in ("final", "every") else [_step(step, where) for step in part.split("+")]
        for part in words(text, where)
    ]


def _step(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        expected = '"final", "every" or time steps such as 10 or 10+20'
        raise UserMistake(Problem(where, expected, shown(text))) from None


def entries(text: str, where: str, catalogue: Registry[Any]) -> Values:
    """Return entries of a catalogue: ``name``, ``name:value`` or ``name:setting=value``, in a list."""
    found: list[Any] = []
    problems: list[Problem] = []
    for part in words(text, where):
        name, *settings = part.split(":")
        with gathering(problems):
            own = _own_settings(catalogue.get(name, where))
            table = {"name": name, **_settings(settings, own, where)}
            found.append(table if settings else name)
    if problems:
        raise UserMistake(problems)
    return found


def _own_settings(entry: type[Any]) -> list[str]:
    """Return the settings of an entry that are not common to its whole catalogue, in order."""
    base = next(c for c in entry.__mro__ if c.__name__.startswith("Abstract"))
    common = {f.name for f in dataclasses.fields(base)} if dataclasses.is_dataclass(base) else set()
    return [f.name for f in dataclasses.fields(entry) if f.init and f.name not in common]


def _settings(texts: Sequence[str], own: Sequence[str], where: str) -> Table:
    table: Table = {}
    for place, text in enumerate(texts):
        key, equals, value = text.partition("=")
        if not equals:
            if place >= len(own):
                expected = f"at most {len(own)} setting{'s' * (len(own) > 1)}" if own else "no settings"
                hint = f"Its own: {', '.join(own)}." if own else ""
                raise UserMistake(Problem(where, expected, shown(text), hint))
            key, value = own[place], text
        table[key] = parse_value(value, f"{where}.{key}")
    return table


def _entries_of(key: str) -> Callable[[str, str], Values]:
    return lambda text, where: entries(text, where, CATALOGUES[key])


#: Parameter of the command -> key of the spec, and how its text is read. The order is that of the axes.
FLAGS: Mapping[str, tuple[str, Callable[[Any, str], Values]]] = {
    "cell": ("network.cell", _entries_of("network.cell")),
    "forget_bias": ("network.cell.forget_bias", numbers),
    "spectrum": ("network.spectrum", _entries_of("network.spectrum")),
    **{way: (f"network.spectrum.{way}", numbers) for way in SCALINGS},
    "activation": ("network.activation", _entries_of("network.activation")),
    "hidden": ("network.hidden", numbers),
    "layers": ("network.layers", numbers),
    "bidirectional": ("network.bidirectional", lambda given, where: [given]),
    "dtype": ("network.dtype", words),
    "task": ("task", _entries_of("task")),
    "length": ("task.length", numbers),
    "features": ("task.features", numbers),
    "batch": ("task.batch", numbers),
    "loss": ("task.loss", words),
    "at": ("task.at", looks),
    "clip": ("clip", _entries_of("clip")),
    "learner": ("learner", _entries_of("learner")),
    "seed": ("seed", numbers),
}

#: The same for what no axis can be made of.
ASIDE: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "record": ("record", words),
    "memory": ("memory", parse_memory),
}


def flag(name: str) -> str:
    """Return the flag of a parameter of the command."""
    return "--" + name.replace("_", "-")


def spec_of(given: Mapping[str, Any], settings: Sequence[str]) -> tuple[Spec, Table]:
    """Return the spec that flags describe, and the table it is made of.

    Parameters
    ----------
    given : mapping
        Parameters of the command by name; None where a flag was not given.
    settings : sequence of str
        ``KEY=VALUE`` each, put in at the end.

    Raises
    ------
    UserMistake
        With every problem, named by flag where a flag set what is wrong.
    """
    values, problems = _read(given)
    ways = [way for way in SCALINGS if FLAGS[way][0] in values]
    if len(ways) > 1:
        got = " and ".join(map(flag, ways))
        problems.append(Problem(flag(ways[-1]), "one of --radius, --norm and --gain", got))
    if problems:
        values, settings = _sure(values, settings, given)
        given = {**given, "where": None}
    try:
        spec, table = _spec_of(values, settings, given)
    except UserMistake as mistake:
        apart = {_key_of(setting) for setting in settings}
        problems += [_by_flag(problem, apart) for problem in mistake.problems]
    if problems:
        raise UserMistake(dict.fromkeys(problems))
    return spec, table


def _read(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values by key of the flags that can be read, and what is wrong with the others."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, (key, read) in {**FLAGS, **ASIDE}.items():
        if given.get(name) not in (None, False):
            with gathering(problems):
                values[key] = read(given[name], flag(name))
    return values, problems


def _sure(
    values: Mapping[str, Any], settings: Sequence[str], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values and settings that mean the same whatever the flags that were not read stand for.

    A default takes their place. So what only some entries of a catalogue have is left out where the
    entry is not known, and so is a second scaling.
    """
    unread = [
        key for name, (key, _) in FLAGS.items() if given.get(name) not in (None, False) and key not in values
    ]
    scaled = [FLAGS[way][0] for way in SCALINGS if FLAGS[way][0] in values]
    apart = {*scaled[1:], *(["network.cell.forget_bias"] if "network.cell" in unread else [])}
    kept = []
    for setting in settings:
        key = _key_of(setting)
        if key != "where" and not any(f"{key}.".startswith(f"{one}.") for one in [*unread, *apart]):
            kept.append(setting)
    return {key: value for key, value in values.items() if key not in apart}, kept


def _spec_of(
    values: Mapping[str, Any], settings: Sequence[str], given: Mapping[str, Any]
) -> tuple[Spec, Table]:
    """Return the spec of values by key, and the table it is made of."""
    table = _table({key: value for key, value in values.items() if key not in ASIDE}, given)
    if "record" in values:
        table["record"] = values["record"]
    if settings:
        sweeps = [table["sweep"]] if "sweep" in table else []
        return spec_with({**table, "sweep": sweeps}, settings)
    return Spec.from_dict(table), table


def _table(values: Mapping[str, Any], given: Mapping[str, Any]) -> Table:
    """Return the table of a spec: single values in the sections, several in the sweep."""
    if "network.spectrum" in values and not any(FLAGS[way][0] in values for way in SCALINGS):
        values = {**values, "network.spectrum": [_scaled(one) for one in values["network.spectrum"]]}
    axes: dict[str, Any] = {key: value for key, value in values.items() if is_range(value) or len(value) > 1}
    table: Table = {"network": {}, "task": {"name": "noise"}, "clip": {"name": "off"}}
    for key, value in values.items():
        if key in axes:
            continue
        holder = next((axis for axis in axes if key.startswith(f"{axis}.")), None)
        if holder is None:
            table = _set(table, key, value[0])
        else:  # the axis replaces the whole table, so what goes into it goes into each of its values
            rest = key.removeprefix(f"{holder}.").split(".")
            axes[holder] = [put(_tabled(one), rest, value[0], {}, key) for one in axes[holder]]
    for key in ("title", "question", "replicates"):
        if given.get(key) is not None:
            table[key] = given[key]
    if axes or given.get("where"):
        table["sweep"] = {**axes, **({"where": given["where"]} if given.get("where") else {})}
    return {key: value for key, value in table.items() if value != {}}


def _tabled(one: Any) -> Table:
    """Return an entry as a table."""
    return {"name": one} if isinstance(one, str) else one


def _set(table: Table, key: str, value: Any) -> Table:
    """Return the spec's table with one value put in."""
    section, *rest = key.split(".")
    if not rest:
        return {**table, section: _tabled(value) if section in CATALOGUES else value}
    return {**table, section: put(table[section], rest, value, names_in(section), key)}


def _scaled(one: Any) -> Any:
    """Return a spectrum with radius 1 (or what it can be scaled by) where the user gave no scaling."""
    table = _tabled(one)
    family = CATALOGUES["network.spectrum"].get(table["name"])
    if family.unscaled or any(way in table for way in family.scalings):
        return one
    return {**table, "radius" if "radius" in family.scalings else family.scalings[0]: 1.0}


def _key_of(setting: str) -> str:
    """Return the key of a ``KEY=VALUE``, without the sweep's own prefix."""
    return setting.partition("=")[0].strip().removeprefix("sweep.").replace('"', "")


def _by_flag(problem: Problem, apart: Collection[str]) -> Problem:
    """Return the problem with the flag in place of the key that it sets; not for keys that ``--set`` set."""
    where = problem.where.removeprefix("sweep.").removeprefix("sweep[0].")
    if any(_within(where, key) for key in apart):
        return problem
    for name, (key, _) in sorted({**FLAGS, **ASIDE}.items(), key=lambda item: -len(item[1][0])):
        if _within(where, key):
            return dataclasses.replace(problem, where=flag(name) + where[len(key) :])
    return problem


def _within(where: str, key: str) -> bool:
    """Return whether a place is that of a key, or inside it."""
    return where == key or where.startswith((f"{key}.", f"{key}["))
