"""Axes by the setting that they vary, and a few of their values as panels."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import xarray as xr

from gradlab.core import places
from gradlab.figures.selection import (
    OK,
    Sliced,
    axes_of,
    entry_name,
    is_numeric,
    masked,
    titles_of,
)
from gradlab.figures.words import text_of
from gradlab.learning.clipping import registry as rules

_CLIP, _THRESHOLD, _OMEGA = "clip", "clip.threshold", "training.omega"


def axis_of(ds: xr.Dataset, key: str) -> str | None:
    """Return the axis along which the setting `key` of the spec ("network.cell") varies, or None.

    The coordinates say which setting they are; where they do not, the axis has the key's last part
    as its name.
    """
    for axis in axes_of(ds):
        along = [name for name in ds.coords if ds[name].dims == (axis,)]
        if any(ds[name].attrs.get("description") == f"the setting {key}" for name in along):
            return axis
    name = key.rpartition(".")[2]
    silent = name not in ds.coords or not ds[name].attrs.get("description")
    return name if name in axes_of(ds) and silent else None


def evenly(cut: Sliced, axis: str | None, most: int) -> Sliced:
    """Keep values of an axis at even distances, its ends among them, and say so, where there are many."""
    if axis is None or cut.ds.sizes[axis] <= most:
        return cut
    kept = places.evenly(cut.ds.sizes[axis], most)
    words = f"{axis}: {most} of {cut.ds.sizes[axis]}"
    return Sliced(cut.ds.isel({axis: kept}), (*cut.words, words))


def having(ds: xr.Dataset, axis: str, name: str) -> tuple[xr.Dataset, list[str]]:
    """Leave out the values of an axis of labels whose cases ran and have nothing of a record.

    Returns the dataset as it was where that would be all of them, else what is left, and the labels
    left out, but for those that no case was asked for.
    """
    data = masked(ds, name)
    rest = [dim for dim in data.dims if dim != axis]
    there = data.notnull().any(rest).values
    asked = np.ones(there.shape, dtype=bool)
    if "status" in ds:
        cases = ds["case_key"] != "" if "case_key" in ds else xr.ones_like(ds["status"], dtype=bool)
        others = [dim for dim in cases.dims if dim != axis]
        asked = cases.any(others).values
        there = there | (cases & (ds["status"] != OK)).any(others).values
    if not there.any():
        return ds, []
    gone = [text_of(label) for label in ds[axis].values[~there & asked]]
    return ds.isel({axis: np.flatnonzero(there)}), gone


def divided(ds: xr.Dataset, panel: str | None) -> tuple[list[str], list[xr.Dataset]]:
    """Return title and dataset of every panel; one without a title where no axis becomes panels."""
    if panel is None:
        return [""], [ds]
    return titles_of(ds, panel), [ds.isel({panel: index}) for index in range(ds.sizes[panel])]


def rule_axis(ds: xr.Dataset) -> str | None:
    """Return the axis along which the clip rule varies, or its threshold; else None."""
    axes = [axis_of(ds, key) for key in (_CLIP, _THRESHOLD)]
    several = [axis for axis in axes if axis is not None and ds.sizes[axis] > 1]
    return next(iter(several), None) or next((axis for axis in axes if axis is not None), None)


def with_regulariser(ds: xr.Dataset, *taken: str) -> xr.Dataset:
    """Return the dataset with the regulariser's strength beside the clip rule, on one axis.

    Where both vary, a rule with and without the regulariser is two ways to train. Labels become
    "norm(1.0), omega 0.1"; pairs that were not run are left out. Nothing is done where one of both axes
    is not there, has one value, or is `taken`.
    """
    rule, omega = axis_of(ds, _CLIP), axis_of(ds, _OMEGA)
    if rule is None or omega is None or min(ds.sizes[rule], ds.sizes[omega]) < 2 or {rule, omega} & {*taken}:
        return ds
    ran = np.ones((ds.sizes[rule], ds.sizes[omega]), dtype=bool)
    if "case_key" in ds:
        asked = ds["case_key"] != ""
        ran = asked.any([dim for dim in asked.dims if dim not in (rule, omega)]).transpose(rule, omega).values
    rules_at, strengths_at = np.nonzero(ran)
    labels = [
        f"{label}, {omega} {strength:g}" if strength else str(label)
        for label, strength in zip(ds[rule].values[rules_at], ds[omega].values[strengths_at], strict=True)
    ]
    beside = [name for name in ds.coords if ds[name].dims in ((rule,), (omega,))]
    pairs = ds.drop_vars(beside).isel({rule: ("pair", rules_at), omega: ("pair", strengths_at)})
    return pairs.rename(pair=rule).assign_coords({rule: (rule, np.array(labels), ds[rule].attrs)})


def other_axes(ds: xr.Dataset, *taken: str | None) -> list[str]:
    """Return the axes of several values that are not taken, labels before numbers."""
    several = [axis for axis in axes_of(ds) if axis not in taken and ds.sizes[axis] > 1]
    return sorted(several, key=lambda axis: is_numeric(ds, axis))


def norm_bound(part: xr.Dataset) -> float | None:
    """Return the threshold to which the clip rule of all these cases shortens a gradient, if it says one."""
    label = _value(part, _CLIP)
    if label is None:
        return None
    rule = rules.get(entry_name(label), "clip")
    fields = [field.name for field in dataclasses.fields(rule)]  # type: ignore[arg-type]  # every entry is a dataclass
    if rule.bounds != "gradient norm" or "threshold" not in fields:
        return None
    first = "(?:threshold *= *)?" if fields[0] == "threshold" else "threshold *= *"
    found = re.search(rf"[(,] *{first}([-+.e\d]+) *[,)]", label)
    threshold = found.group(1) if found else _value(part, _THRESHOLD)
    return None if threshold is None else float(threshold)


def _value(part: xr.Dataset, key: str) -> str | None:
    """Return the one value of a setting in words: what a coordinate says, else an attribute."""
    name = key.rpartition(".")[2]
    there = [c for c in part.coords if part[c].attrs.get("description") == f"the setting {key}"]
    there += [name] if name in part.coords and not part[name].attrs.get("description") else []
    for coordinate in there:
        if part[coordinate].size == 1:
            return text_of(part[coordinate].values.reshape(-1)[0])
    return str(part.attrs[name]) if name in part.attrs else None
