"""What the figures share about datasets: axes, slices, statistics over replicates, words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gradlab.core.checks import nearest
from gradlab.core.errors import Problem, UserMistake
from gradlab.figures.words import literal, text_of, texts_of, typeset

NOT_AXES = frozenset(
    {"replicate", "gate", "path", "predictor", "loss_time", "lag", "time", "update", "first", "second"}
)
_RULES = frozenset({"clip", "learner"})
"""Axes that change what is made of the adjoints, and most of them no adjoint."""
_OF_NETWORK = ("layer", "direction")
"""Dimensions of a record that figures treat as axes of the sweep."""
NOT_RUN, OK, OVERFLOWED, FAILED, DIVERGED = 0, 1, 2, 4, 5
_MISSING_WORDS = {OVERFLOWED: "overflowed", NOT_RUN: "not run", FAILED: "failed", DIVERGED: "diverged"}
_CURVES_FIRST = ("radius", "norm", "gain")
_AT_LARGEST = ("length", "hidden", "batch", "layers", "layer")
MOST_LABELS = 8
"""More labels than this are told apart by where they stand, not by colour."""
MOST_PANELS = 40


def axes_of(ds: xr.Dataset) -> list[str]:
    """Return the names of the sweep's axes, in order, then layer and direction where records have them."""
    if "status" in ds:
        axes = [str(dim) for dim in ds["status"].dims if dim != "replicate"]
    else:
        axes = [str(dim) for dim in ds.dims if dim not in NOT_AXES]
    return axes + [dim for dim in _OF_NETWORK if dim in ds.dims and dim not in axes]


def narrowed(ds: xr.Dataset, *names: str) -> xr.Dataset:
    """Cut layer and direction where one of the variables that a figure draws has no such dimension.

    What is left of them is an axis like others: see `sliced` for where they are cut.
    """
    for axis in _OF_NETWORK:
        if axis in ds.dims and not all(axis in ds[name].dims for name in names):
            ds = _cut(ds, axis)[0]
    return ds


def is_numeric(ds: xr.Dataset, axis: str) -> bool:
    """Say whether an axis carries numbers (and not labels)."""
    return axis in ds.coords and ds[axis].dtype.kind in "iuf"


def numeric_axes(ds: xr.Dataset) -> list[str]:
    """Return the axes of several numbers each."""
    return [axis for axis in axes_of(ds) if is_numeric(ds, axis) and ds.sizes[axis] > 1]


def label_axes(ds: xr.Dataset) -> list[str]:
    """Return the axes of labels, and the axes that hold one number alone."""
    numbers = numeric_axes(ds)
    return [axis for axis in axes_of(ds) if axis not in numbers]


def chosen_axis(ds: xr.Dataset, figure: str, option: str, axis: str, *taken: str | None) -> str | None:
    """Return the `axis` that the user chose by an `option`; None for none.

    The dataset must have it, and the figure must not show it otherwise: it is none of those `taken`.
    """
    here = [one for one in axes_of(ds) if one not in taken]
    if axis and axis in taken:
        others = f"Others are {', '.join(here)}." if here else "There is no other."
        expected = "an axis that is not shown otherwise"
        raise UserMistake(Problem(f"figure {figure!r}, option {option!r}", expected, repr(axis), others))
    if axis and axis not in here:
        hint = nearest(axis, here) if here else "The dataset has no axes."
        hint = "Replicates are summarised, not shown one by one." if axis == "replicate" else hint
        raise UserMistake(
            Problem(f"figure {figure!r}, option {option!r}", "an axis of the dataset", repr(axis), hint)
        )
    return axis or None


def curve_axis(ds: xr.Dataset, taken: Iterable[str] = ()) -> str | None:
    """Return the axis whose values become curves.

    The scale of the spectrum if it is an axis; else the first axis of numbers, lengths last; else
    the first axis of labels that is neither clip rule, learner nor activation; else none.
    """
    taken = set(taken)
    numbers = [axis for axis in numeric_axes(ds) if axis not in taken]
    ranked = [axis for axis in _CURVES_FIRST if axis in numbers]
    ranked += [axis for axis in numbers if axis != "length"] + [axis for axis in numbers if axis == "length"]
    ranked += [
        axis
        for axis in label_axes(ds)
        if axis not in taken | {*_RULES, "activation"} and not is_numeric(ds, axis) and ds.sizes[axis] > 1
    ]
    return ranked[0] if ranked else None


