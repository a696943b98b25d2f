"""Catalogues: one folder, one file an entry, one registration.

An entry is a frozen dataclass. Its fields are its settings; what it claims about itself stands on
it as class variables. In a spec, an archive and a listing it is the same table:
``{name = "...", setting = value, ...}``, or the bare name where every setting has a default.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import pkgutil
import re
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from gradlab.core import gaps
from gradlab.core.checks import nearest, shown, with_known
from gradlab.core.errors import Problem, UserMistake, gathering


class Named(Protocol):
    """What every catalogue entry has besides being a frozen dataclass."""

    name: ClassVar[str]


E = TypeVar("E", bound=Named)
D = TypeVar("D")
Table = dict[str, Any]


class Registry(Generic[E]):
    """The entries of one catalogue by name.

    Parameters
    ----------
    kind : str
        What an entry is, in the singular ("activation"): the word messages use.
    package : str
        The folder's import path. A module is imported when its entry is first asked for, and all are
        when the whole catalogue is.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self._package = package
        self._entries: dict[str, type[E]] = {}
        self._loaded = False

    def register(self, entry: type[E]) -> type[E]:
        """Add an entry (a class decorator)."""
        if entry.name in self._entries:
            raise ValueError(f"two entries are named {entry.name!r} in the catalogue of {self.kind}")
        self._entries[entry.name] = entry
        return entry

    def _load(self) -> dict[str, type[E]]:
        if not self._loaded:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self._package}.{module.name}")
            self._loaded = True
        return self._entries

    def _found(self, name: object) -> bool:
        """Look for an entry in the module of its name; whether it is there."""
        if not isinstance(name, str):
            return False
        if name not in self._entries and name.isidentifier() and not name.startswith("_"):
            with contextlib.suppress(ModuleNotFoundError):  # the name is nobody's
                importlib.import_module(f"{self._package}.{name}")
        return name in self._entries

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        return sorted(self._load())

    def __iter__(self) -> Iterator[type[E]]:
        return iter([self._load()[name] for name in self.names()])

    def get(self, name: object, where: str = "name") -> type[E]:
        """Return the entry called `name`; an unknown name is the user's mistake."""
        entries = self._entries if self._found(gaps.known(name)) else self._load()
        if not isinstance(name, str) or name not in entries:
            raise UserMistake(
                Problem(where, f"the name of a known {self.kind}", shown(name), nearest(name, entries))
            )
        return entries[name]

    def build(self, setting: object, where: str = "") -> E:
        """Return the entry that `setting` (a name, a table, or an entry) describes.

        Raises
        ------
        UserMistake
            With every unknown, missing or unfit setting.
        """
        where = where or self.kind
        if isinstance(setting, tuple(self._entries.values())):  # what is an entry has been loaded
            return typing.cast(E, setting)
        gaps.known(setting)
        table = {"name": setting} if isinstance(setting, str) else setting
        if not isinstance(table, Mapping) or "name" not in table:
            article = "an" if self.kind[0] in "aeio" else "a"
            raise UserMistake(
                Problem(
                    where,
                    f"the name of {article} {self.kind}, or a table with one",
                    shown(setting),
                    nearest("", self.names()),
                )
            )
        entry = self.get(table["name"], where if isinstance(setting, str) else f"{where}.name")
        return build(entry, {k: v for k, v in table.items() if k != "name"}, where)


def settings_of(entry: Any) -> Table:
    """Return an entry's settings as the plain table that builds it again."""
    table: Table = {"name": entry.name}
    for field in dataclasses.fields(entry):
        if field.init:
            table[field.name] = _plain(getattr(entry, field.name))
    return table


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and hasattr(value, "name"):
        return settings_of(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def build(entry: type[E], table: Mapping[str, Any], where: str) -> E:
    """Construct a frozen dataclass from a table, reporting every problem at once.

    The mistake that is raised has in `rest` what could be made all the same, with gaps.
    """
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, entry)) if f.init}
    hints = _hints(entry)
    table, problems = with_known(where, table, fields, f"a setting of {entry.name!r}")
    values: dict[str, Any] = {}
    for key, value in table.items():
        try:
            values[key] = _coerced(key, gaps.known(value), hints[key])
        except UserMistake as mistake:
            problems += [p.under(where) for p in mistake.problems]
    for key, field in fields.items():
        if _required(field) and key not in table:
            problems.append(Problem(f"{where}.{key}", "a value", "nothing", f"{entry.name!r} needs it."))
    lacking = {
        key for key, field in fields.items() if key not in values and (key in table or _required(field))
    }
    made, found = checked(entry, values, lacking)
    problems += [problem.under(where) for problem in found]
    if problems or lacking:
        raise UserMistake(problems, made)
    return made


def checked(
    cls: type[D], values: Mapping[str, Any], lacking: Collection[str] = ()
) -> tuple[D, list[Problem]]:
    """Return a frozen dataclass and what its own checks complain of.

    What they complain of is a gap in it, as are the fields that are `lacking`. They are made again after
    each complaint, with that gap: what only follows from it is not told.
    """
    if not lacking:
        with contextlib.suppress(UserMistake):
            return cls(**values), []
    fields = [field for field in dataclasses.fields(typing.cast(Any, cls)) if field.init]
    full = {f.name: f.default for f in fields if not _required(f) and f.name not in lacking} | dict(values)
    told: list[Problem] = []
    while True:
        made = gaps.with_gaps(cls, full)
        found: list[Problem] = []
        with gathering(found):
            getattr(made, "__post_init__", lambda: None)()
        places = {problem.where for problem in told}
        new = [problem for problem in found if problem.where not in places]
        if not new:
            return made, told
        told.append(new[0])
        full.pop(re.split(r"[.\[]", new[0].where)[0], None)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def _hints(entry: Any) -> dict[str, Any]:
    return typing.get_type_hints(entry)


def _coerced(key: str, value: Any, hint: Any) -> Any:
    """Return `value` fit for a field annotated `hint`; only the kinds settings use are known."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, type(int | str)) else (hint,)
    if value is None and type(None) in options:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is float and number:
            try:
                return float(value)
            except OverflowError:
                break
        if origin is int and number and float(value).is_integer():
            return int(value)
        if origin is bool and isinstance(value, bool):
            return value
        if origin is str and isinstance(value, str):
            return value
        if origin is tuple and isinstance(value, list | tuple):
            return _frozen(value)
    words = {float: "a number", int: "an integer", bool: "true or false", str: "a text", tuple: "a list"}
    kinds = [words.get(typing.get_origin(o) or o, "a value") for o in options if o is not type(None)]
    raise UserMistake(Problem(key, " or ".join(kinds), shown(value)))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
