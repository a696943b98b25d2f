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
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.figures import style
from gradlab.figures.selection import Spread, axis_label, is_numeric, spread
from gradlab.figures.words import texts_of

_MOST_IN_A_KEY = 8
"""More numbers than this are told apart by a colour bar instead of a legend."""
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Where labels run out of colours, the next round of them has another line."""
_LETTER = 3.9  # points, the width of a letter and more
_LEVEL: dict[str, Any] = {"color": style.GREY, "linestyle": ":", "linewidth": 0.6}
_FAR_BELOW = 1e4
"""Decades below the rest that no axes show."""
_MARGIN = 0.55  # inches, for the labels and the one row of legend below the panels
_ROW = 0.145  # inches, of a legend
_TITLE = 0.123  # inches, of a line of a title
_PRINT = 0.107  # inches, of a line of small print


@dataclass(frozen=True)
class Panels:
    """A figure with one Axes a title.

    The panels, their common labels and their colour bar stand in `body`; legend and small print
    belong to the whole `figure`, so that neither is laid over the other.
    """

    figure: Figure
    body: SubFigure
    axes: tuple[Axes, ...]


def grid(
    titles: Sequence[str], height: float, *, share_x: bool = True, share_y: bool = False, letters: int = 24
) -> Panels:
    """Return panels in a column's width up to four of them, in two columns' width beyond.

    Beyond a dozen they are small multiples, five a row.

    Parameters
    ----------
    titles : sequence of str
        One a panel.
    height : float
        Of a row, in inches.
    share_x, share_y : bool, optional
        Whether all panels have the same limits.
    letters : int
        How many of a title fit beside each other.
    """
    count = len(titles)
    columns = min(count, 2)
    if count > 4:  # four a row, or three where that leaves fewer places empty
        columns = min((4, 3), key=lambda across: -count % across) if count <= 12 else 5
    rows = -(-count // columns)
    figure, body = style.new_page(style.SINGLE if count <= 4 else style.DOUBLE, rows * height + _MARGIN)
    cells = body.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y).ravel()
    for spare in cells[count:]:
        spare.remove()
    axes = tuple(cells[:count])
    for index, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        ax.set_title(wrapped(title, letters if columns < 5 else min(letters, 18)))
        if share_x and index + columns >= count:
            ax.xaxis.set_tick_params(labelbottom=True)
    return Panels(figure, body, axes)


def stacked(
    titles: Sequence[str], heights: Sequence[float], own_y: Sequence[int] = ()
) -> tuple[Panels, list[tuple[Axes, ...]]]:
    """Return columns of panels over one another, and the Axes of each row of them.

    A column a title, two in a column's width and four in two columns' width; more stand below. All
    share x; what stands in the same row of its column shares y. The page grows by the lines of a
    title beyond the first, so that the panels keep their height.

    Parameters
    ----------
    titles : sequence of str
        One a column.
    heights : sequence of float
        Of the panels of a column, in inches.
    own_y : sequence of int, optional
        The rows whose panels have each their own scale along y.
    """
    count, deep = len(titles), len(heights)
    across = min(count, 2) if count <= 2 else min(count, 4)
    blocks = -(-count // across)
    width = style.SINGLE if count <= 2 else style.DOUBLE
    titles = [wrapped(title, 24) for title in titles]
    taller = [max(title.count("\n") for title in titles[i : i + across]) for i in range(0, count, across)]
    figure, body = style.new_page(width, blocks * sum(heights) + _TITLE * sum(taller) + _MARGIN)
    cells = body.subplots(
        blocks * deep, across, squeeze=False, sharex=True, height_ratios=list(heights) * blocks
    )
    rows = [tuple(cells[i // across * deep + row, i % across] for i in range(count)) for row in range(deep)]
    for ax in set(cells.ravel()) - {ax for row in rows for ax in row}:
        ax.remove()
    shared = [row for index, row in enumerate(rows) if index not in own_y]
    for row in shared:
        for ax in row[1:]:
            ax.sharey(row[0])
    for i, (ax, title) in enumerate(zip(rows[0], titles, strict=True)):
        ax.set_title(title)
        rows[-1][i].xaxis.set_tick_params(labelbottom=i + across >= count)
        for row in shared:
            row[i].yaxis.set_tick_params(labelleft=i % across == 0)
    return Panels(figure, body, tuple(ax for row in rows for ax in row)), rows


def name_rows(rows: Sequence[tuple[Axes, ...]], heights: Sequence[float], labels: Sequence[str]) -> None:
    """Write what each row of `stacked` panels shows, at the left of it."""
    for row, height, label in zip(rows, heights, labels, strict=True):
        for ax in row:
            if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]  # each has its place
                ax.set_ylabel(wrapped(label, int(height * 72 / _LETTER)))
    rows[0][0].figure.align_ylabels([ax for row in rows for ax in row])


def name_axes(panels: Panels, x: str, y: str) -> None:
    """Write what the axes of all panels show, once, in as many lines as fit."""
    x = wrapped(x, int((panels.figure.get_figwidth() - 0.6) * 72 / _LETTER))
    y = upright(panels, y)
    if len(panels.axes) == 1:
        panels.axes[0].set(xlabel=x, ylabel=y)
    else:
        panels.body.supxlabel(x)
        panels.body.supylabel(y)


def wrapped(label: str, width: int) -> str:
    """Return a label broken into lines of that many letters, if it can be around a parenthesis."""
    if len(label) <= width:
        return label
    behind = re.split(r"(?<=\),) ", label)
    if len(behind) > 1:
        return "\n".join(wrapped(part, width) for part in behind)
    name, opening, rest = label.partition("(")
    parts = [name.strip(), opening + rest] if name else [label]
    return "\n".join(line for part in parts for line in textwrap.wrap(part, width)) or label


def upright(panels: Panels, label: str) -> str:
    """Return a label along y, or of a colour bar, broken into lines no longer than the panels are high."""
    inches = panels.figure.get_figheight() - _MARGIN
    width = max(12, int(inches * 72 / _LETTER))
    return "\n".join(wrapped(line, width) for line in label.split("\n"))


def small_print(figure: Figure, parts: Iterable[str]) -> None:
    """Write above the panels what is shown and what is not; the page grows by the lines beyond the first."""
    text = "; ".join(part for part in parts if part)
    if text:
        lines = textwrap.wrap(text, 72 if figure.get_figwidth() < 5 else 150)
        figure.set_figheight(figure.get_figheight() + _PRINT * (len(lines) - 1))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=6, color=style.GREY)


def say(ax: Axes, words: str) -> None:
    """Write into a panel why it is empty."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=style.GREY, fontsize=6)
    ax.set_yticks([])


