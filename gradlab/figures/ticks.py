"""Ticks at numbers that a reader can name."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from gradlab.figures import style

_OFF = 0.02
"""How far a tick's text may be from its number, relative to it."""


def plain(axis: Axis, most: int = 5, *, whole: bool = False) -> None:
    """Put at most `most` ticks, at round numbers (whole ones where it has only such), on an axis."""
    low, high = axis.get_view_interval()
    # Three at least: from two a reader cannot tell the scale at a glance.
    least = int(np.clip(np.floor(high) - np.ceil(low) + 1, 1, 3)) if whole else 2
    steps = [1, 2, 2.5, 5, 10]
    axis.set_major_locator(MaxNLocator(most, steps=steps, integer=whole, min_n_ticks=least))


def at(ax: Axes, which: str, values: NDArray[Any], most: int = 8) -> None:
    """Scale the x or y axis for these numbers, with ticks at the numbers themselves if they are few."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    geometric = style.is_geometric(values)
    if geometric:
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    if len(values) <= most and (geometric or len(values) <= 4):
        axis.set_major_locator(FixedLocator([float(v) for v in values]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(_short_numbers(values) if geometric else _plain_numbers())
    elif not geometric:
        plain(axis)


def _plain_numbers() -> ScalarFormatter:
    formatter = ScalarFormatter()
    formatter.set_scientific(False)
    return formatter


def _short_numbers(values: NDArray[Any]) -> FuncFormatter:
    """Return a formatter of numbers of a geometric scale: two digits, or three where two say too little."""
    numbers = np.unique(np.asarray(values, dtype=np.float64))
    texts = [_short(number, 2) for number in numbers]
    near = np.allclose([float(text) for text in texts], numbers, rtol=_OFF, atol=0.0)
    digits = 2 if near and len(set(texts)) == len(texts) else 3
    return FuncFormatter(lambda value, place: _short(value, digits))


def _short(value: float, digits: int) -> str:
    return f"{value:g}" if value >= 100 else f"{value:.{digits}g}"
