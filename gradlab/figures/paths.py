"""How much of the memory's adjoint came through the memory alone."""

from __future__ import annotations

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
from gradlab.figures.axes import axis_of, divided, evenly, having
from gradlab.figures.selection import (
    Sliced,
    axes_of,
    axis_label,
    chosen_axis,
    counted_out,
    curve_axis,
    first_of,
    is_numeric,
    masked,
    narrowed,
    replicates_words,
    sliced,
    thinned,
    why_empty,
)

_RECORD = "log10_path_gradient_norm"
_MOST_NUMBERS, _MOST_LABELS = 4, 12
_LOOKS: dict[str, dict[str, Any]] = {
    "total": {"color": "black", "linestyle": "-", "linewidth": 0.9, "zorder": 2},
    "memory": {"color": style.QUALITATIVE[0], "linestyle": (0, (4, 1.5)), "linewidth": 1.3, "zorder": 4},
    "rest": {"color": style.QUALITATIVE[1], "linestyle": (0, (1, 1)), "linewidth": 1.5, "zorder": 3},
}
_WORDS = {"total": "total", "memory": "memory alone", "rest": "all other paths"}


@registry.register
@dataclass(frozen=True)
class Paths(AbstractFigure):
    """The adjoint of a gated cell, split into what came through the memory alone and the rest.

    Through the memory alone an adjoint meets gates and no recurrent weight.

    Parameters
    ----------
    panel : str, optional
        The axis whose values become panels; by default the cells, the forget bias, or what comes
        nearest to them.
    """

    name: ClassVar[str] = "paths"
    summary: ClassVar[str] = "log10 adjoint norm through the memory alone and by other paths against lag"
    variables: ClassVar[tuple[str, ...]] = (_RECORD,)

    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        if bool(np.isnan(ds[_RECORD].values).all()):
            raise UserMistake(
                Problem(f"figure {self.name!r}", f"the record {_RECORD} of gated cells", "none")
            )
        ds = narrowed(ds, _RECORD)
        panel = chosen_axis(ds, self.name, "panel", self.panel) or _panels(ds)
        cut = thinned(_gated(sliced(ds, (panel,)), panel))
        if panel is not None:
            numbers = is_numeric(cut.ds, panel)
            cut = evenly(cut, panel, _MOST_NUMBERS) if numbers else first_of(cut, panel, _MOST_LABELS)
        titles, parts = divided(cut.ds, panel)
        page = panels.grid(titles, 1.45 if len(parts) > 1 else 2.2)
        for ax, part in zip(page.axes, parts, strict=True):
            _draw_panel(ax, part)
        panels.share_heights(page.axes)
        panels.name_axes(page, axis_label(ds, "lag"), axis_label(ds, _RECORD))
        panels.legend(page.figure, [Line2D([], [], label=_WORDS[p], **_LOOKS[p]) for p in _LOOKS])
        many = replicates_words(cut.ds)
        gone = np.isneginf(masked(cut.ds, _RECORD)).any()
        ends = "no line where a gradient is zero" if gone else ""
        panels.small_print(page.figure, [*cut.words, many, counted_out(cut.ds), ends])
        return page.figure


def _panels(ds: xr.Dataset) -> str | None:
    axes = [axis_of(ds, "network.cell"), "forget_bias" if "forget_bias" in axes_of(ds) else None]
    several = [axis for axis in axes if axis is not None and ds.sizes[axis] > 1]
    return next(iter(several), None) or curve_axis(ds)


def _gated(cut: Sliced, panel: str | None) -> Sliced:
    """Leave out the panels whose cases ran and have no such paths, and say which."""
    if panel is None or is_numeric(cut.ds, panel):
        return cut
    ds, names = having(cut.ds, panel, _RECORD)
    words = (f"not gated: {', '.join(names)}",) if names else ()
    return Sliced(ds, (*cut.words, *words))


def _draw_panel(ax: Axes, part: xr.Dataset) -> None:
    data = masked(part, _RECORD).transpose("path", "replicate", "lag")
    lags = data["lag"].values
    looks = [_LOOKS[str(path)] for path in part["path"].values]
    if not panels.draw_curves(ax, lags, data.values, looks):
        panels.say(ax, why_empty(part))
        return
    ticks.plain(ax.xaxis, 4, whole=True)
    ticks.plain(ax.yaxis, 5)
    ax.margins(x=0.02)
