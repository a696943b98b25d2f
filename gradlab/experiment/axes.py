"""Axes of a sweep: from the forms they may have in a spec to their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import integer, number, shown, truth, with_known
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import GAP, known

RANGE_KEYS = ("start", "stop", "num", "step", "logspace")
LONGEST = 1_000_000  # values of one axis
DIGITS = 12  # of the values of a range: 0.55, not 0.5500000000000003

Kind = Literal["number", "text", "truth"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One dimension of a grid.

    Parameters
    ----------
    name : str
        Name of the dimension, and of the coordinate of its first key.
    keys : tuple of str
        The dotted keys that it sets; several where they are zipped.
    values : tuple of tuple
        One inner tuple a point of the axis, with one plain value a key.
    coordinates : dict of str to array
        Coordinate name -> what stands along the axis for one key: int64, float64 or StringDType.
    kinds : tuple of {"number", "text", "truth"}
        What the values of each key are, in the order of `keys`.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    coordinates: dict[str, NDArray[Any]]
    kinds: tuple[Kind, ...]

    @property
    def names(self) -> dict[str, str]:
        """Name of the coordinate of each key."""
        return dict(zip(self.keys, self.coordinates, strict=True))

    def __len__(self) -> int:
        """Return the number of points along the axis."""
        return len(self.values)


def is_range(setting: object) -> bool:
    """Return whether a table describes a range rather than a table of further keys."""
    return isinstance(setting, Mapping) and any(
        key in RANGE_KEYS and not isinstance(value, list | Mapping) for key, value in setting.items()
    )


def axis_values(setting: object, where: str) -> list[Any]:
    """Return the values that an axis takes.

    Parameters
    ----------
    setting : list or mapping
        The values themselves, or ``{start, stop, num}``, ``{start, stop, step}`` (with the stop where a
        step hits it) or ``{logspace = true, start, stop, num}``. The ends of a range are exact, what lies
        between is rounded to `DIGITS` significant digits; a range between integers that meets only
        integers gives integers.
    where : str
        The key, for messages.

    Raises
    ------
    UserMistake
        Where the axis has no values, too many, some of different kinds, or is in none of these forms.
    """
    known(setting)
    if isinstance(setting, Mapping):
        return _range(setting, where)
    if not isinstance(setting, list):
        expected = "a list of values, or a range such as {start = 0.5, stop = 1.5, num = 21}"
        raise UserMistake(Problem(where, expected, shown(setting), "One value is written [value]."))
    if not setting:
        raise UserMistake(Problem(where, "at least one value", "an empty list"))
    if len(setting) > LONGEST:
        raise UserMistake(Problem(where, f"at most {LONGEST} values", str(len(setting))))
    kind_of(setting, where)
    return list(setting)


def kind_of(values: list[Any], where: str) -> Kind:
    """Return what all of the values are: numbers, truth values, or texts, lists and tables with labels.

    Raises
    ------
    UserMistake
        Where they are of several kinds, or numbers that no coordinate can hold.
    """
    kinds: dict[Kind, Any] = {}
    for value in values:
        if value is GAP:
            continue
        if isinstance(value, bool):
            kinds.setdefault("truth", value)
        elif isinstance(value, int | float):
            kinds.setdefault("number", value)
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise UserMistake(Problem(where, "integers of 64 bits", shown(value)))
        elif isinstance(value, str | list | Mapping):
            kinds.setdefault("text", value)
        else:
            raise UserMistake(Problem(where, "numbers, texts, booleans or tables", shown(value)))
    if len(kinds) > 1:
        got = " and ".join(shown(value) for value in kinds.values())
        raise UserMistake(
            Problem(where, "values of one kind: all numbers, all booleans, or all names and tables", got)
        )
    return next(iter(kinds), "text")


def _range(table: Mapping[str, Any], where: str) -> list[int | float]:
    table, problems = with_known(where, table, RANGE_KEYS, "a part of a range")
    log = table.get("logspace", False)
    with gathering(problems):
        truth(f"{where}.logspace", log)
    spacing = [key for key in ("num", "step") if key in table]
    if len(spacing) != 1:
        got = "both" if spacing else "neither"
        problems.append(Problem(where, "one of num and step in a range", got))
    elif log is True and spacing == ["step"]:
        problems.append(Problem(f"{where}.step", "num in a range with logspace", "step"))
    above = 0.0 if log is True else None
    for key in ("start", "stop", "step"):
        with gathering(problems):
            if key in table:
                number(f"{where}.{key}", table[key], above=None if key == "step" else above)
            elif key != "step":
                problems.append(
                    Problem(f"{where}.{key}", "a number", "nothing", "A range has a start and a stop.")
                )
    if "num" in table:
        with gathering(problems):
            integer(f"{where}.num", table["num"], at_least=1, at_most=LONGEST)
    if problems or any(value is GAP for value in table.values()):
        raise UserMistake(problems)
    start, stop = table["start"], table["stop"]
    if "step" in table:
        values = _stepped(start, stop, table["step"], where)
    else:
        values = _spaced(start, stop, int(table["num"]), log=log)
    whole = (
        isinstance(start, int)
        and isinstance(stop, int)
        and all(float(value).is_integer() for value in values)
    )
    return [int(value) for value in values] if whole else [float(value) for value in values]


def _rounded(value: float | Fraction) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def _decimal(value: float) -> Fraction:
    """Return the number as the user wrote it: 0.1 is a tenth, not the double next to it."""
    return Fraction(repr(value))


def _stepped(start: float, stop: float, step: float, where: str) -> list[float]:
    if step == 0 or (stop - start) * step < 0:
        expected = "a step that leads from start to stop"
        raise UserMistake(
            Problem(f"{where}.step", expected, f"{shown(step)} from {shown(start)} to {shown(stop)}")
        )
    first, last, by = _decimal(start), _decimal(stop), _decimal(step)
    count = (last - first) // by + 1
    if count > LONGEST:
        raise UserMistake(Problem(f"{where}.step", f"at most {LONGEST} values", str(count)))
    written = int if all(isinstance(value, int) for value in (start, stop, step)) else _rounded
    values = [start, *(written(first + i * by) for i in range(1, count))]
    if count > 1 and first + (count - 1) * by == last:
        values[-1] = stop
    return values


def _spaced(start: float, stop: float, num: int, *, log: bool) -> list[float]:
    if num == 1:
        return [start]
    if log:
        growth = math.log(stop) - math.log(start)
        inner = [_rounded(math.exp(math.log(start) + growth * i / (num - 1))) for i in range(1, num - 1)]
    else:
        first, last = _decimal(start), _decimal(stop)
        # first + (last - first) * i / (num - 1) over one denominator: a quotient of integers is rounded
        # once, as that of a fraction is
        whole = first.denominator * last.denominator
        low, high = int(first * whole), int(last * whole)
        below = whole * (num - 1)
        above = [low * (num - 1 - i) + high * i for i in range(1, num - 1)]
        integers = isinstance(start, int) and isinstance(
            stop, int
        )  # those that it meets have all their digits
        inner = [n // below if integers and n % below == 0 else _rounded(n / below) for n in above]
    return [start, *inner, stop]


def numbers(values: list[Any]) -> NDArray[Any]:
    """Return numeric values as an int64 array where all are integers, else as float64."""
    whole = all(isinstance(value, int) for value in values)
    given = [math.nan if value is GAP else value for value in values]
    return np.array(given, dtype=np.int64 if whole else np.float64)
