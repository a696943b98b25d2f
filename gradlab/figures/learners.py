"""How far the gradients of learners are from full backpropagation through time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of, divided, evenly
from gradlab.figures.selection import (
    OK,
    Spread,
    axes_of,
    axis_label,
    counted_out,
    curve_axis,
    entry_name,
    is_numeric,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    why_empty,
)
from gradlab.figures.words import text_of, typeset

_NORM, _COSINE, _ONLINE = "log10_gradient_norm", "cosine_to_bptt", "log10_online_gradient_norm"
_FULL, _WINDOWED = "bptt", "truncated"
_WINDOW = re.compile(r"(truncated\()(?:window=)?(\d+)(?:, )?(.*\))")
# Full backpropagation lies under the exact learners that give the same.
_UNDER: dict[str, Any] = {"color": "0.6", "linestyle": "-", "linewidth": 2.2, "zorder": 1}
_DASHES: tuple[Any, ...] = ((0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (7, 1.5)))
_MARKERS = "osD^vPX"
_MOST_CURVES = 6


@dataclass(frozen=True)
class Run:
    """What one learner gave.

    Parameters
    ----------
    label, series : str
        The learner, and the same without its window.
    window : float or None
        Time steps after which it cuts the past off.
    ds : xarray.Dataset
        Its records, cut to the dims replicate and time.
    place : str
        Of the networks it learns: their value of the axis of curves, "" where there is none.
    """

    label: str
    series: str
    window: float | None
    ds: xr.Dataset
    place: str = ""

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a record, dims (replicate[, time]), NaN where a case is not ok."""
        data = masked(self.ds, name)
        return np.asarray(data.transpose("replicate", ...).values, dtype=np.float64)


@registry.register
@dataclass(frozen=True)
class Learners(AbstractFigure):
    """Length and direction of the gradients that learners form, against full backpropagation's.

    Truncated backpropagation stands against its window, other learners as levels; where there are
    none, an axis of numbers becomes curves. Where no two windows are there, every learner stands at
    its name. If online learners' records are there, a further panel shows the norm of what they form
    at each time step.
    """

    name: ClassVar[str] = "learners"
    summary: ClassVar[str] = "norm and cosine of learners' gradients against the window of truncation"
    variables: ClassVar[tuple[str, ...]] = (_NORM, _COSINE)

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        axes = axis_of(ds, "learner"), axis_of(ds, "learner.window")
        if axes == (None, None):
            got = ", ".join(axes_of(ds)) or "no axes"
            expected = "a dataset with the axis 'learner' or 'window'"
            hint = "Sweep over `learner` or `learner.window`."
            raise UserMistake(Problem(f"figure {self.name!r}", expected, f"one with {got}", hint))
        curve = _curve_axis(ds, *axes)
        cut = evenly(sliced(narrowed(ds, _NORM), [*axes, curve]), curve, _MOST_CURVES)
        runs = [
            run
            for place, part in zip(*divided(cut.ds, curve), strict=True)
            for run in _runs(part, place, *axes)
        ]
        looks = _looks(runs, style.QUALITATIVE if curve is None else panels.colour_key(cut.ds, curve).colours)
        online = _widest([run for run in runs if _has(run.ds, _ONLINE)])
        windows = {run.window for run in runs if run.window is not None}
        figure, body = style.new_page(style.SINGLE, 2.1 + (1.35 if online else 0.0))
        rows: list[Any] = [["norm", "cosine"], ["online", "online"]]
        mosaic = body.subplot_mosaic(rows if online else rows[:1])
        draw = _draw_windows if len(windows) > 1 else _draw_names
        for name, values in (("norm", _norms(runs)), ("cosine", [run.values(_COSINE) for run in runs])):
            draw(mosaic[name], runs, values, looks)
            if not mosaic[name].lines:
                panels.say(mosaic[name], why_empty(cut.ds))
        mosaic["norm"].set_ylabel(_norm_label(ds, runs))
        mosaic["cosine"].set_ylabel(panels.wrapped(axis_label(ds, _COSINE), 24))
        if online:
            _draw_online(mosaic["online"], online, looks)
            mosaic["online"].set_ylabel(panels.wrapped(axis_label(ds, _ONLINE), 24))
        shown = runs if len(windows) > 1 else online
        handles = {run.series: _handle(run, looks) for run in shown}
        if handles:
            panels.legend(figure, list(handles.values()))
        many = replicates_words(cut.ds)
        widest = [f"{run.series} at each time step: {run.label}" for run in online if run.label != run.series]
        panels.small_print(figure, [*cut.words, many, counted_out(cut.ds), *widest])
        return figure


def _curve_axis(ds: xr.Dataset, learner: str | None, window: str | None) -> str | None:
    """Return the axis of numbers that becomes curves, if truncation is all that is compared."""
    names = [] if learner is None else [entry_name(text_of(label)) for label in ds[learner].values]
    windows = ds.sizes[window] if window is not None else names.count(_WINDOWED)
    if windows < 2 or not set(names) <= {_FULL, _WINDOWED}:
        return None
    curve = curve_axis(ds, [axis for axis in (learner, window) if axis is not None])
    return curve if curve is not None and is_numeric(ds, curve) else None


