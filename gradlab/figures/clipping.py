"""What clipping changes: the profile of adjoints, or the finished gradient."""

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
from gradlab.figures.profile import draw_profiles, level_and_exact
from gradlab.figures.selection import (
    MOST_LABELS,
    axis_label,
    chosen_axis,
    counted_out,
    curve_axis,
    entry_name,
    first_of,
    has_many_labels,
    is_numeric,
    label_axes,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    thinned,
)
from gradlab.figures.words import texts_of
from gradlab.learning.clipping import registry as rules

_BEFORE: dict[str, Any] = {"color": "black", "linestyle": "-", "marker": "o"}
_AFTER: dict[str, Any] = {"color": style.QUALITATIVE[1], "linestyle": (0, (4, 1.5)), "marker": "x"}


@registry.register
@dataclass(frozen=True)
class Clipping(AbstractFigure):
    """The same curves without and with each clip rule, and the gradient's norm before and after.

    A row a rule. A rule that acts on the finished gradient leaves the profile as it is and shortens
    the gradient; a rule inside the recursion changes the profile, and the gradient with it.

    Parameters
    ----------
    curve : str, optional
        The axis whose values become curves, and along which gradient norms are drawn.
    """

    name: ClassVar[str] = "clipping"
    summary: ClassVar[str] = "profiles without and with each clip rule, gradient norms before and after"
    axes: ClassVar[tuple[str, ...]] = ("clip",)
    variables: ClassVar[tuple[str, ...]] = (
        "log10_state_gradient_norm",
        "log10_gradient_norm",
        "log10_clipped_gradient_norm",
    )

    curve: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        labels = [str(label) for label in ds["clip"].values] if "clip" in ds.coords else []
        if "off" not in labels or len(labels) < 2:
            raise UserMistake(
                Problem(
                    f"figure {self.name!r}",
                    "cases without clipping ('off') and with it on the axis 'clip'",
                    ", ".join(labels) or "an axis without labels",
                )
            )
        ds = narrowed(ds, *self.variables)
        curve = chosen_axis(ds, self.name, "curve", self.curve, "clip") or _curves(ds)
        cut = thinned(sliced(_where_it_acts(ds, curve), ("clip", curve)))
        if curve and has_many_labels(ds, curve):
            cut = first_of(cut, curve, MOST_LABELS)
        key = panels.colour_key(cut.ds, curve)
        without = cut.ds.isel(clip=labels.index("off"))
        kept = [index for index, label in enumerate(labels) if label != "off"]
        figure, body = style.new_page(style.DOUBLE, 1.45 * len(kept) + 0.6)
        cells = body.subplots(len(kept), 3, squeeze=False)
        beside: set[str] = set()
        for row, index in zip(cells, kept, strict=True):
            beside |= _draw_row(row, without, cut.ds.isel(clip=index), labels[index], curve, key)
        for ax in cells[-1, :2]:
            ax.set_xlabel(axis_label(ds, "lag"))
        cells[-1, 2].set_xlabel(axis_label(ds, curve) if curve else "")
        page = panels.Panels(figure, body, tuple(cells[:, :2].ravel()))
        body.supylabel(panels.upright(page, axis_label(ds, self.variables[0])))
        panels.show_key(page, key, _legend(curve is None or not is_numeric(ds, curve), beside))
        many = replicates_words(cut.ds)
        panels.small_print(figure, [*cut.words, many, counted_out(cut.ds)])
        return figure


def _curves(ds: xr.Dataset) -> str | None:
    several = [axis for axis in label_axes(ds) if axis != "clip" and ds.sizes[axis] > 1]
    return curve_axis(ds, {"clip"}) or next(iter(several), None)


def _where_it_acts(ds: xr.Dataset, curve: str | None) -> xr.Dataset:
    """Cut every other label axis where adjoints grow most: there clipping has most to do."""
    if "growth_rate" not in ds:
        return ds
    rates = masked(ds, "growth_rate")
    for axis in label_axes(ds):
        if axis not in ("clip", "learner", curve) and ds.sizes[axis] > 1:
            finite = rates.where(np.isfinite(rates))
            mean = finite.mean([dim for dim in rates.dims if dim != axis]).fillna(-np.inf)
            index = int(np.argmax(mean.values))
            ds, rates = ds.isel({axis: index}), rates.isel({axis: index})
    return ds


def _legend(points: bool, beside: set[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], label="without clipping", **_BEFORE),
        Line2D([], [], label="with clipping", **_AFTER),
    ]
    for handle in handles:
        handle.set(markerfacecolor="none", markersize=4)
        handle.set(linestyle="none") if points else handle.set(marker="none")
    return [*level_and_exact(beside), *handles]


def _draw_row(
    row: Any, without: xr.Dataset, clipped: xr.Dataset, label: str, curve: str | None, key: panels.Key
) -> set[str]:
    """Draw a rule's row of panels; say which of "level" and "exact" slope stand beside the curves."""
    left, right, norms = row
    record = "log10_state_gradient_norm"
    beside = draw_profiles(left, without, record, curve, key)
    beside |= draw_profiles(right, clipped, record, curve, key)
    if left.lines and right.lines:
        low, high = zip(left.get_ylim(), right.get_ylim(), strict=True)
        for ax in (left, right):
            ax.set_ylim(min(low), max(high))
    left.set_title("without clipping")
    right.set_title(f"with {label}")
    norms.set_title(f"scope: {rules.get(entry_name(label), 'clip').scope}")
    # A rule in the recursion has no "before" of its own: its raw gradient is that of the cases without.
    _draw_norms(norms, without, "log10_gradient_norm", curve, _BEFORE)
    _draw_norms(norms, clipped, "log10_clipped_gradient_norm", curve, _AFTER)
    norms.set_ylabel("log$_{10}$ norm of the\nparameter gradient")
    ticks.plain(norms.yaxis, 5)
    return beside


def _draw_norms(ax: Axes, part: xr.Dataset, name: str, curve: str | None, line: dict[str, Any]) -> None:
    data = masked(part, name)
    values = (data.expand_dims("one") if curve is None else data.transpose(curve, "replicate")).values
    if curve is not None and is_numeric(part, curve):
        x = part[curve].values
        order = np.argsort(x)
        found = spread(values[order], axis=1)
        panels.draw_spread(
            ax, x[order], found, line["color"], values.shape[1] > 1, linestyle=line["linestyle"]
        )
        ticks.at(ax, "x", x[order], most=5)
        return
    # Between labels there is nothing for a line to pass through.
    points = {"linestyle": "none", "marker": line["marker"], "markerfacecolor": "none", "markersize": 4}
    panels.draw_spread(ax, np.arange(len(values)), spread(values, axis=1), line["color"], False, **points)
    names = [] if curve is None else texts_of(part[curve].values)
    ax.set_xticks(np.arange(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
