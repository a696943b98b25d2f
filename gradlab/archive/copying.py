"""Copying cases from one archive's data into another's, region by region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.creation import array_of, grown, open_data, values_of
from gradlab.archive.schema import Layout
from gradlab.archive.united import Held, Index, implied
from gradlab.archive.variables import KEYS, OPTIONAL, STATUS, VARIABLES
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import zarr

Array = NDArray[Any]

REGION_BYTES = 32 * 2**20  # of one variable that is in memory at a time

#: What was not recorded of cases because it tells nothing of them, with what it would have been: adjoint
#: of a memory that no cell has, full back-propagation compared with itself, and simple predictors that no
#: task states; these were not kept before schema 3 either.
BY_DEFAULT = {
    "log10_memory_gradient_norm": np.nan,
    "cosine_to_bptt": 1.0,
    "learner_bias": 0.0,
    "learner_spread": 0.0,
    "baseline": np.nan,
}


@dataclass(frozen=True, eq=False)
class Difference:
    """A case that two archives have with other numbers.

    Parameters
    ----------
    place : int
        Flat place in the target.
    variable : str
    """

    place: int
    variable: str


def copy_cases(data: Path, held: Held, target_data: Path, target: Held, source: Index, places: Index) -> None:
    """Copy cases, status and all but their keys.

    Parameters
    ----------
    data, held
        ``data.zarr`` of the archive that has them, and what it holds.
    target_data, target
        Where they go.
    source, places : int64 array of shape (cases,)
        Flat places in the one and in the other.
    """
    there, here = open_data(data), open_data(target_data, "r+")
    for name in target.layout.names:
        if name in KEYS or not len(source):
            continue
        array = array_of(here, name)
        old = array_of(there, name) if name in held.layout.names else None
        for region, inside, rows in _regions(array, target.layout, places):
            if old is None:
                values = _by_default(name, held.status.ravel()[source[rows]], array.shape[len(region) :])
            else:
                values = _gathered(name, old, held, target, source[rows])
            buffer = values_of(array, region)
            buffer[inside] = values
            array[region] = buffer


def differing(
    data: Path, held: Held, other_data: Path, other: Held, source: Index, places: Index
) -> Difference | None:
    """Return the first of the cases, told by their flat places in both, whose numbers are not the same."""
    one, two = open_data(data), open_data(other_data)
    for name in other.layout.names:
        if name in KEYS or name not in held.layout.names or not len(source):
            continue
        array = array_of(two, name)
        for region, inside, rows in _regions(array, other.layout, places):
            values = _gathered(name, array_of(one, name), held, other, source[rows])
            unequal = _bits(values_of(array, region)[inside]) != _bits(values)
            bad = unequal.reshape(len(rows), -1).any(axis=1)
            if bad.any():
                return Difference(int(places[rows[np.argmax(bad)]]), name)
    return None


def _bits(values: Array) -> Array:
    """Return values such that those of equal bits, and any two NaN, are equal."""
    if values.dtype.kind != "f":
        return values
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _regions(
    array: zarr.Array[Any], layout: Layout, places: Index
) -> Iterator[tuple[tuple[slice, ...], tuple[Index, ...], Index]]:
    """Yield regions of whole chunks that hold any of the places: the region, places in it, their rows."""
    cases = len(layout.case_dims)
    shape, tile = array.shape[:cases], array.chunks[:cases]
    size = grown(tile, shape, max(1, REGION_BYTES // (8 * int(np.prod(array.shape[cases:])))))
    index = np.stack(np.unravel_index(places, shape), axis=1)
    block = index // size
    grid = tuple(-(-n // s) for n, s in zip(shape, size, strict=True))
    flat = np.ravel_multi_index(tuple(block.T), grid)
    order = np.argsort(flat, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(flat[order])) + 1):
        start = block[rows[0]] * size
        stop = np.minimum(start + size, shape)
        region = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        yield region, tuple((index[rows] - start).T), rows


def _gathered(name: str, array: zarr.Array[Any], held: Held, target: Held, source: Index) -> Array:
    """Return cases' values of a variable, as the target has them."""
    shape = held.settings.shape
    index = np.stack(np.unravel_index(source, shape), axis=1)
    values = np.empty((len(source), *array.shape[len(shape) :]), dtype=array.dtype)
    waiting = [np.arange(len(source))]
    inner = int(np.prod(array.shape[len(shape) :]))
    while waiting:  # scattered cases are read in several boxes
        rows = waiting.pop()
        low, high = index[rows].min(axis=0), index[rows].max(axis=0) + 1
        volume = int(np.prod(high - low))
        if len(rows) > 1 and volume > 4 * len(rows) and 8 * volume * inner > REGION_BYTES:
            axis = int(np.argmax((high - low) / np.array(array.chunks[: len(shape)])))
            middle = (low[axis] + high[axis]) // 2
            below = index[rows, axis] < middle
            if below.any() and not below.all():
                waiting += [rows[below], rows[~below]]
                continue
        box = values_of(array, tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
        values[rows] = box[tuple((index[rows] - low).T)]
    return _relabelled(name, values, held, target)


def _relabelled(name: str, values: Array, held: Held, target: Held) -> Array:
    """Return values with what they run along besides the case as the target has it."""
    variable = VARIABLES[name]
    if not variable.over:
        return values
    source_dims = held.layout.dims(name)[len(held.layout.case_dims) :]
    target_dims = target.layout.dims(name)[len(target.layout.case_dims) :]
    over = [dim for dim in variable.over if dim in source_dims or dim in target_dims]
    if all(_same(held, target, dim) for dim in over):
        return values
    full = values.reshape(len(values), *(len(_labels(held, dim)) for dim in over))
    out = variable.empty((len(values), *(len(_labels(target, dim)) for dim in over)))
    take, put = [np.arange(len(values))], [np.arange(len(values))]
    for dim in over:
        ours, theirs = _labels(held, dim), _labels(target, dim)
        common = [label for label in ours if label in theirs]
        take.append(np.array([ours.index(label) for label in common], dtype=np.int64))
        put.append(np.array([theirs.index(label) for label in common], dtype=np.int64))
    out[np.ix_(*put)] = full[np.ix_(*take)]
    return out.reshape(len(values), *(target.layout.sizes[dim] for dim in target_dims))


def _same(held: Held, target: Held, dim: str) -> bool:
    one, two = held.layout.coordinates.get(dim), target.layout.coordinates.get(dim)
    return one is not None and two is not None and np.array_equal(one.values, two.values)


def _labels(held: Held, dim: str) -> list[Any]:
    """Return labels along a dimension; where it is not there, the one that every case stands at."""
    labels = implied(held, dim)
    if dim in OPTIONAL and not labels:
        expected = f"cases with a {dim} that is known, to put them together"
        raise UserMistake(Problem(dim, expected, "others: its specs have several"))
    return labels


def _by_default(name: str, status: NDArray[np.int8], inner: tuple[int, ...]) -> Array:
    """Return what a variable is of cases of which it was not recorded, for it tells nothing of them."""
    values = VARIABLES[name].empty((len(status), *inner))
    if not inner:
        values[...] = BY_DEFAULT[name]
        values[status == STATUS["overflowed"]] = np.inf
        values[status == STATUS["failed"]] = np.nan
    return values