def _runs(ds: xr.Dataset, place: str, learner: str | None, window: str | None) -> list[Run]:
    """Return the learners; one that is truncated is several where windows have an axis of their own."""
    runs: list[Run] = []
    labels = [_WINDOWED] if learner is None else [text_of(label) for label in ds[learner].values]
    for index, label in enumerate(labels):
        part = ds if learner is None else ds.isel({learner: index})
        if window is None or window == learner:
            found = _WINDOW.fullmatch(label)
            series = (found[1] + found[3]).replace("()", "") if found else label
            runs.append(Run(label, series, float(found[2]) if found else None, part))
        elif entry_name(label) == _WINDOWED and is_numeric(ds, window):
            for column, steps in enumerate(ds[window].values):
                one = part.isel({window: column})
                runs.append(Run(f"{label}, window {text_of(steps)}", label, float(steps), one))
        else:
            # A learner without windows ran at one place of their axis; there it is told apart by nothing.
            runs.append(Run(label, label, None, part.isel({window: _first_run(part, window)})))
    if not place:
        return runs
    alone = len({run.series for run in runs if run.window is not None}) == 1
    return [
        replace(
            run,
            place=place,
            series=run.series if run.window is None else place if alone else f"{run.series}, {place}",
        )
        for run in runs
    ]


def _first_run(part: xr.Dataset, axis: str) -> int:
    if "status" not in part:
        return 0
    ran = part["status"] == OK
    return int(np.argmax(ran.any([dim for dim in ran.dims if dim != axis]).values))


def _has(ds: xr.Dataset, name: str) -> bool:
    return name in ds and bool(np.isfinite(masked(ds, name)).any())


def _widest(runs: Sequence[Run]) -> list[Run]:
    """Return one run a series, that of the widest window: side by side curves of many could not be told."""
    ordered = sorted(runs, key=lambda run: run.window or 0.0)
    last = {run.series: run for run in ordered}
    return [run for run in runs if last[run.series] is run]


def _looks(runs: Sequence[Run], among: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return colour, line and marker of each series: solid for windows, dashed for levels."""
    looks: dict[str, dict[str, Any]] = {}
    colours = cycle(among)
    dashes = cycle(_DASHES)
    for run in runs:
        if run.series in looks:
            continue
        if entry_name(run.series) == _FULL:
            looks[run.series] = _UNDER
            continue
        line = "-" if run.window is not None else next(dashes)
        looks[run.series] = {"color": next(colours), "linestyle": line, "linewidth": 1.1, "zorder": 3}
    return looks


def _handle(run: Run, looks: dict[str, dict[str, Any]]) -> Line2D:
    marker = "o" if run.window is not None else None
    return Line2D([], [], label=run.series, marker=marker, markersize=3, **looks[run.series])


def _norms(runs: Sequence[Run]) -> list[NDArray[np.float64]]:
    """Return log10 norms, less full backpropagation's in the same replicate where it is there."""
    norms = [run.values(_NORM) for run in runs]
    full = {run.place: n for run, n in zip(runs, norms, strict=True) if entry_name(run.label) == _FULL}
    if not full:
        return norms
    pairs = [(norm, full[run.place]) for run, norm in zip(runs, norms, strict=True)]
    return [
        np.subtract(norm, whole, out=np.full(norm.shape, np.nan), where=np.isfinite(whole))
        for norm, whole in pairs
    ]


def _norm_label(ds: xr.Dataset, runs: Sequence[Run]) -> str:
    if any(entry_name(run.label) == _FULL for run in runs):
        return typeset("log10 gradient norm\nrelative to full BPTT")
    return panels.wrapped(axis_label(ds, _NORM), 24)


def _draw_windows(
    ax: Axes, runs: Sequence[Run], values: list[NDArray[np.float64]], looks: dict[str, dict[str, Any]]
) -> None:
    """Draw a curve a series of windows, and a level for each other learner."""
    windows = np.unique([run.window for run in runs if run.window is not None])
    reach = windows[[0, -1]]
    for series, look in looks.items():
        own = [i for i, run in enumerate(runs) if run.series == series]
        if runs[own[0]].window is None:
            panels.draw_curves(ax, reach, np.stack([values[own[0]]] * 2, axis=-1)[None], [look])
            continue
        own.sort(key=lambda i: runs[i].window or 0.0)
        x = np.array([runs[i].window for i in own], dtype=np.float64)
        points = {**look, "marker": "o", "markersize": 2.5}
        panels.draw_curves(ax, x, np.stack([values[i] for i in own], axis=-1)[None], [points])
    ticks.at(ax, "x", windows[:: -(-len(windows) // 6)], most=6)
    ticks.plain(ax.yaxis, 5)
    ax.set_xlabel("window (time steps)")


def _draw_names(
    ax: Axes, runs: Sequence[Run], values: list[NDArray[np.float64]], looks: dict[str, dict[str, Any]]
) -> None:
    """Draw each learner at its name: the median, with its quartiles as a bar."""
    for place, (run, value) in enumerate(zip(runs, values, strict=True)):
        found: Spread = spread(value[:, None], axis=0)
        low, median, high = (float(edge[0]) for edge in (found.low, found.median, found.high))
        if not np.isfinite(median):
            continue
        colour = looks[run.series]["color"]
        if np.isfinite([low, high]).all():
            ax.vlines(place, low, high, color=colour, linewidth=1.2)
        ax.plot([place], [median], marker=_MARKERS[place % len(_MARKERS)], markersize=4, color=colour)
    ax.set_xlim(-0.6, len(runs) - 0.4)
    names = [run.label for run in runs]
    ax.set_xticks(np.arange(len(runs)), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlabel("learner")
    ticks.plain(ax.yaxis, 5)


def _draw_online(ax: Axes, runs: Sequence[Run], looks: dict[str, dict[str, Any]]) -> None:
    for run in runs:
        values = run.values(_ONLINE)
        times = run.ds["time"].values
        panels.draw_curves(ax, times, values[None], [looks[run.series]])
    ticks.plain(ax.xaxis, 5, whole=True)
    ticks.plain(ax.yaxis, 5)
    ax.margins(x=0.02)
    ax.set_xlabel("time (time steps)")
