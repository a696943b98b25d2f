"""Checks that all speak one sentence: *where*: expected *what*, got *that*. *Hint*."""

from __future__ import annotations

import difflib
import errno
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import gaps
from gradlab.core.errors import Problem, UserMistake


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as a message shows it: short, on one line, printable."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def meant(word: object, known: Iterable[str]) -> str:
    """Return the closest known word, "" where none is close."""
    close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the hint that names the closest known word, or lists all of them."""
    names = sorted(known)
    if close := meant(word, names):
        return f"Did you mean {close!r}?"
    return f"Known: {', '.join(names)}." if names else ""


def with_known(
    where: str, table: Mapping[str, Any], known: Collection[str], what: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Return what a table has under known keys, and the problems of its other keys.

    Where another key was probably meant for a known one that is not there, that one is a gap.
    """
    if all(key in known for key in table):
        return dict(table), []
    names = list(known)
    other = [key for key in table if key not in names]
    left = [name for name in names if name not in table]
    problems = [
        Problem(f"{where}.{key}", what, shown(key), nearest(key, names) if names else "It has no settings.")
        for key in other
    ]
    gap = {close: gaps.GAP for key in other if (close := meant(key, names)) in left}
    return {**gap, **{key: value for key, value in table.items() if key in names}}, problems


def one_of(where: str, value: object, known: Iterable[str], what: str = "a known name") -> str:
    """Return `value` if it is one of the `known` names."""
    names = list(known)
    gaps.known(value)
    if isinstance(value, str) and value in names:
        return value
    raise UserMistake(Problem(where, what, shown(value), nearest(value, names)))


def _plain(bound: float) -> str:
    """Return a bound as a person writes it: whole numbers with all their digits."""
    return str(int(bound)) if abs(bound) < 1e15 and float(bound).is_integer() else f"{bound:g}"


def _range_text(
    at_least: float | None, above: float | None, at_most: float | None, below: float | None
) -> str:
    parts = [
        f"{word} {_plain(bound)}"
        for word, bound in (
            ("of at least", at_least),
            ("above", above),
            ("of at most", at_most),
            ("below", below),
        )
        if bound is not None
    ]
    return (" " + " and ".join(parts)) if parts else ""


def number(
    where: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> float:
    """Return `value` as a finite float within the bounds; booleans are not numbers."""
    expected = "a finite number" + _range_text(at_least, above, at_most, below)
    gaps.known(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise UserMistake(Problem(where, expected, shown(value), hint))
    try:
        x = float(value)
    except OverflowError:
        x = math.inf
    inside = (
        math.isfinite(x)
        and (at_least is None or x >= at_least)
        and (above is None or x > above)
        and (at_most is None or x <= at_most)
        and (below is None or x < below)
    )
    if not inside:
        raise UserMistake(Problem(where, expected, shown(value), hint))
    return x


_MOST = (1 << 62) - 1
_EXACT = 2.0**53  # beyond it a float says no more which integer is meant


def integer(
    where: str, value: object, *, at_least: int | None = None, at_most: int | None = None, hint: str = ""
) -> int:
    """Return `value` as an int within the bounds; booleans and fractions are refused."""
    expected = "an integer" + _range_text(at_least, None, at_most, None)
    gaps.known(value)
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value, whole = int(value), True
    if not whole:
        raise UserMistake(Problem(where, expected, shown(value), hint))
    x = int(value)  # type: ignore[call-overload]  # `whole` says it is an integer
    if (at_least is not None and x < at_least) or (at_most is not None and x > at_most):
        raise UserMistake(Problem(where, expected, shown(value), hint))
    return int(x)


def truth(where: str, value: object) -> bool:
    """Return `value` if it is true or false."""
    gaps.known(value)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise UserMistake(Problem(where, "true or false", shown(value)))


def text(where: str, value: object, what: str = "a text") -> str:
    """Return `value` if it is a text."""
    gaps.known(value)
    if isinstance(value, str):
        return str(value)
    raise UserMistake(Problem(where, what, shown(value)))


def texts(where: str, value: Any, what: str) -> tuple[str, ...]:
    """Return the texts of a collection of them; a single one may stand alone."""
    if isinstance(value, str):
        return (value,)
    try:
        return tuple(text(where, one, what) for one in value)
    except TypeError:
        raise UserMistake(Problem(where, what, shown(value))) from None


def checked_path(where: str, value: object, what: str = "a path") -> Path:
    """Return `value` as a path, if there can be one of that name."""
    if not isinstance(value, str | os.PathLike) or "\0" in os.fsdecode(value):
        raise UserMistake(Problem(where, what, shown(value)))
    try:
        os.stat(value)
    except OSError as error:  # any other one is for those who know what is to be there
        if error.errno == errno.ENAMETOOLONG:
            raise UserMistake(too_long(where, value)) from None
    return Path(os.fsdecode(value))


def too_long(where: str, path: object) -> Problem:
    """Return what is wrong with a path that no disk can hold."""
    return Problem(where, "a path that the disk can hold", f"a name that is too long, {shown(str(path), 40)}")


def size(where: str, value: object) -> int:
    """Return `value` as the size of an array: an int of at least 1 that an index can hold."""
    x = integer(where, value, at_least=1)
    return x if x <= _MOST else integer(where, value, at_least=1, at_most=_MOST)


def array(
    where: str, value: Any, shape: Sequence[int | None], dims: str, *, dtype: str = "float64", hint: str = ""
) -> NDArray[Any]:
    """Return `value` as a finite array of `shape` (None: any length); `dims` names the dimensions."""
    wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
    expected = f"finite numbers of shape {wanted} ({dims})"
    gaps.known(value)
    try:
        result = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise UserMistake(Problem(where, expected, shown(value), hint)) from None
    if result.ndim != len(shape) or any(
        n is not None and n != m for n, m in zip(shape, result.shape, strict=True)
    ):
        raise UserMistake(Problem(where, expected, f"shape {result.shape}", hint))
    if not np.isfinite(result).all():
        raise UserMistake(Problem(where, expected, "NaN or infinity among them", hint))
    return result
