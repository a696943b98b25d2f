"""Adjoint norms of state and memory of several cells, or of the layers of a network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of
from gradlab.figures.selection import (
    MOST_PANELS,
    Arranged,
    arranged,
    axes_of,
    axis_label,
    counted_out,
    first_of,
    has_many_labels,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    thinned,
    why_empty,
)
from gradlab.figures.words import typeset

_STATE, _MEMORY = "log10_state_gradient_norm", "log10_memory_gradient_norm"
_LINES: dict[str, dict[str, Any]] = {
    _STATE: {"linestyle": "-", "linewidth": 1.0, "zorder": 2},
    _MEMORY: {"linestyle": (0, (3, 1.2)), "linewidth": 1.0, "zorder": 3},
}
_ALONE = {_STATE: style.QUALITATIVE[0], _MEMORY: style.QUALITATIVE[1]}
"""Colours where none are needed to tell curves apart."""
_WORDS = {_STATE: "state", _MEMORY: "memory"}


@registry.register
@dataclass(frozen=True)
class Cells(AbstractFigure):
    """The adjoints of state and memory on their way back, through one cell beside another.

    More cells than colours tell apart have a panel each.

    Parameters
    ----------
    curve, panel : str, optional
        The axes whose values become curves and panels; by default the cells (where there is but
        one, the layers or directions) and an axis of labels.
    """

    name: ClassVar[str] = "cells"
    summary: ClassVar[str] = "log10 adjoint norms of state and memory against lag, a curve a cell or a layer"
    variables: ClassVar[tuple[str, ...]] = (_STATE,)

    curve: str = ""
    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        ds = narrowed(ds, *(name for name in _LINES if name in ds))
        layout = self._arranged(ds)
        layout = dataclasses.replace(layout, cut=thinned(layout.cut))
        cut, titles = layout.cut, layout.titles
        key = panels.colour_key(cut.ds, layout.curve)
        there = [name for name in _LINES if name in cut.ds and not np.isnan(masked(cut.ds, name)).all()]
        records = there or [_STATE]
        page = panels.grid(titles, 1.45 if len(titles) > 1 else 2.2)
        level = False
        for ax, part in zip(page.axes, layout.parts, strict=True):
            level |= _draw_panel(ax, part, records, layout.curve, key)
        panels.share_heights(page.axes)
        both = typeset("log10 adjoint norm of state, memory")
        panels.name_axes(
            page, axis_label(ds, "lag"), axis_label(ds, _STATE) if _MEMORY not in there else both
        )
        panels.show_key(page, key, _legend(records, layout.curve, level))
        many = replicates_words(cut.ds)
        gone = any(np.isneginf(masked(cut.ds, name)).any() for name in records)
        ends = "a curve ends where its gradient is zero" if gone else ""
        panels.small_print(page.figure, [*cut.words, many, counted_out(cut.ds), ends])
        return page.figure

    def _arranged(self, ds: xr.Dataset) -> Arranged:
        curve = self.curve or axis_of(ds, "network.cell")
        if curve == self.panel and not self.curve:
            curve = None
        if not self.curve and (curve is None or ds.sizes[curve] == 1):
            within = [axis for axis in ("layer", "direction") if axis in axes_of(ds) and ds.sizes[axis] > 1]
            curve = next(iter(within), curve)
        if curve is None:
            here = ", ".join(axes_of(ds)) or "no axes"
            raise UserMistake(
                Problem(
                    f"figure {self.name!r}",
                    "a dataset with several cells or layers",
                    f"one with {here}",
                    "Sweep over `network.cell`, or choose another axis with the option `curve`.",
                )
            )
        if not self.curve and not self.panel and has_many_labels(ds, curve):
            return Arranged(None, curve, first_of(sliced(ds, (curve,)), curve, MOST_PANELS))
        return arranged(ds, self.name, curve, self.panel)


def _draw_panel(ax: Axes, part: xr.Dataset, records: list[str], curve: str | None, key: panels.Key) -> bool:
    """Draw state and memory; say whether there is a level beside them."""
    starts: list[float] = []
    for record in records:
        data = masked(part, record)
        data = data.expand_dims("one") if curve is None else data
        values = data.transpose("one" if curve is None else curve, "replicate", "lag").values
        lags = data["lag"].values
        colours = [_ALONE[record]] if curve is None else key.colours
        median = spread(values, axis=1).median
        width = panels.widths(median, _LINES[record]["linewidth"])
        looks = [{**_LINES[record], "color": c, "linewidth": w} for c, w in zip(colours, width, strict=True)]
        panels.draw_curves(ax, lags, values, looks)
        if record == _STATE:
            starts += median[:, 0].tolist()
    if not ax.lines:
        panels.say(ax, why_empty(part))
        return False
    level = panels.draw_level(ax, starts)
    ticks.plain(ax.xaxis, 4, whole=True)
    ticks.plain(ax.yaxis, 5)
    ax.margins(x=0.02)
    return level


def _legend(records: list[str], curve: str | None, level: bool) -> list[Line2D]:
    """Return the legend of what is drawn beside the curves' colours."""
    handles = []
    if _MEMORY in records:
        colours = _ALONE if curve is None else dict.fromkeys(records, style.GREY)
        handles = [
            Line2D([], [], color=colours[name], label=_WORDS[name], **_LINES[name]) for name in records
        ]
    return [*handles, *([panels.level_handle()] if level else [])]
