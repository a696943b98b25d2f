"""The map of growth rates over two axes, with the line where gradients keep their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gradlab.figures import images, maps, panels, style
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import axis_of
from gradlab.figures.selection import (
    OVERFLOWED,
    axis_label,
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
    titles_of,
)
from gradlab.measure.records import RATE_RESOLUTION

_WORDS = {"gone": "state overflowed", "outside": "not in the sweep", "missing": "no rate, or gradient zero"}


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
        found = [_rates(one, x, y) for one in parts]
        norm = centred([rates for rates, _ in found])
        page = maps.page(titles, part, y)
        signs: set[str] = set()
        for ax, one, (rates, gone) in zip(page.axes, parts, found, strict=True):
            signs |= _draw_map(ax, one, x, y, rates, gone, norm)
        panels.name_axes(page, *(axis_label(part, axis) for axis in (x, y)))
        label = axis_label(part, "growth_rate").replace(" (", "\n(")
        bar = images.bar(page, norm, label, cmap=style.DIVERGING, aspect=30)
        bar.set_ticks(round_values(float(norm.vmax or 1.0)))
        _explain(page.figure, signs)
        panels.small_print(page.figure, [*cut.words, replicates_words(part, "median")])
        return page.figure

    def _axes(self, ds: xr.Dataset) -> tuple[str, str]:
        maps.check_options(self.name, ds, self.x, self.y)
        y = self.y
        learner = axis_of(ds, "learner")  # changes no adjoint, so no growth rate
        several = [axis for axis in label_axes(ds) if ds.sizes[axis] > 1 and axis not in (y, learner)]
        x = self.x or curve_axis(ds, {y}) or next(iter(several), "")
        others = [axis for axis in numeric_axes(ds) if axis not in (x, y)]
        others += [axis for axis in several if axis != x]
        y = y or next(iter(others), "")
        if not self.x and not self.y and x in several and y in several and ds.sizes[x] > ds.sizes[y]:
            x, y = y, x  # labels have more room as rows
        return maps.check_axes(self.name, ds, x, y)


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
    """Draw one panel; return which of "zero", "gone", "outside" and "missing" is in it."""
    cells = maps.draw(ax, part, (x, y), rates, style.DIVERGING, norm)
    outside = maps.outside(part, x, y)
    cells.mark(ax, gone, "overflowed", "gone")
    cells.mark(ax, outside, "outside", "outside")
    missing = np.isnan(rates) & ~gone & ~outside
    signs = {
        name for name, which in {"gone": gone, "outside": outside, "missing": missing}.items() if which.any()
    }
    if is_numeric(part, x) and is_numeric(part, y) and min(rates.shape) >= 2:
        found = _draw_contour(ax, cells, rates)
    elif is_numeric(part, x):
        found = _draw_marks(ax, cells.x, cells.y_edges, rates)
    else:
        found = is_numeric(part, y) and _draw_marks(ax, cells.y, cells.x_edges, rates.T, along_y=True)
    return signs | {"zero"} if found else signs


def _draw_contour(ax: Axes, cells: maps.Cells, rates: NDArray[np.float64]) -> bool:
    """Draw where the rate is zero over two axes of numbers, out to the borders of the map."""
    finite = rates[np.isfinite(rates)]
    if not finite.size or finite.min() > 0 or finite.max() < 0 or (finite == 0).all():
        return False
    x = np.concatenate([cells.x_edges[:1], cells.x, cells.x_edges[-1:]])
    y = np.concatenate([cells.y_edges[:1], cells.y, cells.y_edges[-1:]])
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
    ax: Axes,
    places: NDArray[np.float64],
    edges: NDArray[np.float64],
    rates: NDArray[np.float64],
    *,
    along_y: bool = False,
) -> bool:
    """Mark where the rate is zero in every row, or column, of labels: between them is nothing to follow."""
    marks = [
        [(place, edges[row]), (place, edges[row + 1])]
        for row, line in enumerate(rates)
        for place in crossings(places, line)
    ]
    if along_y:
        marks = [[end[::-1] for end in mark] for mark in marks]
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


def _explain(figure: Figure, signs: set[str]) -> None:
    zero = Line2D([], [], color="black", linewidth=1.0, label="growth rate zero")
    found = [*([zero] if "zero" in signs else []), *maps.handles(signs, _WORDS)]
    if found:
        panels.legend(figure, found)
