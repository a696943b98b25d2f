"""Loss and metric of a training against update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from gradlab.figures.axes import divided, evenly, other_axes, rule_axis, with_regulariser
from gradlab.figures.needs import check_updates
from gradlab.figures.selection import (
    DIVERGED,
    MOST_LABELS,
    OK,
    Spread,
    axis_label,
    chosen_axis,
    counted_out,
    curve_axis,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    why_empty,
)
from gradlab.figures.updates import planned_end, scale_updates, stopped_early

_LOSS, _METRIC = "loss", "metric"
_MOST = 4
_FAR = 100.0
"""What is so many times larger than all that the runs begin with is beyond the frame."""
_LOGARITHMIC = 20.0
"""What spans such a factor is shown by its logarithm."""
_HEIGHT = 1.25
_CHANCE: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 3)), "linewidth": 0.7}
_DASHES: tuple[Any, ...] = ((0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3)), (0, (3, 1, 1, 1, 1, 1)))
_END: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 4, "markeredgewidth": 0.9}


@registry.register
@dataclass(frozen=True)
class Training(AbstractFigure):
    """The loss on every batch and the metric on the evaluation set while networks learn.

    A curve a clip rule; the band is that of the quartiles over replicates, in which a run that
    diverged counts as infinitely bad from then on, and one that stopped because it was solved as good
    as it was.

    Parameters
    ----------
    curve, panel : str, optional
        The axes whose values become curves and columns; by default the clip rule, and the first
        other axis of several values.
    """

    name: ClassVar[str] = "training"
    summary: ClassVar[str] = "loss and metric of a training against update, a curve a clip rule"
    variables: ClassVar[tuple[str, ...]] = (_LOSS,)
    along_update: ClassVar[bool] = True

    curve: str = ""
    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        check_updates(ds, self.name, _LOSS)
        ds = with_regulariser(narrowed(ds, _LOSS), self.curve, self.panel)
        taken = chosen_axis(ds, self.name, "panel", self.panel)
        curve = chosen_axis(ds, self.name, "curve", self.curve, taken) or _curves(ds, taken)
        panel = taken or next(iter(other_axes(ds, curve)), None)
        cut = evenly(evenly(sliced(ds, (curve, panel)), panel, _MOST), curve, MOST_LABELS)
        key = panels.colour_key(cut.ds, curve)
        titles, parts = divided(cut.ds, panel)
        records = [name for name in (_LOSS, _METRIC) if name in ds and bool(ds[name].notnull().any())]
        records = records or [_LOSS]
        page, rows = panels.stacked(titles, [_HEIGHT] * len(records))
        cropped = []
        for row, record in zip(rows, records, strict=True):
            taken_at = _taken(cut.ds, record)
            curves = [_runs(part, record, curve, taken_at) for part in parts]
            frame = _frame(curves)
            for ax, part, values in zip(row, parts, curves, strict=True):
                _draw_panel(ax, part, values, record, key, frame)
            levels = _draw_levels(row, parts, record, curve, key)
            _set_frame(row[0], frame, levels)
            cropped += [record] if frame.cropped else []
        labels = {_LOSS: axis_label(ds, _LOSS), _METRIC: metric_label(ds)}
        panels.name_rows(rows, [_HEIGHT] * len(records), [labels[name] for name in records])
        page.body.supxlabel("update")
        panels.show_key(page, key, _legend([ax for row in rows for ax in row], _styles(cut.ds)))
        panels.small_print(page.figure, [*cut.words, *_words(cut.ds, cropped)])
        return page.figure


def _curves(ds: xr.Dataset, panel: str | None) -> str | None:
    rule = rule_axis(ds)
    several = rule is not None and rule != panel and ds.sizes[rule] > 1
    return rule if several else curve_axis(ds, {panel or ""})


def metric_label(ds: xr.Dataset) -> str:
    """Return what the metric of the task is called, with its unit."""
    words = str(ds.attrs.get("metric") or "metric of the task").replace("_", " ")
    return words if " per " in words else f"{words} (dimensionless)"


def _taken(ds: xr.Dataset, record: str) -> NDArray[np.intp]:
    """Return the places along update at which a record was taken of any run."""
    there = masked(ds, record, DIVERGED).notnull()
    return np.flatnonzero(there.any([dim for dim in there.dims if dim != "update"]).values)


def _runs(part: xr.Dataset, record: str, curve: str | None, taken: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a record (curve, replicate, update), carried on where a run ended: see `Training`.

    NaN where it was not `taken`, and of cases that did not run.
    """
    data = masked(part, record, DIVERGED)
    data = data.expand_dims("one") if curve is None else data
    order = ("one" if curve is None else curve, "replicate", "update")
    values = np.asarray(data.transpose(*order).values, dtype=np.float64)
    each = xr.zeros_like(data.isel(update=0, drop=True), dtype=np.int64).transpose(*order[:2])
    diverged = ((each + part["status"]) == DIVERGED).values if "status" in part else each.values > 0
    held = (each + stopped_early(part, data.notnull())).values > 0
    ends, updates = (each + planned_end(part)).values, part["update"].values
    for curve_values, *how in zip(values, diverged, held, ends.max(axis=1), strict=True):
        _carry_on(curve_values, taken, updates, *how)
    return values


