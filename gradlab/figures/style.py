"""The one style of all figures: sizes, colours, fonts, and files without a clock in them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from gradlab.core.checks import one_of
from gradlab.core.errors import Problem, UserMistake

SINGLE, DOUBLE = 3.4, 7.0
"""Widths of a figure in inches: one column of a paper, and two."""

QUALITATIVE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Colours of things without an order (Okabe and Ito 2008, its yellow darkened to a brown)."""

DIVERGING = "RdBu_r"
"""Colours around zero: blue vanishes, red explodes; both told apart by the colour-blind."""

GREY, PALE = "#6b6b6b", "#d9d9d9"
FORMATS = ("png", "pdf", "svg")

_RC: Any = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "text.usetex": False,
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "figure.labelsize": 7.0,
    "figure.titlesize": 7.0,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "legend.fontsize": 6.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 0.8,
    "lines.markersize": 2.5,
    "hatch.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradlab",
}
# What a file would say about when and by which release it was made.
_NO_CLOCK: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def applied() -> Iterator[None]:
    """Put the style on for the time of a ``with`` block, over matplotlib's own defaults."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def new_page(width: float, height: float) -> tuple[Figure, SubFigure]:
    """Return an empty figure of that size in inches, and the body its panels stand in.

    It is drawn without any window system. Legends and small print belong to the figure itself, so
    that the layout never lays them over the common axis labels of the body.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.03)  # type: ignore[call-arg]  # only the base class is declared
    return figure, figure.add_subfigure(figure.add_gridspec(1, 1)[0])


def sequential() -> Colormap:
    """Return the colours of ordered numbers: viridis without its palest tenth, unseen on white."""
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), name="gradlab")


def is_geometric(values: ArrayLike) -> bool:
    """Say whether numbers (ascending) are better shown on a logarithmic scale.

    They are where all are positive, and either at equal ratios spanning a factor of at least 4, or
    spanning a factor of at least 50.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 3 or x[0] <= 0 or np.isnan(x).any():
        return False
    steps = np.diff(np.log(x))
    return bool(x[-1] / x[0] >= 50 or (x[-1] / x[0] >= 4 and np.allclose(steps, steps[0], rtol=1e-3, atol=0)))


def scale_of(values: ArrayLike) -> Normalize:
    """Return the map from the numbers of an axis to the range of a colour map."""
    x = np.asarray(values, dtype=np.float64)
    low, high = float(x[0]), float(x[-1])
    return LogNorm(low, high) if is_geometric(values) else Normalize(low, high)


def save(figure: Figure, path_stem: str | Path, formats: Iterable[str] = ("png", "pdf")) -> list[Path]:
    """Write a figure to files whose bytes depend on what it shows alone.

    Parameters
    ----------
    figure : Figure
        Any figure of the catalogue.
    path_stem : str or Path
        Where to, without the ending; the folder must exist.
    formats : iterable of str, optional
        Of "png" (300 dots an inch), "pdf" and "svg" (fonts embedded, text kept as text).

    Returns
    -------
    list of Path
        The files written, in the order of `formats`.

    Raises
    ------
    UserMistake
        For an unknown format, or where a file cannot be written.
    """
    endings = [one_of("format", ending, FORMATS, "one of " + ", ".join(FORMATS)) for ending in formats]
    paths = []
    for ending in endings:
        path = Path(f"{path_stem}.{ending}")
        content = io.BytesIO()
        with applied():
            figure.savefig(content, format=ending, dpi=300, metadata=_NO_CLOCK[ending])
        try:
            path.write_bytes(content.getvalue())
        except OSError as error:
            raise UserMistake(
                Problem(str(path), "a file that can be written", error.strerror or type(error).__name__)
            ) from error
        paths.append(path)
    return paths
