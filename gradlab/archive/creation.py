"""Making the data of an archive."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.chunks import SEPARATOR, codec
from gradlab.archive.schema import Coordinate, Layout, dataset_attributes
from gradlab.archive.starting import start_zarr
from gradlab.archive.variables import KEYS, VARIABLES
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import zarr

CHUNK_BYTES = 4 * 2**20  # of one chunk of a profile, at most (a single lag or time step of a tile apart)
CASES_PER_CHUNK = 8192  # of a per-case variable: few files to read, little to write again
KEYS_PER_CHUNK = 65536


def grown(tile: Sequence[int], shape: Sequence[int], cells: int) -> tuple[int, ...]:
    """Return `tile` times whole numbers, last dimension first, to about `cells` cells."""
    sizes = [min(size, whole) for size, whole in zip(tile, shape, strict=True)]
    for d in reversed(range(len(sizes))):
        times = cells // max(1, int(np.prod(sizes)))
        sizes[d] = min(max(1, times) * sizes[d], shape[d])
    return tuple(sizes)


def _chunks(name: str, plan: Layout, tile: Sequence[int]) -> tuple[int, ...]:
    """Return the chunk shape of a variable."""
    shape = plan.shape(name)
    cases = tuple(plan.sizes[dim] for dim in plan.case_dims)
    if plan.dims(name)[-1] not in ("lag", "time"):
        return grown(tile, cases, KEYS_PER_CHUNK if name in KEYS else CASES_PER_CHUNK) + shape[len(cases) :]
    inside = tuple(min(size, whole) for size, whole in zip(tile, cases, strict=True))
    whole, last = shape[len(cases) : -1], shape[-1]
    parts = -(-8 * int(np.prod((*inside, *whole))) * last // CHUNK_BYTES)
    return (*inside, *whole, -(-last // min(parts, last)))


def _create_array(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: Any,
    fill: Any,
    dims: Sequence[str],
    attributes: Mapping[str, Any],
) -> zarr.Array[Any]:
    text = np.dtype(dtype).kind == "T"
    array: zarr.Array[Any] = group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(max(1, size) for size in chunks),
        dtype=dtype,
        fill_value=fill,
        dimension_names=tuple(dims),
        attributes=dict(attributes),
        compressors=codec(1 if text else np.dtype(dtype).itemsize),
        chunk_key_encoding={"name": "default", "separator": SEPARATOR},
        config={"write_empty_chunks": False},
    )
    return array


def _create_coordinate(group: zarr.Group, name: str, coordinate: Coordinate) -> None:
    values = coordinate.values
    fill = "" if values.dtype.kind == "T" else values.dtype.type(0)
    array = _create_array(
        group, name, values.shape, values.shape, values.dtype, fill, (coordinate.dim,), coordinate.attributes
    )
    array[...] = values


def _group_attributes(plan: Layout, attrs: Mapping[str, Any]) -> dict[str, Any]:
    further = " ".join(sorted(set(plan.coordinates) - set(plan.sizes)))
    return dataset_attributes(attrs) | ({"coordinates": further} if further else {})


def create_data(
    data: Path,
    plan: Layout,
    tile: Sequence[int],
    keys: Mapping[str, NDArray[Any]],
    attrs: Mapping[str, Any],
    chunks: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Write the group with its metadata, coordinates and keys by variable, and no case.

    Chunks are those of the tile where their shapes are not given.
    """
    import zarr  # late: a run starts its work sooner without it
    from zarr.errors import ZarrUserWarning

    start_zarr()
    group = zarr.open_group(data, mode="w", zarr_format=3, attributes=_group_attributes(plan, attrs))
    for name, coordinate in plan.coordinates.items():
        _create_coordinate(group, name, coordinate)
    for name in plan.names:
        variable = VARIABLES[name]
        array = _create_array(
            group,
            name,
            plan.shape(name),
            (chunks or {}).get(name) or _chunks(name, plan, tile),
            variable.numpy_dtype,
            variable.fill,
            plan.dims(name),
            variable.attributes,
        )
        if name in keys:
            array[...] = keys[name].astype(variable.numpy_dtype)
    with warnings.catch_warnings():
        # Consolidated metadata is an extension of Zarr v3 that plain xarray.open_zarr looks for,
        # and warns of when it is missing.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(data, zarr_format=3)


def open_data(data: Path, mode: Literal["r", "r+"] = "r") -> zarr.Group:
    """Return the arrays of an archive.

    Raises
    ------
    UserMistake
        If Zarr does not read their metadata, which are perhaps somebody else's.
    OSError
        If the disk refuses.
    """
    import zarr  # late: it takes as long to load as worker processes measure a block

    start_zarr()
    try:
        return zarr.open_group(data, mode=mode)
    except OSError:
        raise
    except Exception as error:  # whatever it says of metadata that are not its own
        got = f"one that cannot be opened ({type(error).__name__}: {shown(str(error), 200)})"
        raise UserMistake(Problem(str(data), "a Zarr group as the schema describes it", got)) from error


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return one array of a group.

    Raises
    ------
    UserMistake
        If it is not there: somebody else has removed it, for what is opened has been looked at.
    """
    import zarr

    try:
        array = group[name]
    except KeyError:
        hint = "Was the archive removed or moved meanwhile?"
        raise UserMistake(Problem(_place(group.store, name), "an array", "nothing", hint)) from None
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is not an array")
    return array


def values_of(array: zarr.Array[Any], region: Any = ...) -> NDArray[Any]:
    """Return a region of an array; where there is no chunk, what fills it.

    Raises
    ------
    UserMistake
        If a chunk is damaged.
    OSError
        If the disk refuses.
    """
    try:
        return np.asarray(array[region])
    except OSError:
        raise
    except Exception as error:  # whatever the codecs say of bytes that are not theirs
        got = f"a damaged one ({shown(str(error), 80)})"
        where = _place(array.store, array.path)
        raise UserMistake(Problem(where, "an array that can be read", got)) from None


def _place(store: object, name: str) -> str:
    """Return the place of an array, as it is told to a person."""
    return f"{getattr(store, 'root', '')}{os.sep}{name}"


def write_attributes(data: Path, plan: Layout, attrs: Mapping[str, Any]) -> None:
    """Give the dataset other attributes."""
    root = data / "zarr.json"
    metadata = json.loads(root.read_text(encoding="utf-8"))
    metadata["attributes"] = _group_attributes(plan, attrs)
    directory.replace_text(root, json.dumps(metadata, indent=2))


def write_keys(data: Path, keys: Mapping[str, NDArray[Any]]) -> None:
    """Write the keys of all cases."""
    group = open_data(data, "r+")
    for name, values in keys.items():
        array_of(group, name)[...] = values
