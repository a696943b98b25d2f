"""The map of growth rates over two axes, with the line where gradients keep their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import images, panels, style
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of
from gradlab.figures.selection import (
    MOST_LABELS,
    OVERFLOWED,
    axes_of,
    axis_label,
    chosen_axis,
    curve_axis,
    is_numeric,
    label_axes,
    masked,
    narrowed,
    numeric_axes,
    panel_axis,
    replicates_words,
    sliced,
    spread,
    text_of,
    titles_of,
)
from gradlab.measure.records import RATE_RESOLUTION

_HATCH = "//////"


@registry.register
@dataclass(frozen=True)
class Phase(AbstractFigure):
    """The growth rate over two axes, with the contour on which it is zero.

    Parameters
    ----------
    x, y : str, optional
        The two axes; by default two of numbers (the scale of the spectrum along x), or one of
        numbers along x and one of labels as rows.
    """

    name: ClassVar[str] = "phase"
    summary: ClassVar[str] = "map of the growth rate over two axes, with the contour where it is zero"
    variables: ClassVar[tuple[str, ...]] = ("growth_rate",)

    x: str = ""
    y: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        ds = narrowed(ds, "growth_rate")
        x, y = self._axes(ds)
        panel = panel_axis(ds, (x, y))
        cut = sliced(ds, (x, y, panel))
        part = cut.ds.sortby([axis for axis in (x, y) if is_numeric(cut.ds, axis)])
        parts = [part] if panel is None else [part.isel({panel: i}) for i in range(part.sizes[panel])]
        titles = [""] if panel is None else titles_of(part, panel)
        maps = [_rates(one, x, y) for one in parts]
        norm = centred([rates for rates, _ in maps])
        rows = part.sizes[y] if not is_numeric(part, y) else 0
        page = panels.grid(titles, max(1.35 if len(titles) > 1 else 2.0, 0.16 * rows + 0.3))
        signs: set[str] = set()
        for ax, one, (rates, gone) in zip(page.axes, parts, maps, strict=True):
            signs |= _draw_map(ax, one, x, y, rates, gone, norm)
        panels.name_axes(page, *(axis_label(part, axis) for axis in (x, y)))
        label = axis_label(part, "growth_rate").replace(" (", "\n(")
        bar = images.bar(page, norm, label, cmap=style.DIVERGING, aspect=30)
        bar.set_ticks(round_values(float(norm.vmax or 1.0)))
        _explain(page.figure, signs)
        panels.small_print(page.figure, [*cut.words, replicates_words(part, "median")])
        return page.figure

    def _axes(self, ds: xr.Dataset) -> tuple[str, str]:
        for option, axis in (("x", self.x), ("y", self.y)):
            chosen_axis(ds, self.name, option, axis)
        if self.x and self.x == self.y:
            raise UserMistake(Problem(f"figure {self.name!r}", "two different axes", f"{self.x!r} twice"))
        y = self.y
        learner = axis_of(ds, "learner")  # changes no adjoint, so no growth rate
        several = [axis for axis in label_axes(ds) if ds.sizes[axis] > 1 and axis not in (y, learner)]
        x = self.x or curve_axis(ds, {y}) or next(iter(several), "")
        others = [axis for axis in numeric_axes(ds) if axis not in (x, y)]
        others += [axis for axis in several if axis != x]
        y = y or next(iter(others), "")
        if not self.x and not self.y and x in several and y in several and ds.sizes[x] > ds.sizes[y]:
            x, y = y, x  # labels have more room as rows
        if not x or not y:
            got = ", ".join(axes_of(ds)) or "no axes"
            raise UserMistake(
                Problem(
                    f"figure {self.name!r}",
                    "a dataset with two axes of several values each",
                    f"one with {got}",
                    "Sweep over a second setting.",
                )
            )
        return x, y


def _rates(part: xr.Dataset, x: str, y: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return median growth rates (y, x), NaN where no case counts, and where all that ran overflowed.

    A rate that is zero to rounding is zero: its sign says nothing.
    """
    rates = spread(masked(part, "growth_rate").transpose(y, x, "replicate").values, axis=2).median
    rates = np.where(np.isfinite(rates), rates, np.nan)
    rates = np.where(np.abs(rates) <= RATE_RESOLUTION, 0.0, rates)
    gone = np.zeros(rates.shape, dtype=bool)
    if "status" in part:
        over = part["status"] == OVERFLOWED
        over = over.any("replicate") if "replicate" in over.dims else over
        gone = over.transpose(y, x).values & np.isnan(rates)
    return rates, gone


