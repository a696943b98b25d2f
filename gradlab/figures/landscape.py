"""The error surface over a plane, and the descents over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gradlab.figures import images, maps, panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.selection import Sliced, axes_of, sliced
from gradlab.figures.words import literal, text_of, typeset

_LOSS, _NORM = "surface_loss", "log10_surface_gradient_norm"
_SURFACES = {_LOSS: "log10 loss", _NORM: "log10 gradient norm"}
_DECADES = 6.0
"""The colours reach that far below the largest loss: at a minimum its logarithm has no end."""
_COLOURS = ("#FFFFFF", "#D55E00", "#000000", "#56B4E9", "#E69F00", "#CC79A7")
_MOST = 6
_MARKS: dict[str, dict[str, Any]] = {"overflowed": maps.MARKS["gone"], "zero": {"facecolor": style.PALE}}


@registry.register
@dataclass(frozen=True)
class Landscape(AbstractFigure):
    """Loss and gradient norm over a plane of two parameters or directions, in log scale.

    Over them the ways of gradient descent, one for each clip rule: a dot is an update.
    """

    name: ClassVar[str] = "landscape"
    summary: ClassVar[str] = "images of log10 loss and log10 gradient norm over a plane, with descents"
    variables: ClassVar[tuple[str, ...]] = (_LOSS, _NORM)
    along_update: ClassVar[bool] = True

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        several = [axis for axis in ("clip",) if axis in axes_of(ds) and ds.sizes[axis] > 1]
        cut = sliced(ds, several)
        part = cut.ds.isel(replicate=0) if "replicate" in cut.ds.dims else cut.ds
        surface = part.isel(dict.fromkeys(several, 0))
        paths = _descents(part, several)
        page = panels.grid(["", ""], 2.2, share_x=True, share_y=True)
        marks: set[str] = set()
        for ax, (name, label) in zip(page.axes, _SURFACES.items(), strict=True):
            image = surface[name].transpose("second", "first").values
            image = _log(image) if name == _LOSS else image
            norm, beyond = _scale(image, name == _LOSS)
            marks |= _image(ax, surface, image, norm, beyond)
            for colour, path in zip(_COLOURS, paths.values(), strict=False):
                ax.plot(*path, color=colour, marker=".", markersize=2, linewidth=0.6, gid="descent")
            look = {"location": "top", "aspect": 20, "pad": 0.05, "extend": beyond}
            bar = images.bar(page, norm, typeset(label), ax=ax, **look)
            ticks.plain(bar.ax.xaxis, 4)
        panels.name_axes(page, *(literal(str(ds.attrs.get(line, line))) for line in ("first", "second")))
        _explain(page, paths, marks)
        panels.small_print(page.figure, _words(ds, cut, len(paths)))
        return page.figure


def _descents(part: xr.Dataset, several: list[str]) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the places of every descent by its clip rule, as far as it went."""
    if "descent_first" not in part or part.sizes.get("update", 0) < 2:
        return {}
    rows = [part] if not several else [part.isel(clip=i) for i in range(min(part.sizes["clip"], _MOST))]
    return {
        text_of(row["clip"].values[()]) if "clip" in row.coords else "descent": (
            row["descent_first"].values,
            row["descent_second"].values,
        )
        for row in rows
    }


def _log(values: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(values))


def _scale(image: NDArray[np.float64], loss: bool) -> tuple[Normalize, str]:
    """Return the colour scale of an image, and to which side something lies beyond it."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return Normalize(0.0, 1.0), "neither"
    low, high = float(finite.min()), float(finite.max())
    if not loss:
        return images.scale(low, high), "neither"
    beyond = "min" if image.min() < high - _DECADES else "neither"
    return images.scale(max(low, high - _DECADES), high), beyond


def _image(ax: Axes, ds: xr.Dataset, image: NDArray[np.float64], norm: Normalize, beyond: str) -> set[str]:
    """Draw one image; return which of "overflowed" and "zero" is in it."""
    x, y = ds["first"].values, ds["second"].values
    gone, zero = ~np.isfinite(image) & ~np.isneginf(image), np.isneginf(image)
    ax.patch.set(**_MARKS["overflowed"])
    shown = np.where(gone, np.nan, image)
    if beyond != "neither":  # a loss of zero is below the scale like others; a gradient of zero is marked
        shown, zero = np.where(zero, norm.vmin or 0.0, shown), np.zeros_like(zero)
    ax.pcolormesh(x, y, shown, cmap=style.sequential(), norm=norm, rasterized=True, shading="nearest")
    images.mark_zero(ax, x, y, zero, shading="nearest")
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    ticks.plain(ax.xaxis, 4)
    ticks.plain(ax.yaxis, 5)
    return {name for name, there in (("overflowed", gone), ("zero", zero)) if there.any()}


def _explain(page: panels.Panels, paths: dict[str, Any], marks: set[str]) -> None:
    handles: list[Any] = []
    for colour, label in zip(_COLOURS, paths, strict=False):
        line = Line2D([], [], color=colour, marker=".", markersize=3, linewidth=0.8, label=label)
        if colour == _COLOURS[0]:
            line.set(markeredgecolor=style.GREY, markeredgewidth=0.3, color=style.PALE)
        handles.append(line)
    words = {"zero": "zero gradient", "overflowed": "overflowed"}
    handles += [Patch(**_MARKS[name], label=label) for name, label in words.items() if name in marks]
    if handles:
        panels.legend(page.figure, handles)


def _words(ds: xr.Dataset, cut: Sliced, shown: int) -> list[str]:
    total = ds.sizes.get("clip", 1)
    first = f"replicate: {text_of(ds['replicate'].values[0])}" if ds.sizes.get("replicate", 1) > 1 else ""
    return [*cut.words, first, f"{shown} of {total} clip rules drawn" if 0 < shown < total else ""]
