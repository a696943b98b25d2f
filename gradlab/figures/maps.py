"""Maps over two axes of a dataset: where their cells lie, and what marks a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import panels, style, ticks
from gradlab.figures.selection import MOST_LABELS, axes_of, chosen_axis, is_numeric, titles_of

#: How cells look that have no colour of their own.
MARKS: dict[str, dict[str, Any]] = {
    "gone": {"facecolor": style.PALE, "edgecolor": "0.35", "hatch": "//////", "linewidth": 0},
    "outside": {"facecolor": "white", "linewidth": 0},
}


@dataclass(frozen=True)
class Cells:
    """Where the cells of a map lie: centres and borders along both axes."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]

    @staticmethod
    def of(part: xr.Dataset, x: str, y: str) -> Cells:
        """Return the cells of the points of two axes; labels lie at whole numbers."""
        xs, ys = _places(part, x), _places(part, y)
        return Cells(xs, ys, _edges(xs), _edges(ys))

    def mark(self, ax: Axes, which: NDArray[np.bool_], gid: str, look: str) -> None:
        """Cover the cells `which`, (y, x), as `MARKS` says."""
        if which.any():
            corners = [self._corners(row, column) for row, column in np.argwhere(which)]
            ax.add_collection(PolyCollection(corners, gid=gid, **MARKS[look]))

    def _corners(self, row: int, column: int) -> list[tuple[float, float]]:
        (left, right), (low, high) = self.x_edges[column : column + 2], self.y_edges[row : row + 2]
        return [(left, low), (right, low), (right, high), (left, high)]


def draw(
    ax: Axes,
    part: xr.Dataset,
    axes: tuple[str, str],
    values: NDArray[np.float64],
    cmap: str | Colormap,
    norm: Normalize,
) -> Cells:
    """Draw values (y, x) over the axes x and y; what is not finite is left pale."""
    cells = Cells.of(part, *axes)
    ax.set_facecolor(style.PALE)
    for which, axis, places in zip("xy", axes, (cells.x, cells.y), strict=True):
        _set_axis(ax, part, which, axis, places)
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.pcolormesh(cells.x_edges, cells.y_edges, shown, cmap=cmap, norm=norm, rasterized=True)
    return cells


def outside(part: xr.Dataset, x: str, y: str) -> NDArray[np.bool_]:
    """Return the points (y, x) that a filter left out of the sweep; their content keys are empty."""
    if "case_key" not in part:
        return np.zeros((part.sizes[y], part.sizes[x]), dtype=bool)
    none = part["case_key"] == ""
    none = none.all("replicate") if "replicate" in none.dims else none
    return np.asarray(none.transpose(y, x).values, dtype=bool)


def handles(signs: Iterable[str], words: dict[str, str]) -> list[Patch]:
    """Return the legend of cells without a colour: of those of "gone", "outside" and "missing" there are."""
    looks = {**MARKS, "missing": {"facecolor": style.PALE}}
    looks["outside"] = {"facecolor": "white", "edgecolor": style.GREY, "linewidth": 0.4}
    there = set(signs)
    return [Patch(**look, label=words[name]) for name, look in looks.items() if name in there]


def check_options(figure: str, ds: xr.Dataset, x: str, y: str) -> None:
    """Check the axes that a map was told to have; "" for one that it may choose.

    Raises
    ------
    UserMistake
        If the dataset has not got one, or both are one.
    """
    for option, axis in (("x", x), ("y", y)):
        chosen_axis(ds, figure, option, axis)
    if x and x == y:
        raise UserMistake(Problem(f"figure {figure!r}", "two different axes", f"{x!r} twice"))


def check_axes(figure: str, ds: xr.Dataset, x: str, y: str) -> tuple[str, str]:
    """Return two axes of a map.

    Raises
    ------
    UserMistake
        If the dataset has not so many.
    """
    if x and y:
        return x, y
    got = ", ".join(axes_of(ds)) or "no axes"
    expected = "a dataset with two axes of several values each"
    raise UserMistake(
        Problem(f"figure {figure!r}", expected, f"one with {got}", "Sweep over a second setting.")
    )


def page(titles: Sequence[str], part: xr.Dataset, y: str) -> panels.Panels:
    """Return panels for maps; rows of labels need room, and stand only at the left of panels."""
    least = 1.35 if len(titles) > 1 else 2.0
    if is_numeric(part, y):
        return panels.grid(titles, least)
    return panels.grid(titles, max(least, 0.16 * part.sizes[y] + 0.3), share_y=True, letters=17)


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
        ticks.at(ax, which, places)
        return
    labels = titles_of(part, axis) if axis in part.coords else None
    if which == "x":
        steep = 35 if len(places) <= MOST_LABELS else 90
        ax.set_xticks(places, labels, rotation=steep, ha="right", va="center", rotation_mode="anchor")
    else:
        ax.set_yticks(places, labels)
        if not ax.yaxis_inverted():  # panels beside it may have the same rows
            ax.invert_yaxis()
