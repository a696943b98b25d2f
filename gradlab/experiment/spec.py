"""The spec: what a user asks for, validated whole, every problem reported at once.

Two forms are kept. `Spec.given` is the plain table as it came, which an archive keeps word for word.
The fields hold what is run: forms normalised, and every path (a setting called ``file`` or ``path``)
made absolute, read from the folder of the spec file, or from the current folder where there is none.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from gradlab.core.checks import checked_path, integer, nearest, one_of, shown, text
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import GAP, known
from gradlab.core.streams import canonical
from gradlab.experiment import schema, sections
from gradlab.experiment.dims import taken_names
from gradlab.experiment.expansion import Expansion, resolve
from gradlab.experiment.measures import AbstractMeasure, measure_of, names, record_names
from gradlab.experiment.overrides import overridden
from gradlab.experiment.sweeps import OPTIONS, Sweep, flattened, read_sweeps, understood
from gradlab.experiment.tables import Table, plain, with_paths, without_none
from gradlab.experiment.toml import read_toml, to_toml

__all__ = ["Spec", "load_spec", "parse_memory", "spec_with", "to_toml", "with_settings"]

_EXPANDED = "_expanded"  # where a spec keeps what it comes to

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_memory(value: object, where: str = "memory") -> int:
    """Return a number of bytes.

    Parameters
    ----------
    value : int or str
        Bytes, or a text such as ``"1GiB"``, ``"512 MiB"``, ``"2GB"`` (a GB has 10**9 bytes).
    where : str
        The key or flag, for messages.

    Raises
    ------
    UserMistake
        Where it is no positive amount of memory.
    """
    expected = 'an amount of memory such as "1GiB" or "512MiB", or a number of bytes'
    size = 0
    known(value)
    if isinstance(value, str):
        match = _MEMORY.fullmatch(value)
        if match and len(value) < 40 and match[2].lower() in _UNITS:
            size = int(float(match[1]) * _UNITS[match[2].lower()])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if not 0 < size < 2**63:
        raise UserMistake(Problem(where, expected, shown(value)))
    return size


def _memory_text(size: int) -> str:
    """Return the shortest exact text of a number of bytes."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _text(where: str) -> Any:
    return BeforeValidator(lambda value: text(where, value))


def _records(value: object) -> tuple[str, ...] | None:
    known(value)
    if value is None:
        return None
    names = value if isinstance(value, list | tuple) else [value]
    every = record_names()
    problems = [
        Problem("record", "names of records", shown(name), nearest(name, every))
        for name in names
        if name is not GAP and (not isinstance(name, str) or name not in every)
    ]
    if not names:
        problems.append(
            Problem("record", "at least one name of a record", "an empty list", "Leave it out for all.")
        )
    if problems:
        raise UserMistake(problems)
    return tuple(dict.fromkeys(names))


def _section(where: str) -> Any:
    def check(value: object) -> Table:
        known(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, str) and where in sections.CATALOGUES:
            return {"name": value}
        raise UserMistake(Problem(where, f"a table, [{where}]", shown(value)))

    return BeforeValidator(check)


def _sweeps(value: object) -> tuple[Table, ...]:
    known(value)
    tables = [value] if isinstance(value, Mapping) else value
    if not isinstance(tables, list | tuple):
        raise UserMistake(Problem("sweep", "a table of axes, [sweep], or several, [[sweep]]", shown(value)))
    tables = [table for table in tables if table != {}]
    read_sweeps(tables)
    return tuple(
        {**dict(flattened(t)), **{key: t[key] for key in OPTIONS if t.get(key)}} if t is not GAP else {}
        for t in tables
    )


def _integer(where: str, at_least: int) -> Any:
    return BeforeValidator(lambda value: integer(where, value, at_least=at_least))


