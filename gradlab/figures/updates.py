"""The updates of a training: along an axis, the last of them, and where runs ended before it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gradlab.measure.records import OK

_WIDENS = 4.0
"""Updates whose last gap is so many times the first are spaced by ratios."""
_LARGEST_PLAIN = 1000
_AT_OWN_END = "the last of each run"
_RARER = "metric"
"""It may be taken at fewer updates than others."""
_NO_CASES = ("update", "layer", "direction", "gate", "lag")
_UPDATES = "training.updates"


def at_last_update(ds: xr.Dataset) -> xr.Dataset:
    """Return a training as it was at its last recorded update, what is not one as it is.

    Where runs ended before others, because they were solved, every record is the last that a run has of it.
    """
    if "update" not in ds.dims:
        return ds
    place = xr.DataArray(np.arange(ds.sizes["update"]), dims="update")
    last, ends = {}, set()
    for name in (str(name) for name in ds.data_vars if "update" in ds[name].dims):
        data = ds[name]
        cases = ds["status"].dims if "status" in ds else [dim for dim in data.dims if dim not in _NO_CASES]
        there = data.notnull().any([dim for dim in data.dims if dim not in (*cases, "update")]).compute()
        at = place.where(there, -1).max("update")
        at = at.where(ds["status"] == OK, -1) if "status" in ds else at
        # What did not run, diverged or has no such record is as good at any update.
        latest = int(at.max()) if (at >= 0).any() else ds.sizes["update"] - 1
        last[name] = at.where(at >= 0, latest).reset_coords(drop=True)
        if name != _RARER and (at >= 0).any():
            ends |= set(np.unique(last[name]).tolist())
    if len(ends) <= 1:
        return ds.isel(update=ends.pop() if ends else -1)
    cut = ds.drop_dims("update")
    cut = cut.assign(
        {name: ds[name].drop_vars("update", errors="ignore").isel(update=at) for name, at in last.items()}
    )
    return cut.assign_coords(update=_AT_OWN_END)


def planned_end(ds: xr.Dataset) -> xr.DataArray:
    """Return the number of the last update that each run was to make, along the axis that varies it."""
    own = [ds[name] for name in ds.coords if ds[name].attrs.get("description") == f"the setting {_UPDATES}"]
    return own[0].reset_coords(drop=True) - 1 if own else ds["update"][-1].reset_coords(drop=True)


def stopped_early(ds: xr.Dataset, there: xr.DataArray) -> xr.DataArray:
    """Return which runs ended before they were to, because they were solved.

    `there` says at which updates there is a record of each run. Where the data do not tell when a run was
    solved, any that lacks the last records has stopped.
    """
    last = ds["update"].where(there, -1).max("update")
    early = (last >= 0) & (last < last.max()) & (last < planned_end(ds))
    return early & (ds["solved_at"] >= last) if "solved_at" in ds else early


def is_logarithmic(updates: NDArray[np.int64]) -> bool:
    """Say whether the gaps between recorded updates widen as those of equal ratios do."""
    gaps = np.diff(updates)
    return bool(gaps.size > 2 and gaps[-1] >= _WIDENS * gaps[0])


def scale_updates(ax: Axes, updates: NDArray[np.int64], *, most: int = 5) -> None:
    """Scale the x axis for these updates: by the logarithm of their number plus one where they ask for it.

    So number 0 has a place of its own, as far before 1 as 1 is before 3.
    """
    if len(updates) == 1:
        ax.xaxis.set_major_locator(FixedLocator(updates.tolist()))
        ax.xaxis.set_minor_locator(NullLocator())
        return
    if not is_logarithmic(updates):
        ax.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=2))
        return
    ax.set_xscale("function", functions=(_squeezed, _stretched))
    powers = 10 ** np.arange(0, 1 + int(np.log10(max(1, updates[-1]))))
    powers = powers[:: -(-len(powers) // most)] if len(powers) > 3 else powers
    ax.xaxis.set_major_locator(FixedLocator([0, *(float(power) for power in powers)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_number))


def update_edges(updates: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the borders of cells around updates, halfway on the scale on which they are shown."""
    logarithmic = is_logarithmic(updates)
    x = _squeezed(updates) if logarithmic else np.asarray(updates, dtype=np.float64)
    if x.size == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middle = (x[1:] + x[:-1]) / 2
    edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return _stretched(edges) if logarithmic else edges


def _squeezed(update: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(np.log1p(np.maximum(np.asarray(update, dtype=np.float64), -0.99)))


def _stretched(place: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(np.expm1(np.minimum(np.asarray(place, dtype=np.float64), 700.0)))


def _number(update: float, _: object) -> str:
    if update <= _LARGEST_PLAIN:
        return f"{update:.0f}"
    return rf"$10^{{{np.log10(update):.0f}}}$"
