"""Axes by the setting that they vary, and a few of their values as panels."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gradlab.figures.selection import OK, Sliced, axes_of, is_numeric, masked, text_of, titles_of


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
    kept = np.linspace(0, cut.ds.sizes[axis] - 1, most).round().astype(int)
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


def divided(ds: xr.Dataset, panel: str | None) -> dict[str, xr.Dataset]:
    """Return a dataset a panel by title; one without a title where no axis becomes panels.

    Numbers have the axis's name before them: alone they would not say what they are.
    """
    if panel is None:
        return {"": ds}
    labels = titles_of(ds, panel)
    if is_numeric(ds, panel):
        labels = [f"{panel.replace('_', ' ')} {label}".replace(" -", " \N{MINUS SIGN}") for label in labels]
    return {label: ds.isel({panel: index}) for index, label in enumerate(labels)}
