"""How far back the gradient reaches, while networks learn."""

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

from gradlab.figures import images, panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import divided, evenly, other_axes, rule_axis
from gradlab.figures.needs import check_updates
from gradlab.figures.selection import (
    DIVERGED,
    axis_label,
    chosen_axis,
    counted_out,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    thinned,
    why_empty,
)
from gradlab.figures.training import ended_words
from gradlab.figures.updates import scale_updates, update_edges

_RECORD = "log10_state_gradient_norm"
_MOST = 12
_DECADES = 4.0
"""The colours reach that far to both sides of the median: explosions would hide all else."""
_REACH = 2.0
_EDGE: dict[str, Any] = {"color": "white", "linewidth": 2.0, "zorder": 3}
_LINE: dict[str, Any] = {"color": "black", "linewidth": 0.9, "zorder": 4}


@registry.register
@dataclass(frozen=True)
class Flow(AbstractFigure):
    """The norm of the adjoint over update and lag, a panel a clip rule.

    A line shows its reach: the lag at which it is first a hundredth of what it is at lag 0. A run that
    diverged is there as long as it had a gradient.

    Parameters
    ----------
    panel : str, optional
        The axis whose values become panels; by default the clip rule.
    """

    name: ClassVar[str] = "flow"
    summary: ClassVar[str] = "image of log10 adjoint norms over update and lag, a panel a clip rule"
    variables: ClassVar[tuple[str, ...]] = (_RECORD,)
    along_update: ClassVar[bool] = True

    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        check_updates(ds, self.name, _RECORD)
        ds = narrowed(ds, _RECORD)
        chosen = chosen_axis(ds, self.name, "panel", self.panel)
        panel = chosen or rule_axis(ds) or next(iter(other_axes(ds)), None)
        cut = thinned(evenly(sliced(ds, (panel,)), panel, _MOST))
        titles, parts = divided(_recorded(cut.ds, "lag"), panel)
        parts = [_recorded(part, "update") for part in parts]
        drawn = [_image(part) for part in parts]
        norm, beyond = _scale(drawn)
        page = panels.grid(titles, 1.35 if len(parts) > 1 else 2.2, share_y=True)
        for ax, part, image in zip(page.axes, parts, drawn, strict=True):
            _draw_image(ax, part, image, norm)
        panels.name_axes(page, "update", axis_label(ds, "lag"))
        ticks.plain(images.bar(page, norm, axis_label(ds, _RECORD), extend=beyond).ax.yaxis, 6)
        _explain(page, drawn)
        many = replicates_words(cut.ds, "median")
        words = ended_words(cut.ds, _RECORD, "left out from there on")
        panels.small_print(page.figure, [*cut.words, many, *words, counted_out(cut.ds, DIVERGED)])
        return page.figure


def _recorded(part: xr.Dataset, along: str) -> xr.Dataset:
    """Return data without the updates or lags that only other runs have; all if there is nothing."""
    data = masked(part, _RECORD, DIVERGED)
    there = data.notnull().any([dim for dim in data.dims if dim != along]).values
    return part.isel({along: there}) if there.any() else part


def _image(part: xr.Dataset) -> NDArray[np.float64]:
    """Return the medians (lag, update) of the runs that go on: NaN where there is none, -inf for zero."""
    data = masked(part, _RECORD, DIVERGED).transpose("replicate", "lag", "update")
    median = spread(data.values, axis=0).median
    return np.where(np.isposinf(median), np.nan, median)


def _scale(drawn: list[images.Image]) -> tuple[Normalize, str]:
    """Return the colour scale of all images, and to which side something lies beyond it."""
    values = images.finite(drawn)
    if not values.size:
        return Normalize(0.0, 1.0), "neither"
    low, high, middle = float(values.min()), float(values.max()), float(np.median(values))
    below, above = low < middle - _DECADES, high > middle + _DECADES
    norm = images.scale(max(low, middle - _DECADES), min(high, middle + _DECADES))
    return norm, {(1, 1): "both", (1, 0): "min", (0, 1): "max", (0, 0): "neither"}[below, above]


def reach(image: NDArray[np.float64], lags: NDArray[Any]) -> NDArray[np.float64]:
    """Return the first lag at which an adjoint is below a hundredth of what it is at lag 0, by update.

    The last lag where it nowhere is; NaN where there is no adjoint.
    """
    below = image < image[:1] - _REACH
    first = np.where(below.any(axis=0), np.argmax(below, axis=0), len(lags) - 1)
    return np.where(np.isfinite(image[0]), lags[first].astype(np.float64), np.nan)


def _draw_image(ax: Axes, part: xr.Dataset, image: NDArray[np.float64], norm: Normalize) -> None:
    updates = part["update"].values
    lags = part["lag"].values
    scale_updates(ax, updates)
    x, step = update_edges(updates), (lags[1] - lags[0]) / 2 if len(lags) > 1 else 0.5
    y = np.append(lags - step, lags[-1] + step)
    images.draw(ax, x, y, image, norm)
    line = reach(image, lags)
    if np.isnan(image).all():
        panels.say(ax, why_empty(part, _RECORD))
    elif (line < lags[-1]).any():
        for look in (_EDGE, _LINE):
            ax.plot(updates, line, gid="reach", **look)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ticks.plain(ax.yaxis, 4, whole=True)


def _explain(page: panels.Panels, drawn: list[images.Image]) -> None:
    handles: list[Any] = []
    if any(line.get_gid() == "reach" for ax in page.axes for line in ax.lines):
        handles.append(Line2D([], [], label="first lag below a hundredth of lag 0", **_LINE))
    handles += images.zero_handles(drawn)
    if handles:
        panels.legend(page.figure, handles)
