"""How far two sets of numbers of the same cases are apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Compared:
    """One variable, in cases.

    Parameters
    ----------
    name : str
    identical, within, different : int
        Cases with the same bits; not the same but within the tolerance; further apart.
    worst : float
        The tolerance that would be needed; see `distances`.
    at : dict
        Labels of the case that has it; empty without a difference.
    """

    name: str
    identical: int
    within: int
    different: int
    worst: float
    at: dict[str, Any]


def compare(
    name: str, old: Array, new: Array, tolerance: float, at: Callable[[int], dict[str, Any]]
) -> Compared:
    """Return how a variable of some cases compares.

    Parameters
    ----------
    name : str
    old, new : ndarray, shape (cases, ...)
    tolerance : float
        Relative and absolute.
    at : callable
        Gives the labels of the case with a number.
    """
    different, apart = distances(old, new, tolerance)
    same = apart < 0
    changed = np.flatnonzero(~same)
    if not len(changed):
        return Compared(name, len(same), 0, 0, 0.0, {})
    worst = int(changed[np.argmax(apart[changed] + different[changed])])  # of zeros, one that counts
    count = int(different.sum())
    return Compared(
        name, int(same.sum()), len(changed) - count, count, float(max(apart[worst], 0.0)), at(worst)
    )


def worst_first(compared: list[Compared]) -> tuple[Compared, ...]:
    """Return variables in the order in which they are told."""
    return tuple(sorted(compared, key=lambda one: (-one.worst, -one.different, -one.within, one.name)))


def distances(old: Array, new: Array, tolerance: float) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return of every case whether it is different, and how far apart; -1 where bits are the same.

    Numbers a and b are ``|a - b| / (1 + max(|a|, |b|))`` apart: absolutely where they are small, relatively
    where they are large; and different if that is more than the tolerance. Every NaN is the same. What is
    infinite or NaN on one side only is infinitely far apart; whole numbers and texts are, if they differ.
    """
    cases = len(old)
    if old.dtype.kind != "f" or new.dtype.kind != "f":
        unlike = (np.asarray(old) != np.asarray(new)).reshape(cases, math.prod(old.shape[1:])).any(axis=1)
        return unlike, np.where(unlike, np.inf, -1.0)
    a, b = (
        np.ascontiguousarray(one, dtype=np.float64).reshape(cases, math.prod(one.shape[1:]))
        for one in (old, new)
    )
    alike = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b) / (1.0 + np.maximum(np.abs(a), np.abs(b)))
    # Infinities of one sign have the same bits; any other gap that is no number is beyond every limit.
    finite = np.isfinite(a) & np.isfinite(b)
    gap = np.where(alike, -1.0, np.where(finite, gap, np.inf))
    beyond = ~alike & ~(finite & (gap <= tolerance))
    return beyond.any(axis=1), gap.max(axis=1, initial=-1.0)
