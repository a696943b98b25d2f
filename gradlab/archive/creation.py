"""Making the data of an archive, and recognising an archive that a run may go on with."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ZarrUserWarning

from gradlab.archive import directory
from gradlab.archive.chunks import SEPARATOR, codec
from gradlab.archive.schema import Coordinate, Layout, dataset_attributes
from gradlab.archive.variables import VARIABLES
from gradlab.archive.verify import check_structure
from gradlab.core.errors import Problem, UserMistake

CHUNK_BYTES = 4 * 2**20  # of one chunk of a profile, at most (a single lag or time step of a tile apart)
CASES_PER_CHUNK = 8192  # of a per-case variable: few files to read, little to write again
KEYS_PER_CHUNK = 65536


def _grown(tile: Sequence[int], shape: Sequence[int], cells: int) -> tuple[int, ...]:
    """Return `tile` times whole numbers, last dimension first, to about `cells` cells."""
    grown = [min(size, whole) for size, whole in zip(tile, shape, strict=True)]
    for d in reversed(range(len(grown))):
        times = cells // max(1, int(np.prod(grown)))
        grown[d] = min(max(1, times) * grown[d], shape[d])
    return tuple(grown)


def _chunks(name: str, plan: Layout, tile: Sequence[int]) -> tuple[int, ...]:
    """Return the chunk shape of a variable."""
    shape = plan.shape(name)
    cases = tuple(plan.sizes[dim] for dim in plan.case_dims)
    if plan.dims(name)[-1] not in ("lag", "time"):
        grown = _grown(tile, cases, KEYS_PER_CHUNK if name == "case_key" else CASES_PER_CHUNK)
        return grown + shape[len(cases) :]
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
    data: Path, plan: Layout, tile: Sequence[int], keys: NDArray[Any], attrs: Mapping[str, Any]
) -> None:
    """Write the group with its metadata, coordinates and case keys, and no case."""
    group = zarr.open_group(data, mode="w", zarr_format=3, attributes=_group_attributes(plan, attrs))
    for name, coordinate in plan.coordinates.items():
        _create_coordinate(group, name, coordinate)
    for name in plan.names:
        variable = VARIABLES[name]
        array = _create_array(
            group,
            name,
            plan.shape(name),
            _chunks(name, plan, tile),
            variable.numpy_dtype,
            variable.fill,
            plan.dims(name),
            variable.attributes,
        )
        if name == "case_key":
            array[...] = keys
    with warnings.catch_warnings():
        # Consolidated metadata is an extension of Zarr v3 that plain xarray.open_zarr looks for,
        # and warns of when it is missing.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(data, zarr_format=3)


def _differences(data: Path, plan: Layout, keys: NDArray[Any]) -> list[str]:
    """Return in what the archive is of another experiment than `plan` and `keys` describe."""
    group = zarr.open_group(data, mode="r")
    have = set(group.array_keys())
    wanted = set(plan.coordinates) | set(plan.names)
    if have != wanted:
        there, here = sorted(have - wanted), sorted(wanted - have)
        return [
            f"{what} {', '.join(names)}" for what, names in (("it has", there), ("it lacks", here)) if names
        ]
    found = []
    for name, coordinate in plan.coordinates.items():
        values = np.asarray(array_of(group, name)[...])
        if not np.array_equal(values, coordinate.values):
            found.append(f"other values of {name}")
    if not found:
        stored = np.asarray(array_of(group, "case_key")[...])
        if stored.shape != keys.shape:
            found.append("other dimensions")
        elif different := int(np.count_nonzero(stored != keys)):
            found.append(f"{different} of {keys.size} cases have other settings")
    return found


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return one array of a group."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is not an array")
    return array


def go_on(path: Path, plan: Layout, keys: NDArray[Any], attrs: Mapping[str, Any]) -> None:
    """Make the archive in `path` ready to go on; it must be of the same experiment."""
    if problems := check_structure(path):
        raise UserMistake(problems)
    if found := _differences(path / directory.DATA, plan, keys):
        hint = "Nothing was touched. Give another --out."
        expected = "an empty directory or an archive of this experiment"
        raise UserMistake(
            Problem(str(path), expected, f"an archive of another one ({'; '.join(found)})", hint)
        )
    directory.sweep_temporaries(path)
    root = path / directory.DATA / "zarr.json"
    metadata = json.loads(root.read_text(encoding="utf-8"))
    metadata["attributes"] = _group_attributes(plan, attrs)
    directory.replace_text(root, json.dumps(metadata, indent=2))