@dataclass(frozen=True)
class Key:
    """The colour and line of each value of an axis, and how a reader finds it.

    Parameters
    ----------
    title : str
        What the axis is.
    names, colours, lines : tuple
        One a value.
    bar : ScalarMappable or None
        The colour bar, where numbers are many.
    order : tuple of int
        The values as a legend lists them: numbers ascend.
    """

    title: str
    names: tuple[str, ...]
    colours: tuple[Any, ...]
    lines: tuple[Any, ...]
    bar: ScalarMappable | None
    order: tuple[int, ...]


def colour_key(ds: xr.Dataset, axis: str | None) -> Key:
    """Return colours for the values of the axis of curves; one dark colour where there is none.

    A few numbers have colours by rank, evenly spaced, so that any two can be told apart; many have
    them by size.
    """
    if axis is None:
        return Key("", ("",), (style.QUALITATIVE[0],), ("-",), None, (0,))
    title = axis_label(ds, axis)
    values = ds[axis].values
    names = tuple(texts_of(values))
    if axis in ds.coords and not is_numeric(ds, axis):
        rounds = [divmod(i, len(style.QUALITATIVE)) for i in range(len(names))]
        cycle = tuple(style.QUALITATIVE[i] for _, i in rounds)
        lines = tuple(_LINES[i % len(_LINES)] for i, _ in rounds)
        return Key(axis.replace("_", " "), names, cycle, lines, None, tuple(range(len(names))))
    order = np.argsort(values, kind="stable")
    place, bar = np.asarray(values, dtype=np.float64), None
    if len(names) > _MOST_IN_A_KEY:
        bar = ScalarMappable(norm=style.scale_of(place[order]), cmap=style.sequential())
        shades = bar.to_rgba(place)
    else:
        shades = style.sequential()(np.argsort(order) / max(1, len(names) - 1))
    colours = tuple(tuple(c) for c in shades)
    return Key(title, names, colours, ("-",) * len(names), bar, tuple(map(int, order)))


def show_key(panels: Panels, key: Key, extra: Sequence[Any] = ()) -> None:
    """Put the key beside the panels (a colour bar) or below them (a legend, with `extra` handles)."""
    handles = []
    if key.bar is not None:
        title = upright(panels, key.title)
        bar = panels.body.colorbar(key.bar, ax=list(panels.axes), label=title, aspect=30, pad=0.02)
        bar.outline.set_linewidth(0.4)
    elif key.names != ("",):
        handles = [
            Line2D([], [], color=key.colours[i], linestyle=key.lines[i], label=key.names[i])
            for i in key.order
        ]
    every = handles + list(extra)
    if every:
        legend(panels.figure, every, key.title if handles else None)


def legend(figure: Figure, handles: Sequence[Any], title: str | None = None) -> None:
    """Put a legend below everything else, in as many columns as the width holds.

    The page grows by its rows beyond the first, so that the panels keep their height.
    """
    letters = [len(re.sub(r"[${}_]|\\\w+", "", str(handle.get_label()))) for handle in handles]
    width = figure.get_figwidth() * 72 - 12
    columns = next(n for n in range(len(handles), 0, -1) if n == 1 or _legend_width(letters, n) <= width)
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + _ROW * (rows - 1 + bool(title)))
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=-(-len(handles) // rows),
        title=title,
        title_fontsize=6,
    )


