"""What a training and a landscape found, as plain tables."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.variables import STATUS

if TYPE_CHECKING:
    import xarray as xr

MOST_GROUPS = 60


def training_groups(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Return what became of the replicates of every point, those first where most were solved.

    Returns
    -------
    list of dict
        `at` : label by axis; `cases`, `solved`, `diverged` : counts; `metric` : median over the replicates
        of the last one, None where nothing is known; `baselines` : by name what simple predictors reach in
        it (median over the replicates). At most `MOST_GROUPS` of them. Where it was not recorded when they
        were solved, `solved` is None.
    """
    names = ["status", "final_metric", *(name for name in ("solved_at", "baseline") if name in ds)]
    axes = [str(dim) for dim in ds["status"].dims if dim != "replicate"]
    found = []
    for place in itertools.product(*(range(ds.sizes[axis]) for axis in axes)):
        one = ds[names].isel(dict(zip(axes, place, strict=True)))
        status = one["status"].values
        ran = np.isin(status, (STATUS["ok"], STATUS["diverged"]))
        if not ran.any():
            continue
        group: dict[str, Any] = {
            "at": {axis: _plain(ds[axis].values[i]) for axis, i in zip(axes, place, strict=True)},
            "cases": int(ran.sum()),
            "solved": int((one["solved_at"].values[ran] >= 0).sum()) if "solved_at" in ds else None,
            "diverged": int((status == STATUS["diverged"]).sum()),
            "metric": _median(one["final_metric"].values[ran]),
            "baselines": _baselines(one, ran),
        }
        found.append(group)
    found.sort(key=lambda group: (-(group["solved"] or 0), group["metric"] is None, group["metric"] or 0.0))
    return found[:MOST_GROUPS]


def descents(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Return where every descent ended: `at`, and the first, the lowest and the last `loss` along it."""
    axes = [str(dim) for dim in ds["status"].dims]
    loss = ds["descent_loss"].transpose(*axes, "update").values
    found = []
    for place in np.ndindex(*loss.shape[:-1]):
        own = loss[place][np.isfinite(loss[place])]
        if own.size:
            at = {axis: _plain(ds[axis].values[i]) for axis, i in zip(axes, place, strict=True)}
            found.append(
                {"at": at, "loss": [float(own[0]), float(own.min()), float(own[-1])], "updates": own.size - 1}
            )
    return found[:MOST_GROUPS]


def _baselines(one: xr.Dataset, ran: NDArray[np.bool_]) -> dict[str, float]:
    """Return what the simple predictors of a point reach, those that its task states."""
    if "baseline" not in one:
        return {}
    values = one["baseline"].transpose("replicate", "predictor").values[ran]
    each = zip(one["predictor"].values.tolist(), map(_median, values.T), strict=True)
    return {str(name): value for name, value in each if value is not None}


def _median(values: Any) -> float | None:
    finite = values[~np.isnan(values)]
    return float(np.median(finite)) if finite.size else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
