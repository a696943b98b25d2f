"""Local smoothness against the norm of the gradient, along the path of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.figures import panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import evenly, other_axes, rule_axis
from gradlab.figures.needs import check_updates
from gradlab.figures.selection import (
    DIVERGED,
    MOST_LABELS,
    axis_label,
    chosen_axis,
    counted_out,
    masked,
    narrowed,
    replicates_words,
    sliced,
    why_empty,
)
from gradlab.figures.training import diverged_words
from gradlab.figures.words import typeset

_RECORD, _NORM = "smoothness", "log10_gradient_norm"
_FEWEST = 3
"""Fewer points have no slope."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@registry.register
@dataclass(frozen=True)
class Smoothness(AbstractFigure):
    """The local smoothness of the loss against the norm of its gradient, both by their logarithms.

    A point a recorded update, a colour a clip rule; the slopes are those of least squares over all
    points of a rule. Where the smoothness grows with the gradient, clipping gives the longer steps
    (Zhang and others 2020).

    Parameters
    ----------
    curve : str, optional
        The axis whose values have colours; by default the clip rule.
    """

    name: ClassVar[str] = "smoothness"
    summary: ClassVar[str] = "local smoothness against gradient norm along the path of a training"
    variables: ClassVar[tuple[str, ...]] = (_RECORD, _NORM)
    along_update: ClassVar[bool] = True

    curve: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        check_updates(ds, self.name, _RECORD, _NORM)
        ds = narrowed(ds, _RECORD)
        chosen = chosen_axis(ds, self.name, "curve", self.curve)
        curve = chosen or rule_axis(ds) or next(iter(other_axes(ds)), None)
        cut = evenly(sliced(ds, (curve,)), curve, MOST_LABELS)
        key = panels.colour_key(cut.ds, curve)
        page = panels.grid([""], 2.2)
        handles, lost = [], 0
        for i, (x, y) in enumerate(_points(cut.ds, curve)):
            there = np.isfinite(x) & np.isfinite(y)
            lost += int((~np.isnan(x) & ~np.isnan(y) & ~there).sum())
            handles += _draw_points(page.axes[0], x[there], y[there], i, key)
        if not handles:
            panels.say(page.axes[0], why_empty(cut.ds, _RECORD))
        ticks.plain(page.axes[0].xaxis, 5)
        ticks.plain(page.axes[0].yaxis, 5)
        panels.name_axes(page, axis_label(ds, _NORM), typeset("log10 local smoothness"))
        if handles:
            panels.legend(page.figure, handles, key.title or None)
        many = replicates_words(cut.ds, "recorded updates")
        beyond = f"{lost} points of no or infinite smoothness or norm left out" if lost else ""
        words = [*cut.words, many, beyond, diverged_words(cut.ds), counted_out(cut.ds, DIVERGED)]
        panels.small_print(page.figure, words)
        return page.figure


def _points(ds: xr.Dataset, curve: str | None) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return log10 norms and log10 smoothness of all recorded updates, of each value of the axis."""
    found = []
    for name in (_NORM, _RECORD):
        data = masked(ds, name, DIVERGED)
        data = data.expand_dims("one") if curve is None else data
        values = data.transpose("one" if curve is None else curve, "replicate", "update").values
        found.append(np.asarray(values, dtype=np.float64).reshape(len(values), -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return list(zip(found[0], np.log10(found[1]), strict=True))


def fitted(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return slope and intercept of least squares, and the correlation; None where there is no line."""
    if x.size < _FEWEST or np.ptp(x) == 0.0:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx @ dy) / (dx @ dx))
    spread = float(np.sqrt(dx @ dx) * np.sqrt(dy @ dy))
    return slope, float(y.mean() - slope * x.mean()), float(dx @ dy) / spread if spread > 0 else np.nan


def _draw_points(
    ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], i: int, key: panels.Key
) -> list[Line2D]:
    """Draw the points of a rule and its line; return how the legend names them."""
    if not x.size:
        return []
    colour, name = key.colours[i], key.names[i]
    look: dict[str, Any] = {
        "linestyle": "none",
        "marker": _MARKERS[i % len(_MARKERS)],
        "markeredgewidth": 0.0,
    }
    ax.plot(x, y, color=colour, markersize=2.2, alpha=0.5, rasterized=True, gid="points", **look)
    line = fitted(x, y)
    words = "no slope"
    if line is not None:
        slope, level, correlation = line
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, level + slope * ends, color=colour, linestyle=key.lines[i], linewidth=1.0, gid="fit")
        words = f"slope {slope:.2f}, correlation {correlation:.2f}".replace("-", "\N{MINUS SIGN}")
    return [Line2D([], [], color=colour, markersize=3.5, label=f"{name}: {words}" if name else words, **look)]