def panel_axis(ds: xr.Dataset, taken: Iterable[str] = ()) -> str | None:
    """Return the axis whose labels become panels: activations if there are, else the first of labels."""
    left = [axis for axis in label_axes(ds) if axis not in set(taken) | _RULES and not is_numeric(ds, axis)]
    return "activation" if "activation" in left else (left[0] if left else None)


@dataclass(frozen=True)
class Sliced:
    """A dataset cut to the axes that a figure shows, and the words that say how."""

    ds: xr.Dataset
    words: tuple[str, ...]


def sliced(ds: xr.Dataset, shown: Iterable[str | None]) -> Sliced:
    """Cut every axis that is not `shown` at one value.

    The value is: no clipping, full back-propagation, the longest length, the largest network or
    batch, the layer nearest the loss (of each network, where they differ), the forward direction,
    otherwise the middle one of numbers and the first of labels. Of numbers it is the nearest to that at
    which most cases were run. Axes with only one value are named as well.
    """
    keep, words = {axis for axis in shown if axis is not None}, []
    for axis in axes_of(ds):
        if axis in keep:
            continue
        ds, value = _cut(ds, axis)
        words.append(f"{axis}: {value}")
    words += [
        f"{name}: {text_of(ds[name].values[()])}"
        for name in _scalars(ds)
        if f"{name}: " not in "".join(words)
    ]
    return Sliced(ds, tuple(words))


@dataclass(frozen=True)
class Arranged:
    """Which axes become curves and panels, and the dataset cut to them: a part and a title a panel."""

    curve: str | None
    panel: str | None
    cut: Sliced

    @property
    def parts(self) -> list[xr.Dataset]:
        """One dataset a panel."""
        ds, panel = self.cut.ds, self.panel
        return [ds] if panel is None else [ds.isel({panel: i}) for i in range(ds.sizes[panel])]

    @property
    def titles(self) -> list[str]:
        """One title a panel; empty where there is but one."""
        return [""] if self.panel is None else titles_of(self.cut.ds, self.panel)


def arranged(
    ds: xr.Dataset, figure: str, curve: str = "", panel: str = "", *, against: Iterable[str] = ()
) -> Arranged:
    """Return how a figure of curves in panels is laid out.

    Parameters
    ----------
    ds : xarray.Dataset
        All that there is.
    figure : str
        Who asks.
    curve, panel : str
        The axes that the user chose. Left to themselves, axes of numbers and of few labels become
        curves; an axis of many labels becomes panels, and what would have been panels curves.
    against : iterable of str
        Axes along x.

    Raises
    ------
    UserMistake
        If a chosen axis is not there, or is shown already.
    """
    against = set(against)
    panels = chosen_axis(ds, figure, "panel", panel, *against)
    curves = chosen_axis(ds, figure, "curve", curve, *against, panels) or curve_axis(
        ds, against | {panels or ""}
    )
    panels = panels or panel_axis(ds, against | {curves or ""})
    if not curve and not panel and curves is not None and has_many_labels(ds, curves):
        few = panels is not None and 1 < ds.sizes[panels] <= MOST_LABELS
        curves, panels = panels if few else None, curves
    cut = sliced(ds, (curves, panels, *against))
    return Arranged(curves, panels, first_of(cut, panels, MOST_PANELS))


def titles_of(ds: xr.Dataset, axis: str) -> list[str]:
    """Return the title of a panel for each value of an axis, with the labels zipped to it.

    Numbers, and true and false, have the axis's name before them: alone they would not say of what.
    """
    titles = texts_of(ds[axis].values)
    if is_numeric(ds, axis):
        titles = [f"{axis.replace('_', ' ')} {label}".replace(" -", " \N{MINUS SIGN}") for label in titles]
    titles = [f"{axis}: {label}" if label in ("true", "false") else label for label in titles]
    for name in map(str, ds.coords):
        beside = texts_of(ds[name].values) if ds[name].dims == (axis,) else []
        if name != axis and not is_numeric(ds, name) and len(set(beside)) > 1:
            titles = [f"{title}, {label}" for title, label in zip(titles, beside, strict=True)]
    return titles


