"""What a sweep found, in a few lines: where gradients turn from vanishing to exploding, and how many did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.trained_summary import descents, training_groups
from gradlab.archive.variables import REGIME, STATUS
from gradlab.measure.records import RATE_RESOLUTION

if TYPE_CHECKING:
    import xarray as xr

    from gradlab.archive.plain import PlainData

    Data = xr.Dataset | PlainData

MAX_CURVES = 24


@dataclass(frozen=True)
class Crossing:
    """A change of sign of the growth rate along an axis.

    Parameters
    ----------
    at : float or None
        Where the line between the neighbouring points is zero; None where one of them is infinite.
    between : tuple of float
        The neighbouring points.
    rising : bool
        From vanishing to exploding.
    """

    at: float | None
    between: tuple[float, float]
    rising: bool


def summary(ds: Data, max_curves: int = MAX_CURVES) -> dict[str, Any]:
    """Return the sweep's findings as a plain table.

    Parameters
    ----------
    ds : xarray.Dataset or PlainData
        What an archive holds; that of a training or a landscape labelled.
    max_curves : int
        With more curves than this, axes are held at one value: the length at its longest, clipping
        at "off", the learner at "bptt", then others at their first value, until no more are left.

    Returns
    -------
    dict
        `counts` : cases by what became of them (see `counts`).
        `axis` : the numeric axis along which signs change, or None.
        `held` : axes held at one value, with the value.
        `curves` : list of ``{"at": {axis: label}, "crossings": [{"at", "between", "rising"}],
        "growth_rates": (lowest, highest), "points"}``, one a curve; empty without an axis or
        growth rates.
        `groups`, `descents` : of a training and of a landscape; see `gradlab.archive.trained_summary`.
    """
    result: dict[str, Any] = {"counts": counts(ds), "axis": None, "held": {}, "curves": []}
    if "final_metric" in ds:
        result["groups"] = training_groups(cast("xr.Dataset", ds))
    if "descent_loss" in ds:
        result["descents"] = descents(cast("xr.Dataset", ds))
    if "growth_rate" not in ds:
        return result
    axes = [str(dim) for dim in ds["status"].dims if dim != "replicate"]
    numeric = [axis for axis in axes if ds.sizes[axis] > 1 and _is_scale(ds[axis])]
    if not numeric:
        return result
    rates = _mean_rates(ds)
    axis = next((a for a in numeric if _any_crossing(ds, rates, axes.index(a))), numeric[0])
    held = _held(ds, [a for a in axes if a != axis], max_curves)
    result |= {"axis": axis, "held": {a: _plain(ds[a].values[i]) for a, i in held.items()}}
    result["curves"] = _curves(ds, rates, axes, axis, held)
    return result


def counts(ds: Data) -> dict[str, int]:
    """Return how many cases vanish, are stable, explode, overflowed, failed, were not run, and all.

    The regimes are left out where they were not recorded; then `ok` counts the cases that ran.
    Points that a filter left out are not cases.
    """
    status = ds["status"].values
    cases = ds["case_key"].values != ""
    ok = status == STATUS["ok"]
    found = {"ok": int(ok.sum())}
    if "regime" in ds:
        regime = ds["regime"].values
        found = {
            name: int((ok & (regime == REGIME[name])).sum()) for name in REGIME if name != "undetermined"
        }
        if undetermined := int((ok & (regime == REGIME["undetermined"])).sum()):
            found["undetermined"] = undetermined
    trained = "diverged_at" in ds or bool((status == STATUS["diverged"]).any())
    for name in ("overflowed", *(["diverged"] if trained else []), "failed"):
        found[name] = int((status == STATUS[name]).sum())
    found["not run"] = int((cases & (status == STATUS["not_run"])).sum())
    found["all"] = int(cases.sum())
    return found


def _is_scale(axis: Any) -> bool:
    """Return whether something can lie between the values of an axis; seeds are names, if of digits."""
    return axis.dtype.kind in "if" and axis.attrs.get("description") != "the setting seed"


def _mean_rates(ds: Data) -> NDArray[np.float64]:
    """Return the growth rate's mean over the replicates that have one, NaN where none has: (axes...).

    Where some are infinite (no gradient but at one lag, or a state that overflowed) it is the median: one
    replicate does not speak for the others. A mean that is zero to rounding is zero.
    """
    rates = np.sort(_along(ds["growth_rate"], ..., "replicate"), axis=-1)  # NaN goes last
    there = ~np.isnan(rates)
    number = there.sum(-1)
    mean: NDArray[np.float64] = np.full(number.shape, np.nan)
    finite = np.where(np.isfinite(rates), rates, 0.0)
    np.divide(finite.sum(-1), number, out=mean, where=number > 0)
    middle = [np.maximum(number - 1, 0) // 2, number // 2]
    low, high = (np.take_along_axis(rates, place[..., None], axis=-1)[..., 0] for place in middle)
    with np.errstate(invalid="ignore"):  # +inf and -inf in equal number have no median
        mean = np.where(np.isinf(rates).any(-1), 0.5 * (low + high), mean)
    return _rounded(mean)


def _along(array: Any, *dims: Any) -> NDArray[Any]:
    """Return the values of an array, labelled or plain, with its dimensions in this order."""
    return np.asarray(array.along(*dims) if hasattr(array, "along") else array.transpose(*dims).values)


def _rounded(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rates, zero where they are zero to rounding: their sign then says nothing."""
    return np.where(np.abs(rates) <= RATE_RESOLUTION, 0.0, rates)


