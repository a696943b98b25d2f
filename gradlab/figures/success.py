"""The share of trained networks that solved their task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of, divided, evenly, other_axes, rule_axis, with_regulariser
from gradlab.figures.selection import (
    DIVERGED,
    MOST_LABELS,
    OK,
    axes_of,
    axis_label,
    chosen_axis,
    counted_out,
    is_numeric,
    numeric_axes,
    replicates_of,
    sliced,
)
from gradlab.figures.training import diverged_words
from gradlab.figures.words import literal

_RECORD = "solved_at"
_QUANTILE = 1.959963984540054  # of the normal distribution, at 97.5 %
_MOST = 4
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@registry.register
@dataclass(frozen=True)
class Success(AbstractFigure):
    """The share of runs that met the criterion of their task, with Wilson's 95 % intervals.

    A run that diverged without having met it counts as not solved.

    Parameters
    ----------
    x, curve, panel : str, optional
        The axis of numbers along x (by default the length of the sequences, else the first of them),
        and those whose values become curves (the clip rule) and panels.
    """

    name: ClassVar[str] = "success"
    summary: ClassVar[str] = (
        "share of trained networks that solved their task against length, a curve a clip rule"
    )
    variables: ClassVar[tuple[str, ...]] = (_RECORD,)
    along_update: ClassVar[bool] = True

    x: str = ""
    curve: str = ""
    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        if ds.attrs.get("criterion") == "":
            task = f"the task {ds.attrs['task']}" if "task" in ds.attrs else "a task"
            expected = "trainings of a task with a criterion of success"
            raise UserMistake(Problem(f"figure {self.name!r}", expected, f"{task}, which has none"))
        ds = with_regulariser(ds, self.x, self.curve, self.panel)
        x = self._numbers(ds)
        taken = chosen_axis(ds, self.name, "panel", self.panel, x)
        curve = chosen_axis(ds, self.name, "curve", self.curve, x, taken) or _curves(ds, x, taken)
        panel = taken or next(iter(other_axes(ds, x, curve)), None)
        cut = evenly(evenly(sliced(ds, (x, curve, panel)), panel, _MOST), curve, MOST_LABELS)
        key = panels.colour_key(cut.ds, curve)
        titles, parts = divided(cut.ds.sortby(x), panel)
        page = panels.grid(titles, 1.35 if len(parts) > 1 else 2.0, share_y=True)
        for ax, part in zip(page.axes, parts, strict=True):
            _draw_panel(ax, part, x, curve, key)
        panels.name_axes(page, axis_label(ds, x), "share solved (dimensionless)")
        if curve is not None:
            panels.legend(page.figure, [_look(key, i) for i in key.order], key.title)
        criterion = f"solved: {literal(str(ds.attrs['criterion']))}" if "criterion" in ds.attrs else ""
        replicates = replicates_of(cut.ds)
        many = f"Wilson's 95 % intervals, {replicates} replicate{'s' * (replicates > 1)}"
        gone = diverged_words(cut.ds)
        panels.small_print(page.figure, [*cut.words, criterion, many, gone, counted_out(cut.ds, DIVERGED)])
        return page.figure

    def _numbers(self, ds: xr.Dataset) -> str:
        numbers = numeric_axes(ds)
        if axis := chosen_axis(ds, self.name, "x", self.x):
            if not is_numeric(ds, axis):
                raise UserMistake(Problem(f"figure {self.name!r}, option 'x'", "an axis of numbers", axis))
            return axis
        length = axis_of(ds, "task.length")
        if length in numbers:
            return length
        if not numbers:
            here = ", ".join(axes_of(ds)) or "no axes"
            raise UserMistake(
                Problem(
                    f"figure {self.name!r}",
                    "a dataset with an axis of numbers",
                    f"one with {here}",
                    "Sweep over `task.length`.",
                )
            )
        return next((axis for axis in numbers if axis not in (self.curve, self.panel)), numbers[0])


def _curves(ds: xr.Dataset, x: str, panel: str | None) -> str | None:
    rule = rule_axis(ds)
    if rule is not None and rule not in (x, panel) and ds.sizes[rule] > 1:
        return rule
    return next(iter(other_axes(ds, x, panel)), None)


def wilson(solved: ArrayLike, runs: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Wilson's 95 % interval of a share (Wilson 1927): NaN where there are no runs.

    Parameters
    ----------
    solved, runs : array_like
        Number of successes, and of what could have been one.
    """
    k, n = np.broadcast_arrays(np.asarray(solved, dtype=np.float64), np.asarray(runs, dtype=np.float64))
    n = np.where(n > 0, n, np.nan)
    z2 = _QUANTILE**2
    centre = (k + z2 / 2) / (n + z2)
    half = _QUANTILE / (n + z2) * np.sqrt(k * (n - k) / n + z2 / 4)
    low = np.where(k == 0, np.where(np.isnan(n), np.nan, 0.0), centre - half)
    high = np.where(k == n, 1.0, centre + half)
    return low, high


def _counts(part: xr.Dataset, x: str, curve: str | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return how many runs were solved, and how many there were: (curve, x)."""
    solved = (part[_RECORD] >= 0).compute()
    ran = part["status"].isin((OK, DIVERGED)) if "status" in part else xr.ones_like(solved)
    found = []
    for data in (solved & ran, ran):
        data = data.sum("replicate") if "replicate" in data.dims else data.astype(int)
        data = data.expand_dims("one") if curve is None else data
        found.append(data.transpose("one" if curve is None else curve, x).values)
    return found[0], found[1]


def _draw_panel(ax: Axes, part: xr.Dataset, x: str, curve: str | None, key: panels.Key) -> None:
    places = np.asarray(part[x].values, dtype=np.float64)
    ticks.at(ax, "x", places)
    solved, runs = _counts(part, x, curve)
    low, high = wilson(solved, runs)
    share = np.divide(solved, runs, out=np.full(runs.shape, np.nan), where=runs > 0)
    for i, colour in enumerate(key.colours):
        there = runs[i] > 0
        at = _beside(ax, places, i, len(key.colours))[there]
        bars = np.stack([share[i] - low[i], high[i] - share[i]])[:, there]
        lines: dict[str, Any] = {"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6}
        look: dict[str, Any] = {
            "color": colour,
            "linestyle": key.lines[i],
            "marker": _marker(i),
            "markersize": 3,
        }
        ax.errorbar(at, share[i][there], yerr=np.maximum(bars, 0.0), **lines, **look)
    if not (runs > 0).any():
        panels.say(ax, "no case ran")
    ax.set(ylim=(-0.04, 1.04), yticks=[0.0, 0.5, 1.0])


def _beside(ax: Axes, places: NDArray[np.float64], curve: int, curves: int) -> NDArray[np.float64]:
    """Return where a curve's points stand: beside those of others, whose intervals would hide them."""
    if len(places) < 2:
        return places
    logarithmic = ax.get_xscale() == "log"
    x = np.log(places) if logarithmic else places
    x = x + (curve - (curves - 1) / 2) * min(0.05, 0.3 / curves) * np.diff(x).min()
    return np.asarray(np.exp(x) if logarithmic else x)


def _marker(curve: int) -> str:
    return _MARKERS[curve % len(_MARKERS)]


def _look(key: panels.Key, i: int) -> Line2D:
    """Return how the legend shows a curve."""
    look = {"linestyle": key.lines[i], "marker": _marker(i), "markersize": 3}
    return Line2D([], [], color=key.colours[i], label=key.names[i], **look)