class Spec(BaseModel):
    """What to measure, on which cases.

    Build it with `load_spec` or `Spec.from_dict`. A Spec that exists is valid: every case it asks for
    has been resolved and checked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=schema.complete)

    title: Annotated[str, _text("title")] = Field("", description="heading of figures and tables")
    question: Annotated[str, _text("question")] = Field("", description="what the experiment asks")
    measure: Annotated[str, BeforeValidator(lambda v: one_of("measure", v, names(), "a known measure"))] = (
        Field("probe", description="what is done with each case")
    )
    seed: Annotated[int, _integer("seed", 0)] = Field(0, description="root of every random stream")
    replicates: Annotated[int, _integer("replicates", 1)] = Field(1, description="copies of every grid point")
    record: Annotated[tuple[str, ...] | None, BeforeValidator(_records)] = Field(
        None, description="names of what is recorded; absent: the usual, as gradlab list records says"
    )
    memory: Annotated[int, BeforeValidator(parse_memory)] = Field(
        2**30, description="bound on the memory of the whole process, in bytes"
    )
    network: Annotated[Table, _section("network")] = Field(default_factory=dict)
    task: Annotated[Table, _section("task")] = Field(default_factory=lambda: dict(sections.FALLBACK["task"]))
    clip: Annotated[Table, _section("clip")] = Field(default_factory=lambda: dict(sections.FALLBACK["clip"]))
    learner: Annotated[Table, _section("learner")] = Field(
        default_factory=lambda: dict(sections.FALLBACK["learner"])
    )
    training: Annotated[Table, _section("training")] = Field(default_factory=dict)
    landscape: Annotated[Table, _section("landscape")] = Field(default_factory=dict)
    sweep: Annotated[tuple[Table, ...], BeforeValidator(_sweeps)] = ()

    _given: Table = PrivateAttr(default_factory=dict)

    def __init__(self, /, **table: Any) -> None:
        self._fill(table, Path.cwd())

    def _fill(self, table: Mapping[str, Any], base: Path) -> None:
        """Read the table, with relative paths from the folder `base`; every problem of it is raised."""
        problems: list[Problem] = []
        given = without_none(plain(table, "", problems))
        rooted, unread = with_paths(given, base), False
        try:
            super().__init__(**rooted)
        except ValidationError as error:
            unread = True  # though all that is wrong may have been told before
            problems += [problem for one in error.errors() for problem in _problems(one)]
            rooted |= {one["loc"][0]: GAP for one in error.errors() if one["loc"][0] in sections.SECTIONS}
        if problems or unread:
            raise UserMistake(dict.fromkeys([*problems, *_beside(rooted)]))
        self._given = given
        if problems := [*_misplaced(self.of_measure, rooted, self.sweeps), *self._unfit()]:
            raise UserMistake(dict.fromkeys(problems))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], base: str | Path | None = None) -> Spec:
        """Return the spec that a table describes.

        Parameters
        ----------
        table : mapping
            What a spec file would hold. NumPy values, tuples and paths are understood.
        base : path, optional
            Folder from which relative paths in the table are read; the current one by default.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        if not isinstance(table, Mapping):
            raise UserMistake(Problem("the spec", "a table", shown(table)))
        spec = cls.__new__(cls)
        spec._fill(table, Path.cwd() if base is None else checked_path("base", base).absolute())
        return spec

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Spec:
        """Return the spec that a table describes; the same as `from_dict`."""
        return obj if isinstance(obj, cls) else cls.from_dict(obj)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **_: Any) -> Spec:
        """Return the spec that a JSON text describes."""
        try:
            return cls.from_dict(json.loads(json_data))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserMistake(Problem("the spec", "JSON", f"the error {str(error)!r}")) from None

    @property
    def given(self) -> Table:
        """The table as it came: forms and relative paths untouched."""
        return copy.deepcopy(self._given)

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """The sweep tables, their forms resolved."""
        return read_sweeps(list(self.sweep))

    @property
    def of_measure(self) -> AbstractMeasure:
        """What is done with each case."""
        return measure_of(self.measure)

    @property
    def base(self) -> Table:
        """The sections and the seed before any axis is applied."""
        return {
            **{section: getattr(self, section) for section in self.of_measure.sections},
            "seed": self.seed,
        }

    def expanded(self) -> Expansion:
        """Return the grid points with their distinct settings; what is wrong with them is raised."""
        # What it is kept by is the text: the tables of a spec can be written into.
        parts = repr((self.measure, self.replicates, self.sweep, self.base))
        kept = self.__dict__.get(_EXPANDED)  # a copy with other values has what its origin came to
        if kept is None or kept[0] != parts:
            kept = parts, resolve(self.of_measure, self.base, self.sweeps, self.replicates)
            self.__dict__[_EXPANDED] = kept
        expansion: Expansion = kept[1]
        return expansion

    def _unfit(self) -> list[Problem]:
        """Return the problems of settings that cannot be built, and of axes with taken names."""
        problems: list[Problem] = []
        with gathering(problems):
            self.expanded()
        return problems + taken_names(self.of_measure, self.record, self.sweeps)

    def to_dict(self) -> Table:
        """Return the plain table with defaults filled in; it gives the same cases again.

        What an axis replaces is left as it was given, for a default there might not fit the axis.
        """
        table: Table = {"title": self.title, "question": self.question, "measure": self.measure}
        table |= {"seed": self.seed, "replicates": self.replicates, "memory": _memory_text(self.memory)}
        if self.record is not None:
            table["record"] = list(self.record)
        keys = [key for sweep in self.sweeps for key in sweep.axes]
        table |= {section: _filled(section, self.base[section], keys) for section in self.of_measure.sections}
        if self.sweep:
            tables = [copy.deepcopy(one) for one in self.sweep]
            table["sweep"] = tables[0] if len(tables) == 1 else tables
        return table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(canonical(self.model_dump()))


