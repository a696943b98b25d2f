"""Gaps: settings of which something wrong has been told, so that the rest can be checked without them.

Nothing that depends on a gap is told: whoever reads one gets a `UserMistake` without a problem. Checks that
collect what each of them complains of are thereby complete, and none complains of what another one has told.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gradlab.core.errors import Problem, UserMistake, gathering

T = TypeVar("T")


class Gap(enum.StrEnum):
    """What stands in a plain table where a value has been told of; a text, as TOML could hold."""

    GAP = "?"

    def __repr__(self) -> str:
        return self.value


GAP = Gap.GAP


def known(value: T) -> T:
    """Return a plain value, unless it is a gap: then there is nothing to be told of it."""
    if value is GAP:
        raise UserMistake(())
    return value


def together(*checks: Callable[[], Any]) -> list[Any]:
    """Make every check and return what they give, or raise what all of them complain of.

    Those of single settings come first: what needs several of them is to be checked after this.
    """
    found, problems = [], list[Problem]()
    for check in checks:
        with gathering(problems):
            found.append(check())
    if problems:
        raise UserMistake(dict.fromkeys(problems))
    return found


class _Unreadable:
    """A field that is a gap, until somebody sets it."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise UserMistake(())


@functools.cache
def _class_with_gaps(cls: Any, gaps: frozenset[str]) -> type:
    """Return the class with gaps; two of its instances are equal if what they have is."""

    def same(self: Any, other: Any) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def mark(self: Any) -> int:
        return hash(frozenset(vars(self)))  # values may be anything, for they are unchecked

    own = {"__eq__": same, "__hash__": mark, "without_gaps": cls, **dict.fromkeys(gaps, _Unreadable())}
    return type(cls.__name__, (cls,), own)


def with_gaps(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of a frozen dataclass with these values, unchecked; its other fields are gaps."""
    entry: Any = cls
    names = {field.name for field in dataclasses.fields(entry)}
    made: T = object.__new__(_class_with_gaps(entry, frozenset(names - values.keys())))
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def in_common(settings: Sequence[T]) -> T:
    """Return what several settings have in common: frozen dataclasses have gaps where they differ."""
    if len(settings) == 1:
        return settings[0]
    classes: set[Any] = {getattr(type(one), "without_gaps", type(one)) for one in settings}
    if len(classes) > 1 or not dataclasses.is_dataclass(settings[0]):
        return NOTHING_KNOWN  # type: ignore[no-any-return]  # it stands for anything
    own = [vars(one) for one in settings]
    same = {key: value for key, value in own[0].items() if all(key in o and o[key] == value for o in own)}
    found: T = with_gaps(classes.pop(), same)
    return found


class _Nothing:
    """A thing of which nothing is known."""

    def __getattr__(self, name: str) -> Any:
        raise UserMistake(())


#: What stands for the settings of a section of which not even the kind is known.
NOTHING_KNOWN: Any = _Nothing()