def crossings(x: Sequence[float] | NDArray[Any], rates: NDArray[np.float64]) -> list[Crossing]:
    """Return where `rates` change sign along `x`, by linear interpolation, passing over NaN.

    Rates of at most `RATE_RESOLUTION` are zero, which has no sign.
    """
    order = np.argsort(np.asarray(x, dtype=float), kind="stable")
    place, rate = np.asarray(x, dtype=float)[order], _rounded(np.asarray(rates, dtype=float)[order])
    kept = ~np.isnan(rate)
    place, rate = place[kept], rate[kept]
    signed = np.flatnonzero(rate != 0)
    found = []
    for a, b in pairwise(signed):
        if (rate[a] > 0) == (rate[b] > 0):
            continue
        if b > a + 1:  # exactly zero in between
            at: float | None = float((place[a + 1] + place[b - 1]) / 2)
        elif np.isinf(rate[a]) or np.isinf(rate[b]):
            at = None
        else:
            at = float(place[a] + (place[b] - place[a]) * (rate[a] / (rate[a] - rate[b])))
        found.append(Crossing(at, (float(place[a]), float(place[b])), bool(rate[b] > 0)))
    return found


def _any_crossing(ds: Data, rates: NDArray[np.float64], axis: int) -> bool:
    """Whether the sign changes along an axis in any curve; cheap, as it looks at all of them."""
    x = np.argsort(ds[str(ds["status"].dims[axis])].values, kind="stable")
    lines = np.moveaxis(rates, axis, -1)[..., x].reshape(-1, len(x))
    low = np.where(np.isnan(lines), np.inf, lines).min(-1) < 0
    high = np.where(np.isnan(lines), -np.inf, lines).max(-1) > 0
    return bool((low & high).any())


def _held(ds: Data, others: list[str], max_curves: int) -> dict[str, int]:
    """Return the axes to hold, with the place to hold them at, so that at most `max_curves` are left."""
    held: dict[str, int] = {}
    first = [axis for axis in ("length", "clip", "learner") if axis in others]
    for axis in first + [axis for axis in reversed(others) if axis not in first]:
        if np.prod([ds.sizes[a] for a in others if a not in held], dtype=float) <= max_curves:
            break
        values = ds[axis].values
        if axis == "length" and values.dtype.kind in "if":
            held[axis] = int(values.argmax())
        else:
            held[axis] = next((i for i, v in enumerate(values) if str(v) in ("off", "bptt")), 0)
    return {axis: held[axis] for axis in others if axis in held}


def _curves(
    ds: Data, rates: NDArray[np.float64], axes: list[str], axis: str, held: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return one row a curve; one point is none, for between it and nothing no sign can change."""
    free = [a for a in axes if a != axis and a not in held]
    labels = {a: ds[a].values for a in free}
    x = ds[axis].values
    rows = []
    for place in product(*(range(ds.sizes[a]) for a in free)):
        where = {**held, **dict(zip(free, place, strict=True))}
        line = rates[tuple(slice(None) if a == axis else where[a] for a in axes)]
        known = line[~np.isnan(line)]
        if len(known) < 2:
            continue
        found = [{"at": c.at, "between": c.between, "rising": c.rising} for c in crossings(x, line)]
        row = {
            "at": {a: _plain(labels[a][i]) for a, i in zip(free, place, strict=True)},
            "crossings": found,
            "growth_rates": (float(known.min()), float(known.max())),
            "points": len(known),
        }
        rows.append(row)
    return rows


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
