"""Eigenvalues and singular values of the recurrent matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import NDArray

from gradlab.core import checks
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.figures import panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry

_MOST = 18


@registry.register
@dataclass(frozen=True)
class Spectrum(AbstractFigure):
    """Eigenvalues with the unit circle, and singular values, of each matrix given.

    The two tell apart what a gradient does in the long run (the radius) and what it may do in one
    time step (the norm).
    """

    name: ClassVar[str] = "spectrum"
    summary: ClassVar[str] = "eigenvalues with the unit circle, and singular values, of the matrices drawn"
    needs_matrices: ClassVar[bool] = True

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        given = _checked(matrices)
        shown = dict(list(given.items())[:_MOST])
        titles = [panels.wrapped(label, 22) for label in shown]
        figure, cells = _cells(len(shown), 1 + max(title.count("\n") for title in titles))
        for title, matrix, (left, right) in zip(titles, shown.values(), cells, strict=True):
            values = np.linalg.eigvals(matrix)
            singular = np.linalg.svd(matrix, compute_uv=False)
            _draw_eigenvalues(left, values)
            _draw_singular(right, singular)
            left.set_title(title)
            right.set_title(f"radius {np.abs(values).max():.3g}, norm {singular[0]:.3g}")
        panels.legend(figure, [Line2D([], [], color=style.GREY, linewidth=0.7, label="absolute value one")])
        dropped = len(given) - len(shown)
        panels.small_print(figure, [f"{dropped} more matrices are not shown" if dropped else ""])
        return figure


def _cells(count: int, lines: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Return a pair of panels a matrix: one beside the other for one, one above the other for more.

    There is room for titles of that many lines.
    """
    title = 0.05 + 0.13 * lines
    if count == 1:
        figure, body = style.new_page(style.SINGLE, 1.85 + title)
        left, right = body.subplots(1, 2)
        _name_axes([left], [right])
        return figure, [(left, right)]
    columns = count if count <= 4 else 5
    groups = -(-count // columns)
    width = style.SINGLE if columns == 2 else style.DOUBLE
    # Of what the labels leave, each panel of eigenvalues is a square.
    side = (width - 0.6) / columns
    figure, body = style.new_page(width, groups * (side + title + 1.55) + 0.3)
    cells = body.subplots(2 * groups, columns, squeeze=False, height_ratios=[side, 1.15] * groups)
    pairs = [
        (cells[2 * (i // columns), i % columns], cells[2 * (i // columns) + 1, i % columns])
        for i in range(groups * columns)
    ]
    for pair in pairs[count:]:
        for spare in pair:
            spare.remove()
    pairs = pairs[:count]
    for first in range(0, count, columns):
        row = pairs[first : first + columns]
        _name_axes([left for left, _ in row], [right for _, right in row])
    return figure, pairs


def _name_axes(eigenvalues: list[Axes], singular: list[Axes]) -> None:
    for ax in eigenvalues:
        ax.set_xlabel("real part (dimensionless)", fontsize=6)
    for ax in singular:
        ax.set_xlabel("index (dimensionless)", fontsize=6)
    eigenvalues[0].set_ylabel("imaginary part\n(dimensionless)", fontsize=6)
    singular[0].set_ylabel("singular value\n(dimensionless)", fontsize=6)


def _checked(matrices: Matrices) -> dict[str, NDArray[np.float64]]:
    """Return the matrices as arrays; every one that is unfit is named."""
    good: dict[str, NDArray[np.float64]] = {}
    problems: list[Problem] = []
    for label, matrix in matrices.items():
        with gathering(problems):
            where = f"matrices[{label!r}]"
            w = checks.array(where, matrix, (None, None), "to, from")
            w = checks.array(where, w, (w.shape[0], w.shape[0]), "to, from")
            if w.size == 0:
                raise UserMistake(Problem(where, "at least one row", "none"))
            good[str(label)] = w
    if problems:
        raise UserMistake(problems)
    return good


def _draw_eigenvalues(ax: Axes, values: NDArray[Any]) -> None:
    ax.add_patch(Circle((0, 0), 1.0, fill=False, edgecolor=style.GREY, linewidth=0.7, zorder=1))
    ax.plot(values.real, values.imag, "o", markersize=1.6, color=style.QUALITATIVE[0], markeredgewidth=0)
    reach = 1.1 * max(1.0, float(np.abs(values).max()))
    ax.update_datalim([(-reach, -reach), (reach, reach)])
    ax.margins(0.0)
    # Panels keep their boxes, which the layout reckons with, and the longer side shows more.
    ax.set_aspect("equal", adjustable="datalim")
    ticks.plain(ax.xaxis, 3)
    ticks.plain(ax.yaxis, 3)


def _draw_singular(ax: Axes, singular: NDArray[Any]) -> None:
    ax.axhline(1.0, color=style.GREY, linewidth=0.7, zorder=1)
    index = np.arange(1, len(singular) + 1)
    ax.plot(index, singular, "o", markersize=1.6, color=style.QUALITATIVE[1], markeredgewidth=0)
    top, side = max(1.0, float(singular[0])), max(0.5, 0.03 * len(singular))
    ax.set(xlim=(1 - side, len(singular) + side), ylim=(-0.04 * top, 1.08 * top))
    ticks.plain(ax.xaxis, 3, whole=True)
    ticks.plain(ax.yaxis, 4)
