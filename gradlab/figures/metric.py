"""The map of what trainings reached: the metric at their end over two axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.figures import images, maps, panels, style
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of, divided, evenly, other_axes, rule_axis, with_regulariser
from gradlab.figures.selection import (
    DIVERGED,
    axes_of,
    axis_label,
    counted_out,
    is_numeric,
    masked,
    narrowed,
    numeric_axes,
    replicates_words,
    sliced,
    spread,
)
from gradlab.figures.training import diverged_words, metric_label

_RECORD = "final_metric"
_MOST = 4
_WORDS = {"gone": "half of the runs or more diverged", "outside": "not in the sweep", "missing": "no metric"}
_RATE = "training.optimiser.rate"
_SOLVED: dict[str, Any] = {
    "linestyle": "none", "marker": "o", "color": "white", "markersize": 3, "markeredgecolor": "black",
    "markeredgewidth": 0.5,
}  # fmt: skip
_LEVEL: dict[str, Any] = {"color": "black", "linewidth": 0.8}


@registry.register
@dataclass(frozen=True)
class Metric(AbstractFigure):
    """The metric of trained networks on the evaluation set over two axes, the median of replicates.

    A run that diverged counts as infinitely bad. A dot marks where most runs met the criterion of
    their task; what simple predictors reach is drawn in the bar of colours, where it is on its scale.

    Parameters
    ----------
    x, y : str, optional
        The two axes; by default the learning rate, or another of several values, along x, and the clip
        rule, or another, as rows.
    """

    name: ClassVar[str] = "metric"
    summary: ClassVar[str] = "map of the metric at the end of trainings over two axes, clip rules as rows"
    variables: ClassVar[tuple[str, ...]] = (_RECORD,)
    along_update: ClassVar[bool] = True

    x: str = ""
    y: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        ds = with_regulariser(narrowed(ds, _RECORD), self.x, self.y)
        x, y = self._axes(ds)
        panel = next(iter(other_axes(ds, x, y)), None)
        cut = evenly(sliced(ds, (x, y, panel)), panel, _MOST)
        part = cut.ds.sortby([axis for axis in (x, y) if is_numeric(cut.ds, axis)])
        titles, parts = divided(part, panel)
        found = [_medians(one, x, y) for one in parts]
        finite = images.finite(found)
        norm = images.scale(*((finite.min(), finite.max()) if finite.size else (0.0, 1.0)))
        page = maps.page(titles, part, y)
        signs: set[str] = set()
        for ax, one, values in zip(page.axes, parts, found, strict=True):
            signs |= _draw_map(ax, one, (x, y), values, norm)
        panels.name_axes(page, *(axis_label(part, axis) for axis in (x, y)))
        bar = images.bar(page, norm, metric_label(ds), aspect=30)
        low, high = norm.vmin or 0.0, norm.vmax or 0.0
        levels = [level for level in _levels(part) if low <= level <= high]
        for level in levels:
            bar.ax.axhline(level, gid="baseline", **_LEVEL)
        _explain(page.figure, signs | ({"baseline"} if levels else set()))
        words = [replicates_words(part, "median"), diverged_words(part), counted_out(part, DIVERGED)]
        panels.small_print(page.figure, [*cut.words, *words])
        return page.figure

    def _axes(self, ds: xr.Dataset) -> tuple[str, str]:
        maps.check_options(self.name, ds, self.x, self.y)
        several = [axis for axis in axes_of(ds) if ds.sizes[axis] > 1]
        along = [axis_of(ds, _RATE), *numeric_axes(ds), *several]
        rows = [rule_axis(ds), *other_axes(ds)]
        y = self.y or next((axis for axis in rows if axis in several and axis != self.x), "")
        x = self.x or next((axis for axis in along if axis in several and axis != y), "")
        return maps.check_axes(self.name, ds, x or "", y or "")


def _medians(part: xr.Dataset, x: str, y: str) -> NDArray[np.float64]:
    """Return median metrics (y, x): infinite where half of the runs or more diverged, NaN where none ran."""
    return spread(masked(part, _RECORD, DIVERGED).transpose(y, x, "replicate").values, axis=2).median


def _draw_map(
    ax: Axes, part: xr.Dataset, axes: tuple[str, str], values: NDArray[np.float64], norm: Normalize
) -> set[str]:
    """Draw one panel; return which of "solved", "gone", "outside" and "missing" is in it."""
    cells = maps.draw(ax, part, axes, values, style.sequential(), norm)
    outside = maps.outside(part, *axes)
    there = {"gone": np.isposinf(values), "outside": outside, "missing": np.isnan(values) & ~outside}
    cells.mark(ax, there["gone"], "diverged", "gone")
    cells.mark(ax, outside, "outside", "outside")
    if "solved_at" in part:
        x, y = axes
        solved = masked(part, "solved_at", DIVERGED).transpose(y, x, "replicate")
        ran = solved.notnull().sum("replicate").values
        there["solved"] = 2 * (solved >= 0).sum("replicate").values > ran
        rows, columns = np.nonzero(there["solved"])
        ax.plot(cells.x[columns], cells.y[rows], gid="solved", **_SOLVED)
    return {name for name, which in there.items() if which.any()}


def _levels(ds: xr.Dataset) -> list[float]:
    """Return what simple predictors reach in the metric, where that is the same in all cases."""
    if "baseline" not in ds:
        return []
    data = masked(ds, "baseline", DIVERGED).transpose("predictor", ...)
    found = [np.unique(one[np.isfinite(one)]) for one in data.values]
    return [float(one[0]) for one in found if one.size == 1]


def _explain(figure: Figure, signs: set[str]) -> None:
    handles = [
        Line2D([], [], label=label, **look)
        for name, label, look in (
            ("solved", "criterion met by most", _SOLVED),
            ("baseline", "simple predictors", _LEVEL),
        )
        if name in signs
    ]
    found = [*handles, *maps.handles(signs, _WORDS)]
    if found:
        panels.legend(figure, found)
