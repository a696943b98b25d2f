"""Ticks at numbers that a reader can name."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gradlab.figures import style

_POINTS = 72
_FILLED, _LETTER = 0.8, 0.6
"""The share of a figure's width that its axes fill; the width of a letter by its size."""
_LONGEST = 6
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
        places = np.unique(np.asarray(values, dtype=np.float64))
        formatter = _short_numbers(places) if geometric else _plain_numbers(places)
        if which == "x":
            texts = [formatter(place, 0) for place in places]
            places = places[_apart(ax, np.log(places) if geometric else places, texts)]
        axis.set_major_locator(FixedLocator(places.tolist()))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(formatter)
    elif not geometric:
        plain(axis)


def _apart(ax: Axes, places: NDArray[np.float64], texts: list[str]) -> list[int]:
    """Return which of the texts below ascending places do not run into the one before."""
    spec = ax.get_subplotspec()
    figure = ax.get_figure(root=True)
    inches = figure.get_figwidth() if figure is not None else 1.0
    width = inches * _POINTS * _FILLED / (spec.get_gridspec().ncols if spec else 1)
    size = FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points()
    scale = width / (np.ptp(places) * len(places) / max(1, len(places) - 1) or 1.0)
    kept, end = [], -np.inf
    for i, (place, text) in enumerate(zip(places * scale, texts, strict=True)):
        half = size * _LETTER * (len(text) + 1) / 2
        if place - half >= end:
            kept.append(i)
            end = place + half
    return kept


def _plain_numbers(numbers: NDArray[np.float64]) -> FuncFormatter:
    """Return a formatter that gives all numbers as many decimals as the one that needs most."""
    texts = [f"{number:g}" for number in numbers]
    if any("e" in text for text in texts) or max(map(len, texts)) > _LONGEST:
        return FuncFormatter(lambda value, place: f"{value:.3g}")
    decimals = max(len(text.partition(".")[2]) for text in texts)
    return FuncFormatter(lambda value, place: f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}"))


def _short_numbers(numbers: NDArray[np.float64]) -> FuncFormatter:
    """Return a formatter of numbers of a geometric scale: two digits, or three where two say too little."""
    texts = [_short(number, 2) for number in numbers]
    near = np.allclose([float(text) for text in texts], numbers, rtol=_OFF, atol=0.0)
    digits = 2 if near and len(set(texts)) == len(texts) else 3
    return FuncFormatter(lambda value, place: _short(value, digits))


def _short(value: float, digits: int) -> str:
    return f"{value:g}" if value >= 100 else f"{value:.{digits}g}"