def centred(maps: list[NDArray[np.float64]]) -> Normalize:
    """Return a colour scale symmetric about zero that holds every rate.

    Colours go with the square root of a rate. The sign is what is asked for, and it must be seen
    next to rates a hundred times as large, which in turn are not all of one colour.
    """
    values = np.concatenate([rates[np.isfinite(rates)] for rates in maps])
    reach = float(np.abs(values).max(initial=0.0)) or 1.0
    return FuncNorm((_signed_root, _signed_square), -reach, reach)


def _signed_root(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sign(rate) * np.sqrt(np.abs(rate)))


def _signed_square(root: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sign(root) * np.square(root))


def round_values(reach: float) -> list[float]:
    """Return the ticks of a scale by square roots: two round numbers up to `reach`, zero, and both below."""
    decade = 10.0 ** np.floor(np.log10(reach))
    digit = max(d for d in (1, 2, 5) if d * decade <= reach * (1 + 1e-12))
    lesser = {1: 0.2, 2: 0.5, 5: 1.0}[digit]
    # Through a text, so that 3 * 0.1 is 0.3.
    great, small = (float(f"{part * decade:.6g}") for part in (digit, lesser))
    return [-great, -small, 0.0, small, great]


def _draw_map(
    ax: Axes,
    part: xr.Dataset,
    x: str,
    y: str,
    rates: NDArray[np.float64],
    gone: NDArray[np.bool_],
    norm: Normalize,
) -> set[str]:
    """Draw one panel; return which of "zero", "overflowed", "outside" and "missing" is in it."""
    xs, ys = _places(part, x), _places(part, y)
    x_edges, y_edges = _edges(xs), _edges(ys)
    ax.set_facecolor(style.PALE)
    _set_axis(ax, part, "x", x, xs)
    _set_axis(ax, part, "y", y, ys)
    ax.pcolormesh(x_edges, y_edges, rates, cmap=style.DIVERGING, norm=norm, rasterized=True)
    signs: set[str] = set()
    if gone.any():
        cells = [_corners(x_edges, y_edges, row, column) for row, column in np.argwhere(gone)]
        ax.add_collection(
            PolyCollection(
                cells, facecolor=style.PALE, edgecolor="0.35", hatch=_HATCH, linewidth=0, gid="overflowed"
            )
        )
        signs.add("overflowed")
    outside = _outside(part, x, y)
    if outside.any():
        cells = [_corners(x_edges, y_edges, row, column) for row, column in np.argwhere(outside)]
        ax.add_collection(PolyCollection(cells, facecolor="white", linewidth=0, gid="outside"))
        signs.add("outside")
    if (np.isnan(rates) & ~gone & ~outside).any():
        signs.add("missing")
    numbers = is_numeric(part, x) and is_numeric(part, y) and min(rates.shape) >= 2
    if numbers:
        found = _draw_contour(ax, xs, ys, x_edges, y_edges, rates)
    else:
        found = is_numeric(part, x) and _draw_marks(ax, xs, y_edges, rates)
    if found:
        signs.add("zero")
    return signs


def _outside(part: xr.Dataset, x: str, y: str) -> NDArray[np.bool_]:
    """Return the points (y, x) that a filter left out of the sweep; their content keys are empty."""
    if "case_key" not in part:
        return np.zeros((part.sizes[y], part.sizes[x]), dtype=bool)
    none = part["case_key"] == ""
    none = none.all("replicate") if "replicate" in none.dims else none
    return np.asarray(none.transpose(y, x).values, dtype=bool)