def load_spec(path: str | Path) -> Spec:
    """Return the spec in a TOML file; relative paths in it are read from the folder of the file.

    Raises
    ------
    UserMistake
        Where the file cannot be read or is not TOML, or with every problem of the spec.
    """
    path = checked_path("the spec", path, "the path of a TOML file")
    return Spec.from_dict(read_toml(path), path.absolute().parent)


def with_settings(spec: Spec, settings: Sequence[str]) -> Spec:
    """Return the spec with settings replaced.

    Parameters
    ----------
    spec : Spec
        Where to start from.
    settings : sequence of str
        ``KEY=VALUE`` each. The value is a TOML value, or a bare word; a relative path in it is read from
        the current folder. The key is that of any leaf or table. Where it is an axis of the sweep, the
        axis is replaced, by one with a single value if that is what was given. ``sweep.KEY=[...]`` makes
        an axis of any key, and ``sweep.where``, ``sweep.zip`` and ``sweep.rename`` are settings too.

    Raises
    ------
    UserMistake
        With every problem of the settings and of the spec that they make.
    """
    table = {key: getattr(spec, key) for key in Spec.model_fields if key in spec.model_fields_set}
    table["sweep"] = list(spec.sweep)
    return spec_with(table, settings)[0]


def spec_with(table: Table, settings: Sequence[str]) -> tuple[Spec, Table]:
    """Return the spec of a table with settings replaced, and that table; see `with_settings`."""
    table, problems = overridden(table, settings, Spec.model_fields)
    made: list[Spec] = []
    with gathering(problems):
        made.append(Spec.from_dict(table))
    if problems:
        raise UserMistake(dict.fromkeys(problems))
    return made[0], table


def _problems(error: ErrorDetails) -> Sequence[Problem]:
    """Return what a finding of pydantic is in our words."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, UserMistake):
        return cause.problems
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return [Problem(where, "a key of a spec", shown(where), nearest(where, Spec.model_fields))]
    return [Problem(where, error["msg"], shown(error["input"]))]


def _misplaced(measure: AbstractMeasure, table: Mapping[str, Any], sweeps: Sequence[Sweep]) -> list[Problem]:
    """Return the problems of sections and records of a spec that are of another measure than its own."""
    problems = []
    swept = {key.partition(".")[0]: f"{sweep.place}.{key}" for sweep in sweeps for key in sweep.axes}
    for section in sections.SECTIONS:
        if section in measure.sections or not (section in table or section in swept):
            continue
        owners = [name for name in names() if section in measure_of(name).sections]
        expected = f"a section that the measure {measure.name!r} reads"
        hint = f"It belongs to measure = {' or '.join(map(repr, owners))}."
        where = section if section in table else swept[section]
        problems.append(Problem(where, expected, shown(section), hint))
    record = table.get("record") or ()
    given = list(record) if isinstance(record, list | tuple) else [record]
    expected = f"a record of the measure {measure.name!r}"
    return problems + [
        Problem("record", expected, name, nearest(name, measure.records))
        for name in record_names()
        if name in given and name not in measure.records
    ]


def _beside(table: Table) -> list[Problem]:
    """Return what else is wrong with a spec in which problems were found, if it does not follow from them."""
    tables = table.get("sweep", [])
    sweeps, _ = understood(tables if isinstance(tables, list) else [tables])
    measure = (
        measure_of(str(table.get("measure", "probe"))) if table.get("measure", "probe") in names() else None
    )
    swept = {key.partition(".")[0] for sweep in sweeps for key in sweep.axes}
    asked = measure.sections if measure else [key for key in sections.SECTIONS if key in {*table, *swept}]
    base = {section: table.get(section, sections.FALLBACK[section]) for section in asked}
    base = {
        key: {"name": one} if isinstance(one, str) and one is not GAP else one for key, one in base.items()
    }
    base["seed"] = 0 if "seed" not in swept else GAP
    problems = [] if measure is None else _misplaced(measure, table, sweeps)
    with gathering(problems):
        resolve(measure, base, sweeps, 1)
    if measure is not None:
        record = table.get("record")
        given = [record] if isinstance(record, str) else record
        problems += taken_names(measure, given if isinstance(given, list) else None, sweeps)
    return problems


def _filled(section: str, table: Table, keys: Sequence[str]) -> Table:
    """Return a section with its defaults, apart from what the axes `keys` replace."""
    if section in keys or f"{section}.name" in keys:
        return copy.deepcopy(table)
    try:
        full = sections.to_table(section, sections.build(section, table))
    except UserMistake:
        return copy.deepcopy(table)
    if section == "network":
        swept = {key.split(".")[1] for key in keys if key.startswith("network.")}
        full = {k: table.get(k) if k in swept else v for k, v in full.items() if k in table or k not in swept}
    return full