def _legend_width(letters: Sequence[int], columns: int) -> float:
    """Return the width in points of a legend that is filled column by column."""
    rows, longer = divmod(len(letters), columns)
    width, first = 0.0, 0
    for column in range(columns):
        after = first + rows + (column < longer)
        width += 28 + 3.5 * max(letters[first:after])  # a handle with its gaps, and the letters
        first = after
    return width


def draw_level(ax: Axes, starts: Iterable[float]) -> bool:
    """Draw the level that curves keep which do not change, and say whether there is one.

    There is none where the curves of a panel start at heights of their own.
    """
    there = [start for start in starts if np.isfinite(start)]
    low, high = ax.get_ylim()
    if not there or max(there) - min(there) > 0.06 * (high - low):
        return False
    ax.axhline(float(np.median(there)), zorder=1, gid="level", **_LEVEL)
    return True


def level_handle() -> Line2D:
    """Return the legend of the level."""
    return Line2D([], [], label="no change", **_LEVEL)


def share_heights(axes: Iterable[Axes]) -> None:
    """Give panels one scale along y where their curves reach about as far, so that they can be compared."""
    drawn = [ax for ax in axes if ax.lines]
    limits = np.array([ax.get_ylim() for ax in drawn]).reshape(-1, 2)
    if len(drawn) > 1 and np.ptp(limits) <= 1.5 * (limits[:, 1] - limits[:, 0]).min():
        for ax in drawn:
            ax.set_ylim(limits.min(), limits.max())


def widths(medians: NDArray[np.float64], width: float) -> list[float]:
    """Return a line width for each curve, in order of drawing: the wider, the more curves cover it.

    Two curves that agree to one per cent of the panel are one line to the eye, and the first would
    be lost under the second.

    Parameters
    ----------
    medians : array of shape (curve, points)
        NaN and -inf are gaps.
    width : float
        Of a curve that nothing covers, in points.
    """
    curves = np.where(np.isfinite(medians), medians, np.nan)
    if np.isnan(curves).all():
        return [width] * len(curves)
    near = 0.01 * (np.nanmax(curves) - np.nanmin(curves))
    found = []
    for i, curve in enumerate(curves):
        there = ~np.isnan(curve)
        apart = np.abs(curves[i + 1 :, there] - curve[there])  # NaN where the other one has ended
        over = int((apart <= near).all(axis=1).sum()) if there.any() else 0
        found.append(width + 1.2 * min(over, 2))
    return found


def draw_spread(ax: Axes, x: NDArray[Any], what: Spread, colour: Any, band: bool, **line: Any) -> bool:
    """Draw the median as a line, with its quartile band; say whether anything was there to draw.

    Zero gradients (-inf) and missing values leave gaps; a band whose lower edge is zero goes on downwards.
    """
    median = np.where(np.isfinite(what.median), what.median, np.nan)
    if np.isnan(median).all():
        return False
    # A point between two gaps has no line to be on.
    alone = "o" if np.isfinite(median).sum() == 1 else None
    ax.plot(x, median, color=colour, marker=line.pop("marker", alone), **line)
    if band:
        _draw_band(ax, x, what, colour)
    return True


def _draw_band(ax: Axes, x: NDArray[Any], what: Spread, colour: Any) -> None:
    there = np.isfinite(what.high) & (np.isfinite(what.low) | np.isneginf(what.low))
    if not there.any():
        return
    low, high = (np.where(there, edge, np.nan) for edge in (what.low, what.high))
    limits = ax.dataLim.frozen()
    ax.fill_between(
        x, np.maximum(low, high[there].min() - _FAR_BELOW), high, color=colour, alpha=0.2, linewidth=0
    )
    ax.dataLim.set(limits)  # the axes are to show what is finite
    edges = np.stack([np.tile(x, 2), np.concatenate([np.where(np.isfinite(low), low, np.nan), high])], axis=1)
    ax.update_datalim(edges[np.isfinite(edges).all(axis=1)])


def draw_curves(ax: Axes, x: NDArray[Any], values: NDArray[Any], looks: Sequence[Any]) -> bool:
    """Draw curves as `draw_spread` does; say whether anything was there to draw.

    Parameters
    ----------
    ax : Axes
        The panel.
    x : array of shape (points,)
        Where the values stand.
    values : array of shape (curve, replicate, points)
        Median and quartiles are over replicates.
    looks : sequence of dict
        Of each curve, what `Axes.plot` is told; "color" must be among it.
    """
    every, band, drawn = spread(values, axis=1), values.shape[1] > 1, False
    for i, look in enumerate(looks):
        line = {name: value for name, value in look.items() if name != "color"}
        one = Spread(every.low[i], every.median[i], every.high[i])
        drawn |= draw_spread(ax, x, one, look["color"], band, **line)
    return drawn
