"""Images of norms: their colour scale, what of them is exactly zero, and the bar beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gradlab.figures import panels, style

Image = NDArray[np.float64]


def scale(low: float, high: float) -> Normalize:
    """Return the colour scale between two numbers, around them where they are one."""
    return Normalize(low, high) if low < high else Normalize(low - 0.5, high + 0.5)


def finite(images: Sequence[Image]) -> Image:
    """Return all finite values of images, which alone have colours."""
    return np.concatenate([image[np.isfinite(image)] for image in images])


def draw(ax: Axes, x: NDArray[Any], y: NDArray[Any], image: Image, norm: Normalize) -> None:
    """Draw an image between borders of cells; what is -inf, a zero gradient, is pale."""
    ax.pcolormesh(x, y, image, cmap=style.sequential(), norm=norm, rasterized=True)
    mark_zero(ax, x, y, np.isneginf(image))


def mark_zero(ax: Axes, x: NDArray[Any], y: NDArray[Any], zero: NDArray[np.bool_], **look: Any) -> None:
    """Make the cells pale where a gradient is zero."""
    if zero.any():
        pale = np.where(zero, 0.0, np.nan)
        ax.pcolormesh(x, y, pale, cmap=ListedColormap([style.PALE]), rasterized=True, gid="zero", **look)


def zero_handles(images: Sequence[Image]) -> list[Patch]:
    """Return the legend of zero gradients, if there are any."""
    there = any(np.isneginf(image).any() for image in images)
    return [Patch(facecolor=style.PALE, label="zero gradient")] if there else []


def bar(page: panels.Panels, norm: Normalize, label: str, **look: Any) -> Colorbar:
    """Put the colour bar of all panels beside them."""
    mappable = ScalarMappable(norm, look.pop("cmap", style.sequential()))
    look = {"ax": list(page.axes), "aspect": 25, "pad": 0.02, **look}
    found = page.body.colorbar(mappable, label=panels.upright(page, label), **look)
    found.outline.set_linewidth(0.4)
    return found