def _carry_on(
    runs: NDArray[np.float64],
    taken: NDArray[np.intp],
    updates: NDArray[np.int64],
    diverged: NDArray[np.bool_],
    held: NDArray[np.bool_],
    end: int,
) -> None:
    """Let the runs of a curve, (replicate, update), go on to their last update where they ended before it."""
    there = taken[~np.isnan(runs[:, taken]).all(axis=0)]
    beyond = taken[(taken > there[-1:].max(initial=-1)) & (updates[taken] <= end)]
    own = np.concatenate([there, beyond])
    for values, is_gone, is_held in zip(runs, diverged, held, strict=True):
        mine = own[~np.isnan(values[own])]
        after = own[own > mine[-1:].max(initial=-1)]
        if is_gone:
            values[after] = np.inf
        elif is_held:
            values[after] = values[mine[-1]]


@dataclass(frozen=True)
class _Frame:
    """Limits of what is shown along y, whether by logarithm, and whether anything lies above."""

    low: float
    high: float
    logarithmic: bool
    cropped: bool


def _frame(curves: list[NDArray[np.float64]]) -> _Frame:
    found = [spread(values, axis=1) for values in curves]
    lines = np.concatenate([np.ravel(edge) for one in found for edge in (one.low, one.median, one.high)])
    begin = np.concatenate([_first(one.median) for one in found])
    lines, begin = lines[np.isfinite(lines)], begin[np.isfinite(begin)]
    if not lines.size:
        return _Frame(0.0, 1.0, False, False)
    most = _FAR * float(np.abs(begin).max()) if begin.size else np.inf
    seen = lines[lines <= most] if most > 0 and (lines <= most).any() else lines
    low, high = float(seen.min()), float(seen.max())
    return _Frame(low, high, low > 0 and high >= _LOGARITHMIC * low, seen.size < lines.size)


