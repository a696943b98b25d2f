"""Adjoint norms against lag."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.core.checks import nearest
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.places import evenly
from gradlab.figures import panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.needs import require
from gradlab.figures.selection import (
    arranged,
    axis_label,
    counted_out,
    masked,
    narrowed,
    replicates_words,
    setting_of,
    spread,
    thinned,
    why_empty,
)
from gradlab.learning.clipping import registry as rules
from gradlab.theory.slopes import is_exact, orthogonal_slope

_MOST_EXACT = 5
"""Curves a panel that theory is drawn over; more would hide what is measured."""
_OF_ADJOINTS = (
    "log10_state_gradient_norm",
    "log10_preactivation_gradient_norm",
    "mean_log10_sample_gradient_norm",
)
_DWARFED = 50.0
"""Where some curves go this many times further than others, the others are shown again on their own scale."""
_EXACT: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 3)), "linewidth": 0.8}


@registry.register
@dataclass(frozen=True)
class Profile(AbstractFigure):
    """The norm of an adjoint on its way back: a curve a radius, a panel an activation.

    Parameters
    ----------
    curve, panel : str, optional
        The axes whose values become curves and panels; by default the scale of the spectrum and the
        activation, or what comes nearest to them.
    record : str, optional
        Any record against lag.
    """

    name: ClassVar[str] = "profile"
    summary: ClassVar[str] = "log10 adjoint norm against lag, a curve a radius, a panel an activation"

    curve: str = ""
    panel: str = ""
    record: str = "log10_state_gradient_norm"

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        require(ds, self.name, variables=(self.record,))
        further = {"path", "loss_time"}
        if "lag" not in ds[self.record].dims or not further.isdisjoint(ds[self.record].dims):
            against = [
                str(name)
                for name in ds.data_vars
                if "lag" in ds[name].dims and further.isdisjoint(ds[name].dims)
            ]
            hint = nearest(self.record, against)
            raise UserMistake(
                Problem(f"figure {self.name!r}, option 'record'", "a record against lag", self.record, hint)
            )
        ds = narrowed(ds, self.record)
        layout = arranged(ds, self.name, self.curve, self.panel)
        cut, curve = thinned(layout.cut), layout.curve
        layout = dataclasses.replace(layout, cut=cut)
        key = panels.colour_key(cut.ds, curve)
        parts, titles = layout.parts, layout.titles
        near = close_up(cut.ds, self.record, curve) if layout.panel is None and curve else None
        if near is not None:
            parts, titles = parts * 2, ["all curves", "those near no change"]
        page = panels.grid(titles, 1.45 if len(titles) > 1 else 2.2)
        drawn: set[str] = set()
        for ax, part in zip(page.axes, parts, strict=True):
            drawn |= draw_profiles(ax, part, self.record, curve, key)
        if near is not None:
            page.axes[1].set_ylim(near)
        else:
            panels.share_heights(page.axes)
        panels.name_axes(page, axis_label(ds, "lag"), axis_label(ds, self.record))
        panels.show_key(page, key, level_and_exact(drawn))
        many = replicates_words(cut.ds)
        gone = np.isneginf(masked(cut.ds, self.record).values).any()
        ends = "a curve ends where its gradient is zero" if gone else ""
        panels.small_print(page.figure, [*cut.words, many, counted_out(cut.ds), ends])
        return page.figure


def level_and_exact(drawn: set[str]) -> list[Line2D]:
    """Return the legend of what is drawn beside the curves."""
    handles = [panels.level_handle()] if "level" in drawn else []
    if "exact" in drawn:
        handles.append(Line2D([], [], label=r"exact slope, log$_{10}$ radius", **_EXACT))
    return handles


def close_up(ds: xr.Dataset, record: str, curve: str) -> tuple[float, float] | None:
    """Return limits that tell apart the curves near no change, where others go too far to see them.

    None where one scale shows all curves, or where fewer than two stay near.
    """
    median = spread(masked(ds, record).transpose(curve, "replicate", "lag").values, axis=1).median
    median = median[np.isfinite(median[:, 0])]
    median = np.where(np.isfinite(median), median, np.nan)
    if not len(median):
        return None
    reach = np.nanmax(np.abs(median - median[:, :1]), axis=1)
    near = reach * _DWARFED <= reach.max()
    if near.sum() < 2 or reach[near].max() == 0.0:
        return None
    low, high = float(np.nanmin(median[near])), float(np.nanmax(median[near]))
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def draw_profiles(ax: Axes, part: xr.Dataset, record: str, curve: str | None, key: panels.Key) -> set[str]:
    """Draw one panel of curves against lag; say which of "level" and "exact" slope stand beside them.

    Parameters
    ----------
    ax : Axes
        The panel.
    part : xarray.Dataset
        Cut to the dims `curve` (if any), replicate and lag.
    record : str
        A record against lag.
    curve : str or None
        The axis whose values become curves.
    key : Key
        Their colours.
    """
    checked = set(evenly(len(key.colours), _MOST_EXACT).tolist())
    data = masked(part, record)
    values = (data.expand_dims("one") if curve is None else data.transpose(curve, ...)).values
    lags = data["lag"].values
    every = spread(values, axis=1)
    band, starts, exact = values.shape[1] > 1, [], False
    width = panels.widths(every.median, 0.8)
    for i, colour in enumerate(key.colours):
        one = type(every)(every.low[i], every.median[i], every.high[i])
        look = {"zorder": 2, "linestyle": key.lines[i], "linewidth": width[i]}
        if panels.draw_spread(ax, lags, one, colour, band, **look):
            starts.append(one.median[0])
            if i in checked and record in _OF_ADJOINTS:
                exact |= _draw_exact(ax, part if curve is None else part.isel({curve: i}), lags, one.median)
    if not ax.lines:
        panels.say(ax, why_empty(part, record))
        return set()
    level = panels.draw_level(ax, starts)
    ticks.plain(ax.xaxis, 4, whole=True)
    ticks.plain(ax.yaxis, 5)
    ax.margins(x=0.02)
    return {name for name, is_there in (("level", level), ("exact", exact)) if is_there}


def _draw_exact(ax: Axes, case: xr.Dataset, lags: NDArray[Any], median: NDArray[np.float64]) -> bool:
    """Draw the line that theory prescribes from the curve's first point on, where it does."""
    cell, spectrum, activation, clip = (
        setting_of(case, name) for name in ("cell", "spectrum", "activation", "clip")
    )
    if cell is None or spectrum is None or activation is None or clip is None:
        return False
    if "update" in case.coords:
        return False  # the weights are no longer those drawn
    if case.attrs.get("looks") != "one":
        return False  # the loss adds to the adjoint on its way
    if rules.get(clip, "clip").scope == "adjoint" or not {"layer", "direction"}.isdisjoint(case.coords):
        return False  # a layer below others receives adjoints at every time step
    radius = _radius(case)
    if radius is None or not is_exact(cell, spectrum, activation) or not np.isfinite(median[0]):
        return False
    line = np.where(np.isnan(median), np.nan, median[0] + lags * float(orthogonal_slope(radius)))
    if not np.isfinite(line[1:]).any():
        return False
    ax.plot(lags, line, zorder=3, gid="exact", **_EXACT)
    return True


def _radius(case: xr.Dataset) -> float | None:
    """Return the radius of a curve's matrices: as asked for, or as drawn."""
    if "radius" in case.coords and case["radius"].size == 1:
        return float(case["radius"].values.reshape(-1)[0])
    if "radius_drawn" in case:
        drawn = masked(case, "radius_drawn").values
        return float(np.nanmedian(drawn)) if np.isfinite(drawn).any() else None
    return None