def _corners(
    x: NDArray[np.float64], y: NDArray[np.float64], row: int, column: int
) -> list[tuple[float, float]]:
    (left, right), (low, high) = x[column : column + 2], y[row : row + 2]
    return [(left, low), (right, low), (right, high), (left, high)]


def _draw_contour(
    ax: Axes,
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    x_edges: NDArray[np.float64],
    y_edges: NDArray[np.float64],
    rates: NDArray[np.float64],
) -> bool:
    """Draw where the rate is zero over two axes of numbers, out to the borders of the map."""
    finite = rates[np.isfinite(rates)]
    if not finite.size or finite.min() > 0 or finite.max() < 0 or (finite == 0).all():
        return False
    x = np.concatenate([x_edges[:1], xs, x_edges[-1:]])
    y = np.concatenate([y_edges[:1], ys, y_edges[-1:]])
    ax.contour(
        x,
        y,
        np.ma.masked_invalid(np.pad(rates, 1, mode="edge")),
        levels=[0.0],
        colors="black",
        linewidths=1.0,
    )
    return True


def _draw_marks(
    ax: Axes, xs: NDArray[np.float64], y_edges: NDArray[np.float64], rates: NDArray[np.float64]
) -> bool:
    """Mark where the rate is zero along x in every row: between rows of labels there is nothing to follow."""
    marks = [
        [(place, y_edges[row]), (place, y_edges[row + 1])]
        for row, line in enumerate(rates)
        for place in crossings(xs, line)
    ]
    if marks:
        ax.add_collection(LineCollection(marks, colors="black", linewidths=1.2, gid="zero"))
    return bool(marks)


def crossings(x: NDArray[np.float64], rate: NDArray[np.float64]) -> list[float]:
    """Return where straight lines between neighbouring rates change sign; gaps have no crossing."""
    found = [float(place) for place, value in zip(x, rate, strict=True) if value == 0.0]
    for i in range(len(x) - 1):
        a, b = rate[i], rate[i + 1]
        if (a < 0 < b) or (b < 0 < a):
            found.append(float(x[i] + (x[i + 1] - x[i]) * a / (a - b)))
    return sorted(found)


def _places(part: xr.Dataset, axis: str) -> NDArray[np.float64]:
    if is_numeric(part, axis):
        return np.asarray(part[axis].values, dtype=np.float64)
    return np.arange(part.sizes[axis], dtype=np.float64)


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the borders of cells around ascending centres, halfway on the scale they are shown on."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    geometric = style.is_geometric(centres)
    c = np.log(centres) if geometric else centres
    inner = (c[1:] + c[:-1]) / 2
    edges = np.concatenate([[c[0] - (inner[0] - c[0])], inner, [c[-1] + (c[-1] - inner[-1])]])
    return np.exp(edges) if geometric else edges


def _set_axis(ax: Axes, part: xr.Dataset, which: str, axis: str, places: NDArray[np.float64]) -> None:
    if is_numeric(part, axis):
        panels.scale_ticks(ax, which, places)
        return
    labels = [text_of(label) for label in part[axis].values] if axis in part.coords else None
    if which == "x":
        steep = 35 if len(places) <= MOST_LABELS else 90
        ax.set_xticks(places, labels, rotation=steep, ha="right", va="center", rotation_mode="anchor")
    else:
        ax.set_yticks(places, labels)
        ax.invert_yaxis()


def _explain(figure: Figure, signs: set[str]) -> None:
    handles: list[Any] = []
    if "zero" in signs:
        handles.append(Line2D([], [], color="black", linewidth=1.0, label="growth rate zero"))
    if "overflowed" in signs:
        handles.append(
            Patch(facecolor=style.PALE, edgecolor="0.35", hatch=_HATCH, linewidth=0, label="state overflowed")
        )
    if "outside" in signs:
        handles.append(
            Patch(facecolor="white", edgecolor=style.GREY, linewidth=0.4, label="not in the sweep")
        )
    if "missing" in signs:
        handles.append(Patch(facecolor=style.PALE, label="no rate"))
    if handles:
        panels.legend(figure, handles)
