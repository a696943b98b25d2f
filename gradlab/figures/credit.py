"""Which loss reaches which state: the matrix of loss time by state time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures import images, panels, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import divided, evenly
from gradlab.figures.selection import (
    Sliced,
    axis_label,
    chosen_axis,
    counted_out,
    curve_axis,
    label_axes,
    masked,
    narrowed,
    replicates_words,
    sliced,
    spread,
    why_empty,
)

_RECORD = "log10_credit_norm"
_MOST = 4
_MOST_CELLS = 500
"""A column of a paper resolves no more loss times or lags than this."""


@registry.register
@dataclass(frozen=True)
class Credit(AbstractFigure):
    """The norm of the adjoint of each state with respect to the loss of each time step alone.

    Along a row a loss fades on its way back; along a column one sees when a state matters.

    Parameters
    ----------
    panel : str, optional
        The axis of which a few values become panels.
    """

    name: ClassVar[str] = "credit"
    summary: ClassVar[str] = "image of log10 adjoint norms, loss time against state time"
    variables: ClassVar[tuple[str, ...]] = (_RECORD,)

    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        if lacking := [dim for dim in ("loss_time", "lag") if dim not in ds[_RECORD].dims]:
            got = f"one over {', '.join(str(dim) for dim in ds[_RECORD].dims)}"
            expected = f"a record {_RECORD} over {' and '.join(lacking)}"
            raise UserMistake(Problem(f"figure {self.name!r}", expected, got))
        ds = narrowed(ds, _RECORD)
        panel = chosen_axis(ds, self.name, "panel", self.panel) or _panels(ds)
        cut = _thinned(evenly(sliced(ds, (panel,)), panel, _MOST))
        titles, parts = divided(cut.ds, panel)
        drawn = [_image(part) for part in parts]
        norm = _scale([image for _, _, image in drawn])
        # Cases of unequal length each fill their panel.
        alike = len({(losses.size, states.size) for losses, states, _ in drawn}) == 1
        page = panels.grid(titles, 1.3 if len(parts) > 1 else 2.45, share_x=alike, share_y=alike)
        for ax, part, (losses, states, image) in zip(page.axes, parts, drawn, strict=True):
            _draw_image(ax, losses, states, image, norm)
            if np.isnan(image).all():
                panels.say(ax, why_empty(part))
        panels.name_axes(page, "time of the state (time steps)", "time of the loss (time steps)")
        ticks.plain(images.bar(page, norm, axis_label(ds, _RECORD)).ax.yaxis, 6)
        if zeros := images.zero_handles([image for _, _, image in drawn]):
            panels.legend(page.figure, zeros)
        many = replicates_words(cut.ds, "median")
        panels.small_print(page.figure, [*cut.words, many, counted_out(cut.ds)])
        return page.figure


def _panels(ds: xr.Dataset) -> str | None:
    """Return the axis of panels: of labels if one has several, else of numbers."""
    several = [axis for axis in label_axes(ds) if ds.sizes[axis] > 1]
    ranked = [axis for axis in several if axis != "clip"]
    return next(iter(ranked), None) or curve_axis(ds) or next(iter(several), None)


def _thinned(cut: Sliced) -> Sliced:
    """Keep every so many loss times and lags, the same for both so that their differences meet."""
    every = -(-max(cut.ds.sizes["loss_time"], cut.ds.sizes["lag"]) // _MOST_CELLS)
    if every <= 1:
        return cut
    ds = cut.ds.isel(loss_time=slice(None, None, every), lag=slice(None, None, every))
    return Sliced(ds, (*cut.words, f"one time step in {every} drawn"))


def _image(part: xr.Dataset) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return loss times, state times and the medians (loss time, state time).

    The state time is the loss time less the lag. NaN is a pair that has no adjoint, -inf one whose
    adjoint is zero. Times at the end that no case has are left out.
    """
    data = masked(part, _RECORD).transpose("replicate", "loss_time", "lag")
    median = spread(data.values, axis=0).median
    losses = part["loss_time"].values
    lags = part["lag"].values
    time = losses[:, None] - lags
    row, lag = np.nonzero((time >= 0) & ~np.isnan(median))
    if not row.size:
        return losses, losses, np.full((len(losses), len(losses)), np.nan)
    losses, states = losses[: row.max() + 1], np.unique(time[row, lag])
    image = np.full((len(losses), len(states)), np.nan)
    image[row, np.searchsorted(states, time[row, lag])] = median[row, lag]
    return losses, states, image


def _scale(drawn: list[images.Image]) -> Normalize:
    """Return the colour scale from the smallest to the largest finite value of all images."""
    values = images.finite(drawn)
    return images.scale(float(values.min()), float(values.max())) if values.size else Normalize(0.0, 1.0)


def _edges(centres: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of cells around ascending time steps: half a step from each."""
    middle = (centres[1:] + centres[:-1]) / 2
    first = middle[0] if len(middle) else centres[0] + 0.5
    last = middle[-1] if len(middle) else centres[0] - 0.5
    return np.concatenate([[2 * centres[0] - first], middle, [2 * centres[-1] - last]])


def _draw_image(
    ax: Axes, losses: NDArray[Any], states: NDArray[Any], image: NDArray[np.float64], norm: Normalize
) -> None:
    x, y = _edges(states), _edges(losses)
    images.draw(ax, x, y, image, norm)
    # Time runs downwards, as in a matrix: what a loss can reach is the lower triangle.
    ax.set(xlim=(x[0], x[-1]), ylim=(y[-1], y[0]))
    ax.set_box_aspect(1)
    ticks.plain(ax.xaxis, 4, whole=True)
    ticks.plain(ax.yaxis, 4, whole=True)
