"""The grid of two archives, or of an archive and a spec, together: which case of the one is where in it.

Cases are known by the keys of their settings. What the new side has is where it has it; what only the old
side has is put beside it by the values of the axes, which are then those of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.plain import PlainData
from gradlab.archive.schema import Coordinate, Layout
from gradlab.archive.variables import OPTIONAL, STATUS, TEXT, VARIABLES
from gradlab.core.errors import Problem, UserMistake
from gradlab.measure.records import DIMS

Index = NDArray[np.int64]
Keys = NDArray[np.str_]

AN_AXIS = "Make an axis of what differs."
FINISHED = tuple(STATUS[name] for name in ("ok", "overflowed", "underflowed", "diverged"))


@dataclass(frozen=True, eq=False)
class Held:
    """What stands in a grid: its layout, and of every point the case.

    Parameters
    ----------
    layout : Layout
    settings, code : ndarray of str, shape (axes..., replicate)
        Keys of settings and of code; empty where there is no case.
    status : ndarray of int8, shape (axes..., replicate)
    attrs : mapping
        Attributes of the dataset.
    chunks : mapping of str to tuple of int
        Shapes of the chunks on disk by variable; empty for what is not on disk.
    lone : str
        The one row block of its networks where there is no dimension ``gate``; empty if not known.
    """

    layout: Layout
    settings: Keys
    code: Keys
    status: NDArray[np.int8]
    attrs: Mapping[str, Any]
    chunks: Mapping[str, tuple[int, ...]]
    lone: str = ""

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which cases have been measured."""
        return np.isin(self.status, FINISHED)


@dataclass(frozen=True, eq=False)
class United:
    """Two grids in one.

    Parameters
    ----------
    layout : Layout
        Of both together.
    settings : ndarray of str, shape (axes..., replicate)
        Keys of the cases in it.
    left : boolean array of the old grid's shape
        Cases that only the old side has and that are kept.
    places : tuple of int64 array
        Where the points of each case dimension of the new side are in the layout.
    """

    layout: Layout
    settings: Keys
    left: NDArray[np.bool_]
    places: tuple[Index, ...]


def read_held(path: Path) -> Held:
    """Return what the archive in a directory holds. Reads coordinates, keys and status alone.

    Raises
    ------
    UserMistake
        If one of these is damaged.
    """
    data = PlainData(path)
    arrays = {name: data[name] for name in data}
    case_dims = arrays["status"].dims
    coordinates = {
        name: Coordinate(array.dims[0], array.values, {k: str(v) for k, v in array.attrs.items()})
        for name, array in arrays.items()
        if name not in VARIABLES
    }
    own = [dim for dim in DIMS if dim in coordinates]
    sizes = {dim: len(coordinates[dim].values) for dim in (*case_dims, *own)}
    names = tuple(name for name in VARIABLES if name in arrays)
    # Before schema 2 the case's key was that of its settings, and nothing told the code.
    settings_key = "settings_key" if "settings_key" in arrays else "case_key"
    dense: dict[str, NDArray[Any]] = {
        name: arrays[name].values for name in (settings_key, "code_key", "status") if name in arrays
    }
    settings = dense[settings_key].astype("<U32")
    code = dense["code_key"].astype("<U16") if "code_key" in dense else np.full(settings.shape, "", "<U16")
    chunks = {name: arrays[name].form.chunk for name in names}
    attrs = {key: value for key, value in data.attrs.items() if key != "gradlab_schema"}
    layout = Layout(sizes, case_dims, coordinates, names)
    return Held(layout, settings, code, dense["status"], attrs, chunks)


def same_layout(one: Layout, other: Layout) -> bool:
    """Return whether two layouts are the same, coordinates and all."""
    return (
        one.sizes == other.sizes
        and one.case_dims == other.case_dims
        and one.names == other.names
        and one.coordinates.keys() == other.coordinates.keys()
        and all(
            c.dim == other.coordinates[name].dim
            and c.values.dtype == other.coordinates[name].values.dtype
            and np.array_equal(c.values, other.coordinates[name].values)
            for name, c in one.coordinates.items()
        )
    )


def same_grid(one: Held, other: Held) -> bool:
    """Return whether two grids have the same cases at the same places."""
    return same_layout(one.layout, other.layout) and np.array_equal(one.settings, other.settings)


