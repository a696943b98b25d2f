"""The norm of the gradient before and after clipping while networks learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.figures import panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import divided, evenly, norm_bound, other_axes, rule_axis
from gradlab.figures.needs import check_updates
from gradlab.figures.selection import (
    DIVERGED,
    chosen_axis,
    counted_out,
    masked,
    narrowed,
    replicates_words,
    sliced,
    why_empty,
)
from gradlab.figures.training import ended_words
from gradlab.figures.updates import scale_updates
from gradlab.figures.words import typeset

_BEFORE, _AFTER, _SHARE = "log10_gradient_norm", "log10_clipped_gradient_norm", "clip_active_share"
_LOOKS: dict[str, dict[str, Any]] = {
    _BEFORE: {"color": style.QUALITATIVE[0], "linestyle": "-", "zorder": 3},
    _AFTER: {"color": style.QUALITATIVE[1], "linestyle": (0, (3, 1.6)), "linewidth": 1.1, "zorder": 4},
}
_WORDS = {_BEFORE: "before clipping", _AFTER: "after clipping"}
_BOUND: dict[str, Any] = {"color": "black", "linewidth": 0.5, "zorder": 2}
_HEIGHTS = (1.2, 0.6)
_MOST = 12
_DWARFED = 5.0
"""Where the range of a column is so many times that of another, each has its own scale."""


@registry.register
@dataclass(frozen=True)
class Norms(AbstractFigure):
    """The gradient's norm before and after clipping over updates, and how often the rule acted.

    A column a clip rule; where it shortens the gradient to a threshold, that is drawn. A run that
    diverged is there as long as it had a gradient.

    Parameters
    ----------
    panel : str, optional
        The axis whose values become columns; by default the clip rule.
    """

    name: ClassVar[str] = "norms"
    summary: ClassVar[str] = (
        "gradient norm before and after clipping against update, share of updates clipped"
    )
    variables: ClassVar[tuple[str, ...]] = (_BEFORE, _AFTER)
    along_update: ClassVar[bool] = True

    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        check_updates(ds, self.name, _BEFORE, _AFTER)
        ds = narrowed(ds, _BEFORE)
        chosen = chosen_axis(ds, self.name, "panel", self.panel)
        panel = chosen or rule_axis(ds) or next(iter(other_axes(ds)), None)
        cut = evenly(sliced(ds, (panel,)), panel, _MOST)
        titles, parts = divided(cut.ds, panel)
        shares = _SHARE in cut.ds and bool(cut.ds[_SHARE].notnull().any())
        heights = _HEIGHTS if shares else _HEIGHTS[:1]
        own = _differ([_range(part) for part in parts])
        page, rows = panels.stacked(titles, heights, own_y=(0,) if own else ())
        for ax, part in zip(rows[0], parts, strict=True):
            _draw_norms(ax, part)
        if shares:
            for ax, part in zip(rows[1], parts, strict=True):
                _draw_share(ax, part)
            rows[1][0].set(ylim=(-0.06, 1.06), yticks=[0.0, 0.5, 1.0])
        named = typeset("log10 norm of the parameter gradient"), "share of updates clipped"
        panels.name_rows(rows, heights, named[: len(rows)])
        page.body.supxlabel("update")
        panels.legend(page.figure, _legend(rows[0]))
        many = replicates_words(cut.ds)
        scales = "each column on its own scale of norms" if own else ""
        words = ended_words(cut.ds, _BEFORE, "left out from there on")
        panels.small_print(page.figure, [*cut.words, many, scales, *words, counted_out(cut.ds, DIVERGED)])
        return page.figure


def _taken(part: xr.Dataset, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the updates at which there is a record, and the record (one, replicate, update)."""
    values = masked(part, name, DIVERGED).transpose("replicate", "update").values[None]
    taken = ~np.isnan(values).all(axis=(0, 1))
    return part["update"].values[taken], values[..., taken]


def _draw_norms(ax: Axes, part: xr.Dataset) -> None:
    for name in (_BEFORE, _AFTER):
        updates, values = _taken(part, name)
        panels.draw_curves(ax, updates, values, [{**_LOOKS[name], "gid": name}])
    if not ax.lines:
        panels.say(ax, why_empty(part, _BEFORE))
    bound = norm_bound(part)
    if bound is not None:
        ax.axhline(float(np.log10(bound)), gid="threshold", **_BOUND)
    ticks.plain(ax.yaxis, 5)
    scale_updates(ax, part["update"].values)


def _range(part: xr.Dataset) -> float:
    """Return how far the curves of a column go; NaN where there are none."""
    values = np.concatenate([np.ravel(_taken(part, name)[1]) for name in (_BEFORE, _AFTER)])
    values = values[np.isfinite(values)]
    return float(np.ptp(values)) if values.size else np.nan


def _differ(ranges: list[float]) -> bool:
    found = [one for one in ranges if one > 0]
    return bool(found) and max(found) >= _DWARFED * min(found)


def _draw_share(ax: Axes, part: xr.Dataset) -> None:
    updates, values = _taken(part, _SHARE)
    if values.size:
        panels.draw_curves(ax, updates, values, [{"color": style.GREY}])
    else:
        ax.text(0.5, 0.5, "not known", transform=ax.transAxes, ha="center", va="center", color=style.GREY)
    scale_updates(ax, part["update"].values)


def _legend(row: tuple[Axes, ...]) -> list[Line2D]:
    handles = [Line2D([], [], label=_WORDS[name], **_LOOKS[name]) for name in _LOOKS]
    if any(line.get_gid() == "threshold" for ax in row for line in ax.lines):
        handles.append(Line2D([], [], label="threshold", **_BOUND))
    return handles