def has_many_labels(ds: xr.Dataset, axis: str) -> bool:
    """Say whether an axis has more labels than colours tell apart."""
    return not is_numeric(ds, axis) and ds.sizes[axis] > MOST_LABELS


def first_of(cut: Sliced, axis: str | None, most: int) -> Sliced:
    """Keep the first values of an axis, and say so, where there are more than `most`."""
    if axis is None or cut.ds.sizes[axis] <= most:
        return cut
    words = f"{axis}: the first {most} of {cut.ds.sizes[axis]}"
    return Sliced(cut.ds.isel({axis: slice(most)}), (*cut.words, words))


def thinned(cut: Sliced) -> Sliced:
    """Keep at most about a thousand lags, evenly spaced: a column of a paper resolves no more."""
    lags = cut.ds.sizes.get("lag", 0)
    every = -(-lags // 1000)
    if every <= 1:
        return cut
    return Sliced(cut.ds.isel(lag=slice(None, None, every)), (*cut.words, f"one lag in {every} drawn"))


def _scalars(ds: xr.Dataset) -> list[str]:
    """Return the scalar coordinates, which are what the caller has already selected."""
    return [str(name) for name in ds.coords if ds[name].ndim == 0 and name not in ds.dims]


def _cut(ds: xr.Dataset, axis: str) -> tuple[xr.Dataset, str]:
    """Return the dataset cut at the default value of an axis, and that value in words."""
    if axis == "layer" and is_numeric(ds, "layers") and int(ds["layers"].max()) <= ds.sizes["layer"]:
        # Networks of fewer layers have nothing at the largest number.
        top = ds["layers"].astype(int).reset_coords(drop=True) - 1
        return ds.isel(layer=top).drop_vars("layer", errors="ignore"), "nearest the loss"
    index = _nearest_run(ds, axis, _default_index(ds, axis))
    value = text_of(ds[axis].values[index]) if axis in ds.coords else str(index)
    return ds.isel({axis: index}), value


def _nearest_run(ds: xr.Dataset, axis: str, index: int) -> int:
    """Return the place nearest `index` at which the sweep has most cases, if the axis is one of numbers.

    A filter may have left out some of the curves at a value, and a figure without them would mislead.
    """
    if "case_key" not in ds or axis not in ds["case_key"].dims or not is_numeric(ds, axis):
        return index
    asked = ds["case_key"] != ""
    count = asked.sum([dim for dim in asked.dims if dim != axis]).values
    return int(min(np.flatnonzero(count == count.max()), key=lambda place: abs(place - index)))


def _default_index(ds: xr.Dataset, axis: str) -> int:
    size = ds.sizes[axis]
    if axis not in ds.coords:
        return 0
    labels = ds[axis].values
    if is_numeric(ds, axis):
        return int(np.argmax(labels)) if axis in _AT_LARGEST else size // 2
    names = [str(label) for label in labels]
    return next((names.index(name) for name in ("off", "bptt", "forward") if name in names), 0)


def masked(ds: xr.Dataset, name: str, *also: int) -> xr.DataArray:
    """Return a variable with NaN where a case is not `ok` (nor of `also`), dims (..., replicate[, lag])."""
    data = ds[name]
    if "status" in ds:
        data = data.where(ds["status"].isin((OK, *also)))
    if "replicate" not in data.dims:
        data = data.expand_dims("replicate")
    tail = ["replicate"] + (["lag"] if "lag" in data.dims else [])
    return data.transpose(..., *tail).compute()


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over replicates, each of the shape left; NaN where no case counts."""

    low: NDArray[np.float64]
    median: NDArray[np.float64]
    high: NDArray[np.float64]


def spread(values: NDArray[Any], axis: int) -> Spread:
    """Return median and quartiles along an axis, over what is not NaN; -inf is a value like others."""
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, 0), axis=0)  # NaN goes last
    count = (~np.isnan(ordered)).sum(axis=0)
    return Spread(*(_quantile(ordered, count, q) for q in (0.25, 0.5, 0.75)))


def _quantile(ordered: NDArray[np.float64], count: NDArray[Any], q: float) -> NDArray[np.float64]:
    place = np.maximum(count - 1, 0) * q
    below = np.floor(place).astype(np.intp)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.ceil(place).astype(np.intp)[None], axis=0)[0]
    step = np.zeros_like(low)
    # Between equal values, infinite ones included, there is no step to take.
    np.subtract(high, low, out=step, where=(high != low) & np.isfinite(low))
    return np.asarray(low + (place - below) * step)


def counted_out(ds: xr.Dataset, *kept: int) -> str:
    """Return the words for cases that curves leave out ("cases left out: 3 overflowed"), or nothing.

    Those with a status of `kept` are not left out.
    Points that a filter left out of the sweep are no cases: their content key is empty.
    """
    if "status" not in ds:
        return ""
    status = ds["status"]
    if "case_key" in ds:
        status = status.where(ds["case_key"] != "", OK)
    counts = {w: int((status == code).sum()) for code, w in _MISSING_WORDS.items() if code not in kept}
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    return f"cases left out: {', '.join(parts)}" if parts else ""


def why_empty(ds: xr.Dataset, record: str = "") -> str:
    """Return what a panel says that has no case to draw; `record` is what it was to show."""
    if "status" in ds and not (ds["status"] == OK).any():
        there = [word for code, word in _MISSING_WORDS.items() if (ds["status"] == code).any()]
        return "all cases " + " or ".join(there)
    if record and bool(np.isnan(masked(ds, record).values).all()):
        return "none in this network"
    return "all gradients are zero"


def replicates_of(ds: xr.Dataset) -> int:
    """Return the number of replicates."""
    return int(ds.sizes.get("replicate", 1))


def replicates_words(ds: xr.Dataset, what: str = "median and quartiles") -> str:
    """Return what is drawn of the replicates; nothing where there is but one."""
    count = replicates_of(ds)
    return f"{what} of {count} replicates" if count > 1 else ""


_LOG = "log10 of a norm"
# What is counted has no dimension to speak of.
_NUMBERED = {"layer": "layer (0 is next to the input)", "layers": "number of layers"}
_TIMES = dict.fromkeys(("lag", "length", "loss_time", "time"), "time steps")
_UNITS = {**_TIMES, "growth_rate": "decades per time step"}


def axis_label(ds: xr.Dataset, name: str) -> str:
    """Return name and unit of a variable or coordinate: "lag (time steps)", "log10 adjoint norm".

    Labels have no unit; the logarithm of a norm bears it in its name; any other pure number says
    that it is one.
    """
    if name in _NUMBERED:
        return _NUMBERED[name]
    attrs = ds[name].attrs if name in ds.variables else {}
    words = literal(str(attrs.get("long_name") or name.replace("_", " ")))
    if name in ds.coords and not is_numeric(ds, name):
        return typeset(words)
    units = literal(str(attrs.get("units") or _UNITS.get(name, "1")))
    if units == _LOG:
        words, units = (words, "log10") if "log" in words else (f"log10 {words}", "")
    elif units == "1":
        units = "" if words.startswith("log10") else "dimensionless"
    return typeset(words + (f" ({units})" if units else ""))


def setting_of(ds: xr.Dataset, name: str) -> str | None:
    """Return the catalogue name of a setting that one coordinate or attribute gives for all of a dataset."""
    if name in ds.coords and ds[name].size == 1:
        return entry_name(ds[name].values.reshape(-1)[0])
    if name in ds.attrs:
        return entry_name(ds.attrs[name])
    return None


def entry_name(label: object) -> str:
    """Return the name of the catalogue entry in a label such as ``norm(1.0)``."""
    return str(label).split("(")[0].strip()
