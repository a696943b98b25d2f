"""Panels, colour keys and small print, the same in every figure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from gradlab.figures import style
from gradlab.figures.selection import Spread, axis_label, is_numeric, text_of

_MOST_IN_A_KEY = 6
"""More numbers than this are told apart by a colour bar instead of a legend."""


@dataclass(frozen=True)
class Panels:
    """A figure with one Axes a title.

    The panels, their common labels and their colour bar stand in `body`; legend and small print
    belong to the whole `figure`, so that neither is laid over the other.
    """

    figure: Figure
    body: SubFigure
    axes: tuple[Axes, ...]


def grid(titles: Sequence[str], height: float, *, share_x: bool = True, share_y: bool = False) -> Panels:
    """Return panels in a column's width up to four of them, in two columns' width beyond.

    Parameters
    ----------
    titles : sequence of str
        One a panel.
    height : float
        Of a row, in inches.
    share_x, share_y : bool, optional
        Whether all panels have the same limits.
    """
    count = len(titles)
    columns = min(count, 2) if count <= 4 else 4
    rows = -(-count // columns)
    figure, body = style.new_page(style.SINGLE if count <= 4 else style.DOUBLE, rows * height + 0.55)
    cells = body.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y).ravel()
    for spare in cells[count:]:
        spare.remove()
    axes = tuple(cells[:count])
    for index, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        ax.set_title(wrapped(title, 24))
        if share_x and index + columns >= count:
            ax.xaxis.set_tick_params(labelbottom=True)
    return Panels(figure, body, axes)


def name_axes(panels: Panels, x: str, y: str) -> None:
    """Write what the axes of all panels show, once."""
    if len(panels.axes) == 1:
        panels.axes[0].set(xlabel=x, ylabel=y)
    else:
        panels.body.supxlabel(x)
        panels.body.supylabel(y)


def wrapped(label: str, width: int) -> str:
    """Return a label broken into lines that fit above a panel."""
    return "\n".join(textwrap.wrap(label, width)) or label


def plain_ticks(axis: Axis, most: int = 5) -> None:
    """Put at most `most` ticks, at round numbers, on an axis."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def scale_ticks(ax: Axes, which: str, values: NDArray[Any], most: int = 8) -> None:
    """Scale the x or y axis for these numbers, with ticks at the numbers themselves if they are few."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    geometric = style.is_geometric(values)
    if geometric:
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    if len(values) <= most and (geometric or len(values) <= 4):
        axis.set_major_locator(FixedLocator([float(v) for v in values]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(_plain_numbers())
    elif not geometric:
        plain_ticks(axis)


def _plain_numbers() -> ScalarFormatter:
    formatter = ScalarFormatter()
    formatter.set_scientific(False)
    return formatter


def small_print(figure: Figure, parts: Iterable[str]) -> None:
    """Write above the panels what is shown and what is not."""
    text = "; ".join(part for part in parts if part)
    if text:
        width = 80 if figure.get_figwidth() < 5 else 165
        figure.suptitle(textwrap.fill(text, width), x=0.01, ha="left", fontsize=6, color=style.GREY)


def say(ax: Axes, words: str) -> None:
    """Write into a panel why it is empty."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=style.GREY, fontsize=6)
    ax.set_yticks([])


@dataclass(frozen=True)
class Key:
    """The colour of each value of an axis, and how a reader finds it."""

    title: str
    names: tuple[str, ...]
    colours: tuple[Any, ...]
    bar: ScalarMappable | None


def colour_key(ds: xr.Dataset, axis: str | None) -> Key:
    """Return colours for the values of the axis of curves; one dark colour where there is none."""
    if axis is None:
        return Key("", ("",), (style.QUALITATIVE[0],), None)
    title = axis_label(ds, axis)
    values = ds[axis].values if axis in ds.coords else np.arange(ds.sizes[axis])
    names = tuple(text_of(value) for value in values)
    if axis in ds.coords and not is_numeric(ds, axis):
        cycle = tuple(style.QUALITATIVE[i % len(style.QUALITATIVE)] for i in range(len(names)))
        return Key(axis.replace("_", " "), names, cycle, None)
    ordered = np.sort(values)
    scale = style.scale_of(ordered)
    mappable = ScalarMappable(norm=scale, cmap=style.sequential())
    colours = tuple(tuple(c) for c in mappable.to_rgba(np.asarray(values, dtype=np.float64)))
    return Key(title, names, colours, mappable if len(names) > _MOST_IN_A_KEY else None)


def show_key(panels: Panels, key: Key, extra: Sequence[Any] = ()) -> None:
    """Put the key beside the panels (a colour bar) or below them (a legend, with `extra` handles)."""
    handles = []
    if key.bar is not None:
        bar = panels.body.colorbar(key.bar, ax=list(panels.axes), label=key.title, aspect=30, pad=0.02)
        bar.outline.set_linewidth(0.4)
    elif key.names != ("",):
        handles = [
            Line2D([], [], color=colour, label=name)
            for name, colour in zip(key.names, key.colours, strict=True)
        ]
    every = handles + list(extra)
    if every:
        legend(panels.figure, every, key.title if handles else None)


def legend(figure: Figure, handles: Sequence[Any], title: str | None = None) -> None:
    """Put a legend below everything else, in as many columns as the width holds."""
    longest = max(len(re.sub(r"[${}_]", "", str(handle.get_label()))) for handle in handles)
    # In points: a handle with its gaps, and a letter.
    columns = max(1, int(figure.get_figwidth() * 72 / (28 + 3.4 * longest)))
    rows = -(-len(handles) // columns)
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=-(-len(handles) // rows),
        title=title,
        title_fontsize=6,
    )


def draw_spread(ax: Axes, x: NDArray[Any], what: Spread, colour: Any, band: bool, **line: Any) -> bool:
    """Draw the median as a line, with its quartile band; say whether anything was there to draw.

    Zero gradients (-inf) and missing values leave gaps.
    """
    median = np.where(np.isfinite(what.median), what.median, np.nan)
    if np.isnan(median).all():
        return False
    # A point between two gaps has no line to be on.
    alone = "o" if np.isfinite(median).sum() == 1 else None
    ax.plot(x, median, color=colour, marker=line.pop("marker", alone), **line)
    if band:
        finite = np.isfinite(what.low) & np.isfinite(what.high)
        low, high = (np.where(finite, edge, np.nan) for edge in (what.low, what.high))
        ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    return True