def _first(median: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first value of every curve that has one."""
    return np.array([line[~np.isnan(line)][0] for line in median if not np.isnan(line).all()])


def _draw_panel(
    ax: Axes, part: xr.Dataset, values: NDArray[np.float64], record: str, key: panels.Key, frame: _Frame
) -> None:
    updates, top = part["update"].values, 1e3 * abs(frame.high) + 1.0
    for i, colour in enumerate(key.colours):
        own = ~np.isnan(values[i]).all(axis=0)
        found = spread(values[i][:, own], axis=0)
        # Where more than a quarter of the runs have diverged the band goes on to the upper edge.
        one = Spread(found.low, found.median, np.minimum(found.high, top))
        panels.draw_spread(ax, updates[own], one, colour, values.shape[1] > 1, linestyle=key.lines[i])
        if record == _LOSS and "status" in part:
            _draw_ends(ax, part, values[i], i, key, frame)
    if not ax.lines:
        panels.say(ax, why_empty(part, record))
    scale_updates(ax, updates)


def _draw_ends(
    ax: Axes, part: xr.Dataset, runs: NDArray[np.float64], curve: int, key: panels.Key, frame: _Frame
) -> None:
    """Mark the last update at which a run that diverged had a loss."""
    for run in runs:
        infinite = np.isposinf(run)
        if not infinite.any():
            continue
        before = np.flatnonzero(~np.isnan(run[: int(np.argmax(infinite))]))
        end = int(before[-1]) if before.size else 0
        height = min(run[end], frame.high) if np.isfinite(run[end]) else frame.high
        place = part["update"].values[end]
        ax.plot([place], [height], color=key.colours[curve], clip_on=False, zorder=4, gid="diverged", **_END)


def _draw_levels(
    row: tuple[Axes, ...], parts: Sequence[xr.Dataset], record: str, curve: str | None, key: panels.Key
) -> list[float]:
    """Draw what is reached without a network in every panel; return at which heights.

    Beside the loss that is the best guess, beside the metric the simple predictors.
    """
    drawn: list[float] = []
    for ax, part in zip(row, parts, strict=True):
        if record == _LOSS and "chance" in part:
            drawn += _draw_level(ax, masked(part, "chance", DIVERGED), curve, key, "chance", _CHANCE)
        if record == _METRIC and "baseline" in part:
            data = masked(part, "baseline", DIVERGED)
            for i, (name, style) in enumerate(_styles(part).items()):
                one = data.isel(predictor=i)
                drawn += _draw_level(ax, one, curve, key, f"baseline {name}", style)
    return drawn


def _draw_level(
    ax: Axes, data: xr.DataArray, curve: str | None, key: panels.Key, gid: str, style: Mapping[str, Any]
) -> list[float]:
    """Draw a horizontal line, or one a curve and in its colour where the curves differ.

    A curve whose runs differ has none. Lines of about the same height are seen through each other's gaps.
    """
    values = data.expand_dims("one") if curve is None else data
    values = values.transpose("one" if curve is None else curve, ...)
    found = [np.unique(one[np.isfinite(one)]) for one in values.values]
    levels = {i: float(one[0]) for i, one in enumerate(found) if one.size == 1}
    if np.unique(np.concatenate(found)).size == 1:
        ax.axhline(next(iter(levels.values())), zorder=1, gid=gid, **style)
        return [*levels.values()]
    dashes = style["linestyle"][1]
    for i, level in levels.items():
        line = (i * sum(dashes) / len(found), dashes)
        ax.axhline(level, zorder=1, gid=gid, **{**style, "color": key.colours[i], "linestyle": line})
    return [*levels.values()]


def _styles(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return how the line of every simple predictor looks."""
    names = map(str, ds["predictor"].values.tolist()) if "baseline" in ds else ()
    return {
        name: {"color": "0.35", "linewidth": 0.7, "linestyle": _DASHES[i % len(_DASHES)]}
        for i, name in enumerate(names)
    }


def _set_frame(ax: Axes, frame: _Frame, levels: list[float]) -> None:
    """Set the limits of a row of panels, which share them."""
    low, high = min([frame.low, *levels]), max([frame.high, *levels])
    if frame.logarithmic and low > 0:
        room = (high / low) ** 0.04
        ax.set(yscale="log", ylim=(low / room, high * room))
        return
    room = 0.04 * (high - low) or 0.5
    ax.set_ylim(low - room, high + room)
    ticks.plain(ax.yaxis, 5)


def _legend(axes: Sequence[Axes], styles: Mapping[str, dict[str, Any]]) -> list[Line2D]:
    there = {str(line.get_gid()) for ax in axes for line in ax.lines}
    handles = []
    if "chance" in there:
        handles.append(Line2D([], [], label="best guess, inputs unseen", **_CHANCE))
    for name, style in styles.items():
        if f"baseline {name}" in there:
            words = name.replace("_", " ")
            handles.append(Line2D([], [], label=f"simple predictor: {words}", **style))
    if "diverged" in there:
        handles.append(Line2D([], [], label="last loss before divergence", color="black", **_END))
    return handles


def _words(ds: xr.Dataset, cropped: list[str]) -> list[str]:
    many = replicates_words(ds)
    beyond = f"{' and '.join(cropped)} beyond {_FAR:.0f} times what runs begin with not shown"
    ended = ended_words(ds, _LOSS, "held at their last values")
    return [many, *ended, counted_out(ds, DIVERGED), beyond if cropped else ""]


def diverged_words(ds: xr.Dataset) -> str:
    """Return the words for runs that diverged, of those there are; nothing where none did."""
    if "status" not in ds:
        return ""
    ran = int(ds["status"].isin((OK, DIVERGED)).sum())
    gone = int((ds["status"] == DIVERGED).sum())
    return f"{gone} of {ran} runs diverged" if gone else ""


def ended_words(ds: xr.Dataset, record: str, what: str) -> list[str]:
    """Return the words for runs that diverged, and for those that stopped early and are then `what`."""
    data = masked(ds, record)
    there = data.notnull().any([dim for dim in data.dims if dim in ("lag", "layer", "direction")])
    stopped = int(stopped_early(ds, there).sum()) if there.size else 0
    runs = "1 run stopped early and is" if stopped == 1 else f"{stopped} runs stopped early and are"
    return [diverged_words(ds), f"{runs} {what}" if stopped else ""]
