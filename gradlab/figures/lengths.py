"""What arrives at the first input, against the length of the sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlab.figures import panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.selection import (
    arranged,
    axis_label,
    counted_out,
    masked,
    narrowed,
    replicates_words,
    spread,
    why_empty,
)


@registry.register
@dataclass(frozen=True)
class Lengths(AbstractFigure):
    """The norm of the adjoint at the first input: a curve a radius, a panel an activation.

    Parameters
    ----------
    curve, panel : str, optional
        The axes whose values become curves and panels.
    """

    name: ClassVar[str] = "lengths"
    summary: ClassVar[str] = "log10 adjoint norm at the first input against length, a curve a radius"
    axes: ClassVar[tuple[str, ...]] = ("length",)
    variables: ClassVar[tuple[str, ...]] = ("log10_state_gradient_norm",)

    curve: str = ""
    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        ds = narrowed(ds, *self.variables)
        layout = arranged(ds, self.name, self.curve, self.panel, against=("length",))
        cut, titles = layout.cut, layout.titles
        key = panels.colour_key(cut.ds, layout.curve)
        page = panels.grid(titles, 1.45 if len(titles) > 1 else 2.2)
        for ax, part in zip(page.axes, layout.parts, strict=True):
            _draw_panel(ax, part, layout.curve, key)
        panels.share_heights(page.axes)
        first = axis_label(ds, self.variables[0]) + "\nat the first input"
        panels.name_axes(page, axis_label(ds, "length"), first)
        panels.show_key(page, key)
        many = replicates_words(cut.ds)
        gone = np.isneginf(at_first_input(masked(cut.ds, self.variables[0])).values).any()
        zero = "a zero gradient is not drawn" if gone else ""
        panels.small_print(page.figure, [*cut.words, many, counted_out(cut.ds), zero])
        return page.figure


def at_first_input(data: xr.DataArray) -> xr.DataArray:
    """Return a record at the largest lag that each case has, NaN where it has none.

    Parameters
    ----------
    data : xarray.DataArray, dims (..., lag)
        NaN beyond a case's own lags.
    """
    count = data.notnull().sum("lag")
    return data.isel(lag=(count - 1).clip(min=0)).drop_vars("lag", errors="ignore")


def _draw_panel(ax: Axes, part: xr.Dataset, curve: str | None, key: panels.Key) -> None:
    part = part.sortby("length")
    data = at_first_input(masked(part, "log10_state_gradient_norm"))
    data = data.expand_dims("one") if curve is None else data
    values = data.transpose("one" if curve is None else curve, "length", "replicate").values
    lengths, every = part["length"].values, spread(values, axis=2)
    width = panels.widths(every.median, 0.8)
    for i, colour in enumerate(key.colours):
        one = type(every)(every.low[i], every.median[i], every.high[i])
        points = {"marker": "o", "markersize": 2 * width[i], "linestyle": key.lines[i], "linewidth": width[i]}
        panels.draw_spread(ax, lengths, one, colour, values.shape[2] > 1, **points)
    if not ax.lines:
        panels.say(ax, why_empty(part))
        return
    # On a linear axis whatever grows at a constant rate is a straight line.
    ticks.plain(ax.xaxis, 4, whole=True)
    ticks.plain(ax.yaxis, 5)