def unite(old: Held, new: Held, keep: NDArray[np.bool_], names: Sequence[str], where: str) -> United:
    """Return two grids in one, its axes in the order of the new side.

    Parameters
    ----------
    old, new : Held
    keep : boolean array of the old grid's shape
        Cases of the old side that are to have a place. If the new side has them all, the layout is its.
    names : sequence of str
        The variables of the layout.
    where : str
        The archive, for messages.

    Raises
    ------
    UserMistake
        If the two sides have other axes, or other cases at a place.
    """
    left = keep & ~among(old.settings, new.settings)
    if not left.any():
        layout = replace(new.layout, names=tuple(names))
        places = tuple(np.arange(n, dtype=np.int64) for n in new.settings.shape)
        return United(layout, new.settings, left, places)
    ours, theirs = old.layout, new.layout
    if set(ours.case_dims) != set(theirs.case_dims):
        expected = f"the axes that the archive has, {_listed(ours.case_dims)}, to put its cases beside"
        hint = "An axis may have a single value."
        raise UserMistake(Problem(where, expected, _listed(theirs.case_dims), hint))
    if ours.case_dims != theirs.case_dims:
        order = [ours.case_dims.index(dim) for dim in theirs.case_dims]
        united = unite(_turned(old, order), new, keep.transpose(order), names, where)
        return replace(united, left=left)
    coordinates: dict[str, Coordinate] = {}
    from_old, from_new = [], []
    for axis, dim in enumerate(ours.case_dims):
        used = np.asarray(left.any(axis=tuple(i for i in range(left.ndim) if i != axis)))
        found, first, second = _along(dim, ours, theirs, used, _pairs(old, new, axis), where)
        coordinates |= found
        from_old.append(first)
        from_new.append(second)
    coordinates |= _inner(old, new, where)
    sizes = {dim: len(coordinates[dim].values) for dim in ours.case_dims}
    sizes |= {dim: len(coordinates[dim].values) for dim in DIMS if dim in coordinates}
    settings = np.full(tuple(sizes[dim] for dim in ours.case_dims), "", dtype="<U32")
    settings[np.ix_(*from_new)] = new.settings
    at = np.argwhere(left)
    target = tuple(places[at[:, axis]] for axis, places in enumerate(from_old))
    taken = (settings[target] != "") & (settings[target] != old.settings[left])
    layout = Layout(sizes, ours.case_dims, coordinates, tuple(names))
    if taken.any():
        first_taken = [int(t[np.argmax(taken)]) for t in target]
        got = f"other settings at {int(taken.sum())} of its cases, the first at {point(layout, first_taken)}"
        raise UserMistake(Problem(where, "the settings that the archive's cases have", got, AN_AXIS))
    settings[target] = old.settings[left]
    return United(layout, settings, left, tuple(from_new))


def _turned(held: Held, order: Sequence[int]) -> Held:
    """Return a grid with its axes in another order."""
    layout = replace(held.layout, case_dims=tuple(held.layout.case_dims[axis] for axis in order))
    settings, code, status = held.settings, held.code.transpose(order), held.status.transpose(order)
    return replace(
        held, layout=layout, settings=settings.transpose(order), code=code, status=status, chunks={}
    )


def point(layout: Layout, place: Sequence[int]) -> str:
    """Return a place in words: ``radius=0.5, replicate=0``."""
    return ", ".join(
        f"{dim}={layout.coordinates[dim].values[i]}" for dim, i in zip(layout.case_dims, place, strict=True)
    )


def carried(old: Held, settings: Keys, taken: NDArray[np.bool_] | None = None) -> tuple[Index, Index]:
    """Return which cases of an archive are in a grid, and where: two arrays of flat places.

    Parameters
    ----------
    old : Held
        The archive. Cases with a status count; of several with one key, a finished one.
    settings : ndarray of str
        Keys of the grid's cases.
    taken : boolean array of the grid's shape, optional
        Places that are not looked at.
    """
    wanted = settings != ""
    if taken is not None:
        wanted &= ~taken
    target = np.flatnonzero(wanted)
    if np.array_equal(old.settings, settings) and old.finished.ravel()[target].all():
        return target, target
    status = old.status.ravel()
    source = np.flatnonzero((status != STATUS["not_run"]) & (old.settings.ravel() != ""))
    source = source[np.argsort(status[source] == STATUS["failed"], kind="stable")]  # failed ones last
    theirs, keys = _short(old.settings.ravel()[source], settings.ravel()[target])
    known, first = np.unique(theirs, return_index=True)
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    number = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    hit = known[number] == keys
    return source[first[number[hit]]], target[hit]


def among(keys: Keys, others: Keys) -> NDArray[np.bool_]:
    """Return which keys are also among others."""
    if np.array_equal(keys, others):
        return np.ones(keys.shape, dtype=bool)
    one, other = _short(keys, others)
    return np.isin(one, other)


def _short(*keys: Keys) -> Sequence[NDArray[Any]]:
    """Return keys, which are hexadecimal, in a quarter of the bytes: they are sorted faster."""
    try:
        return [each.astype("S32") for each in keys]
    except UnicodeEncodeError:  # of an archive that somebody else made up
        return keys


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name != "replicate") or "none"


def _pairs(old: Held, new: Held, axis: int) -> dict[int, int]:
    """Return which points of an axis mean the same on both sides, by the cases that both have.

    The label of a setting may change with what else is on the axis.
    """
    common, first, second = np.intersect1d(old.settings.ravel(), new.settings.ravel(), return_indices=True)
    there = common != ""
    a = np.unravel_index(first[there], old.settings.shape)[axis]
    b = np.unravel_index(second[there], new.settings.shape)[axis]
    pairs = np.unique(np.stack([a, b]), axis=1)
    if len(np.unique(pairs[0])) < pairs.shape[1] or len(np.unique(pairs[1])) < pairs.shape[1]:
        return {}
    return dict(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True))


def _along(
    dim: str, ours: Layout, theirs: Layout, used: NDArray[np.bool_], pairs: dict[int, int], where: str
) -> tuple[dict[str, Coordinate], Index, Index]:
    """Unite one axis.

    The old side's points stay in their order, as far as they are used or the new side has them; the new
    side's follow, and numbers are sorted if any did.

    Returns
    -------
    dict, array, array
        The coordinates, and where each point of the old and of the new side is (-1: nowhere).
    """
    first, second = (
        {name: c.values for name, c in side.coordinates.items() if c.dim == dim} for side in (ours, theirs)
    )
    kinds = [{name: values.dtype.kind in "OUST" for name, values in side.items()} for side in (first, second)]
    if kinds[0] != kinds[1]:
        expected = f"axis {dim} to have {', '.join(first)} along it, of the kind that the archive has"
        raise UserMistake(Problem(where, expected, ", ".join(second)))
    # An archive names its coordinates in the disk's order, a spec in its own: here both have the first's.
    second = {name: second[name] for name in first}
    rows_old, rows_new = (
        list(zip(*(v.tolist() for v in side.values()), strict=True)) for side in (first, second)
    )
    known = {row: j for j, row in enumerate(rows_new)}
    same = {i: pairs.get(i, known.get(row, -1)) for i, row in enumerate(rows_old)}
    kept = [i for i in range(len(rows_old)) if used[i] or same[i] >= 0]
    from_old = np.full(len(rows_old), -1, dtype=np.int64)
    from_new = np.full(len(rows_new), -1, dtype=np.int64)
    rows: list[tuple[Any, ...]] = []
    for i in kept:
        from_old[i] = len(rows)
        if same[i] >= 0:
            from_new[same[i]] = len(rows)
        rows.append(rows_new[same[i]] if same[i] >= 0 else rows_old[i])
    more = np.flatnonzero(from_new < 0)
    from_new[more] = len(rows) + np.arange(len(more))
    rows += [rows_new[j] for j in more]
    if len(more) and not kinds[0][dim]:
        values = np.array([row[list(first).index(dim)] for row in rows])
        order = np.argsort(values, kind="stable")
        place = np.argsort(order, kind="stable")
        rows = [rows[i] for i in order]
        from_old = np.where(from_old >= 0, place[from_old], -1)
        from_new = place[from_new]
    coordinates = {
        name: Coordinate(
            dim, _typed([row[k] for row in rows], kinds[0][name]), theirs.coordinates[name].attributes
        )
        for k, name in enumerate(first)
    }
    if len({row[list(first).index(dim)] for row in rows}) < len(rows) and kinds[0][dim]:
        raise UserMistake(Problem(where, f"one meaning of every label along {dim}", "two"))
    return coordinates, from_old, from_new


def _typed(values: list[Any], text: bool) -> NDArray[Any]:
    if text:
        return np.array(values, dtype=TEXT)
    whole = all(isinstance(value, int) for value in values)
    return np.array(values, dtype=np.int64 if whole else np.float64)


def implied(held: Held, dim: str) -> list[Any]:
    """Return the labels along what variables run along besides the case, also where it is not there.

    Every case then stands at the one label that is returned; none if that is not known.
    """
    if dim in held.layout.coordinates:
        return list(held.layout.coordinates[dim].values.tolist())
    lone: dict[str, list[Any]] = {
        "layer": [0],
        "direction": ["forward"],
        "gate": [held.lone] if held.lone else [],
    }
    return lone.get(dim, [])


def _inner(old: Held, new: Held, where: str) -> dict[str, Coordinate]:
    """Return the coordinates of what variables run along besides the case, of both sides."""
    found: dict[str, Coordinate] = {}
    for dim in DIMS:
        sides = [s.layout.coordinates[dim] for s in (old, new) if dim in s.layout.coordinates]
        if sides:
            both = [implied(old, dim), implied(new, dim)]
            if not all(both) and dim in OPTIONAL:
                expected = f"cases with a {dim} that is known, to put them together"
                raise UserMistake(Problem(where, expected, "others"))
            labels = dict.fromkeys(label for side in both for label in side)
            text = sides[0].values.dtype.kind in "OUST"
            found[dim] = Coordinate(
                dim, _typed(list(labels) if text else sorted(labels), text), sides[-1].attributes
            )
    return found
