"""The archive's layout and the schema of its variables, on one page.

An archive is a directory, or a zip file of one (`gradlab.archive.packed`):

=======================  =========================================================================
``archive.json``         ``{"format": "gradlab archive", "schema": 3, "complete": true}``, written
                         first with ``complete`` false and last with true: while it is false no
                         case has been written and the directory may be made anew
``spec.toml``            the spec as given (absent when the run was made from Python)
``spec.resolved.toml``   the same with every default written out
``specs/``               resolved specs of cases that the last spec has not
``data.zarr``            a Zarr v3 group: the numbers, read by plain ``xarray.open_zarr``
``provenance.json``      versions, machine and wall time of each run; never part of a digest
``failures.jsonl``       errors and settings of the cases that raised; see
                         `gradlab.archive.failures`
``figures/``             drawn from the data, at any time
``manifest.json``        size and SHA-256 of every file, and a digest of data and settings; see
                         `gradlab.archive.manifest`
``lock.json``            while a run writes: who
``next``                 data and specs laid out anew (``next.partial`` while they are being written), on
                         their way to the place of the old ones (``data.zarr.old`` meanwhile, on
                         systems that cannot exchange folders); what a killed run leaves of these,
                         and of files that end in ``.partial``, the next run puts right
=======================  =========================================================================

Which case stands at a point is told by ``settings_key``, a digest of all settings that determine its
numbers, and by which code it was measured by ``code_key``, a fingerprint of gradlab's numerical code
(`gradlab.core.fingerprint`); ``case_key`` is a digest of both. A changed spec that is run into an archive
takes cases over by their ``settings_key``, wherever they stand; what differs between the cases of an
archive is an axis of it, and an axis that a spec lacks has the value that the spec has there. In schema 1
there were neither ``settings_key`` nor ``code_key`` nor a manifest, and ``case_key`` was what
``settings_key`` is; such an archive is read as it is, and becomes one of today's schema when a run writes
into it. Before schema 3 trainings did not keep what simple predictors reach (``baseline``): it is NaN in
cases that are taken over.

``data.zarr`` holds one array a variable. The dimensions of every variable begin with the *case
dimensions*: the axes of the sweep in the spec's order, then ``replicate``. After them come those it has
of ``update``, ``layer`` (0 is nearest the input), ``direction``, ``gate``, ``path``, ``predictor``,
``loss_time``, ``lag`` and ``time``, in this order. ``layer``, ``direction`` and ``gate`` are there only
where some network of the sweep has several layers, both directions, or several row blocks of recurrent
weights; what a network has not got of them is NaN, and so are the ends of rows past a case's own lags or
time steps. The grid is dense: a point that a filter left out has empty keys and status ``not_run`` for ever.
Each axis has a coordinate of its own name (numbers as float64 or int64, labels as variable-length
text); settings zipped with it are further coordinates along it, named in the group's attribute
``coordinates``.

`VARIABLES` (in `gradlab.archive.variables`) is the only place where a variable's name, dimensions,
unit, type, fill value and meaning stand. Types are little-endian, values are compressed by Blosc
(LZ4, byte shuffle). A chunk that holds nothing but fill values is not stored. Where the forward state
overflowed, every float is +inf and `status` says so; a gradient of exactly zero is -inf; not run is
NaN with status ``not_run``. Chunks of variables that end in ``lag`` or ``time`` are the tiles of the
sweep along the case dimensions and may be cut along that last dimension; chunks of others are some
whole tiles; a reader need not know them. Group metadata is consolidated, and the group's attributes
are those of the Dataset: title, question, measure, seed, the names of cell, spectrum, activation, clip
rule and learner that all cases share, and ``gradlab_schema``. Nothing in
``data.zarr`` depends on the clock, the machine, the number of workers or the order in which cases
were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.variables import (
    ALWAYS,
    OPTIONAL,
    REGIME,
    SCHEMA_VERSION,
    STATUS,
    TEXT,
    VARIABLES,
    Variable,
)
from gradlab.measure.records import DIMS, RECORDS

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ALWAYS",
    "REGIME",
    "SCHEMA_VERSION",
    "STATUS",
    "TEXT",
    "VARIABLES",
    "AxisLike",
    "Coordinate",
    "Layout",
    "Variable",
    "dataset_attributes",
    "layout",
    "recorded",
    "to_dataset",
]


class AxisLike(Protocol):
    """What the schema needs to know of one axis of a sweep."""

    @property
    def name(self) -> str:
        """The dimension's name."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys of the spec that it sets, in the order of `coordinates`."""

    @property
    def coordinates(self) -> Mapping[str, NDArray[Any]]:
        """Labels or numbers along the dimension, by coordinate name."""


# Coordinates by the last part of the key they stand for: (long name, unit). Others are dimensionless.
_COORDINATES: dict[str, tuple[str, str]] = {
    "radius": ("spectral radius", "1"),
    "gain": ("gain (entry standard deviation times sqrt(size))", "1"),
    "norm": ("spectral norm", "1"),
    "hidden": ("hidden units", "1"),
    "features": ("input features", "1"),
    "outputs": ("output features", "1"),
    "embedding": ("size of the embedding", "1"),
    "batch": ("samples in a batch", "1"),
    "length": ("sequence length", "time steps"),
    "clip": ("clipping", "1"),
    "threshold": ("clipping threshold", "1"),
    "forget_bias": ("forget bias", "1"),
    "seed": ("root seed", "1"),
}
_OWN_COORDINATES: dict[str, dict[str, str]] = {
    "replicate": {
        "long_name": "replicate",
        "units": "1",
        "description": "number of the independent draw of weights, inputs and targets",
    },
    "update": {
        "long_name": "update",
        "units": "updates",
        "description": "number of changes of the parameters before it",
    },
    "first": {
        "long_name": "place on the first line",
        "units": "1",
        "description": "place on the first of the two lines that span the plane",
    },
    "second": {
        "long_name": "place on the second line",
        "units": "1",
        "description": "place on the second of the two lines that span the plane",
    },
    "layer": {
        "long_name": "layer",
        "units": "1",
        "description": "layer of the network; 0 is the one nearest the input",
    },
    "direction": {
        "long_name": "direction",
        "units": "1",
        "description": "direction in which the layer reads the sequence",
    },
    "path": {
        "long_name": "path",
        "units": "1",
        "description": "what the adjoint came through: the memory alone, all else, or both together",
    },
    "predictor": {
        "long_name": "simple predictor",
        "units": "1",
        "description": "what a task states the metric of, to judge networks by",
    },
    "loss_time": {
        "long_name": "time step of the loss",
        "units": "time steps",
        "description": "time step, from 0, whose loss alone is looked at",
    },
    "lag": {
        "long_name": "lag",
        "units": "time steps",
        "description": "time steps back, in a direction's own time, from the last step at which the "
        "loss looks (from the last step of all below the top of a bidirectional network); 0 is that step",
    },
    "gate": {
        "long_name": "row block",
        "units": "1",
        "description": "row block of the recurrent weights",
    },
    "time": {
        "long_name": "time step",
        "units": "time steps",
        "description": "time step of the sequence, from 0",
    },
}


@dataclass(frozen=True)
class Coordinate:
    """Labels or numbers along one dimension."""

    dim: str
    values: NDArray[Any]
    attributes: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """The dimensions, coordinates and variables of one sweep's dataset.

    Parameters
    ----------
    sizes : dict of str to int
        Length of every dimension, case dimensions first.
    case_dims : tuple of str
    coordinates : dict of str to Coordinate
    names : tuple of str
        The variables, in the order of `VARIABLES`.
    """

    sizes: dict[str, int]
    case_dims: tuple[str, ...]
    coordinates: dict[str, Coordinate]
    names: tuple[str, ...]

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the dimensions of a variable."""
        return self.case_dims + tuple(dim for dim in VARIABLES[name].over if dim in self.sizes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a variable."""
        return tuple(self.sizes[dim] for dim in self.dims(name))


def recorded(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the variables that are kept when `names` are asked for (None: all of a probe), in order."""
    asked = set(RECORDS) if names is None else set(names)
    if unknown := asked - set(VARIABLES):
        raise ValueError(f"not in the schema: {', '.join(sorted(unknown))}")
    return tuple(name for name in VARIABLES if name in asked or name in ALWAYS)


def _labelled(values: NDArray[Any]) -> NDArray[Any]:
    """Return text as variable-length text: fixed-width text has no settled form in Zarr v3."""
    values = np.asarray(values)
    return values.astype(TEXT) if values.dtype.kind in "OUST" else values


def _labels(labels: Sequence[Any]) -> NDArray[Any]:
    values = np.asarray(labels)
    if values.dtype.kind in "OUST":
        return _labelled(values)
    return values.astype(np.int64 if values.dtype.kind in "iu" else np.float64)


def axis_coordinates(axis: AxisLike) -> Iterable[tuple[str, Coordinate]]:
    """Yield the coordinates along an axis with their names."""
    keys = tuple(axis.keys)
    for position, (name, values) in enumerate(axis.coordinates.items()):
        key = keys[position] if len(keys) == len(axis.coordinates) else name
        long_name, units = _COORDINATES.get(key.rpartition(".")[2], (name.replace("_", " "), "1"))
        attributes = {"long_name": long_name, "units": units, "description": f"the setting {key}"}
        yield name, Coordinate(axis.name, _labelled(values), attributes)


def layout(
    axes: Sequence[AxisLike],
    replicates: int,
    along: Mapping[str, Sequence[Any]],
    record: Iterable[str] | None = None,
) -> Layout:
    """Return how a sweep's data is laid out.

    Parameters
    ----------
    axes : sequence of AxisLike
        The axes of the sweep, slowest first.
    replicates : int
        Number of replicates.
    along : mapping of str to sequence
        Labels, text or integers, of every dimension that variables may have besides the case
        dimensions. ``layer``, ``direction`` and ``gate`` may be left out: they are then not there.
    record : iterable of str, optional
        The variables asked for. A dimension that none of them has is left out.

    Raises
    ------
    ValueError
        If a dimension that may not be left out has no labels.
    """
    names = recorded(record)
    over = {dim for name in names for dim in VARIABLES[name].over}
    if missing := over - set(along) - set(OPTIONAL):
        raise ValueError(f"no labels along {', '.join(sorted(missing))}")
    coordinates = {name: c for axis in axes for name, c in axis_coordinates(axis)}
    own: dict[str, NDArray[Any]] = {"replicate": np.arange(replicates, dtype=np.int64)}
    own |= {dim: _labels(along[dim]) for dim in DIMS if dim in over and dim in along}
    for name, values in own.items():
        coordinates[name] = Coordinate(name, values, _OWN_COORDINATES[name])
    case_dims = (*(axis.name for axis in axes), "replicate")
    dims = (*case_dims, *(dim for dim in own if dim != "replicate"))
    return Layout({dim: len(coordinates[dim].values) for dim in dims}, case_dims, coordinates, names)


def dataset_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the dataset: those given and the schema's version."""
    return {**attrs, "gradlab_schema": SCHEMA_VERSION}


def to_dataset(
    axes: Sequence[AxisLike],
    replicates: int,
    along: Mapping[str, Sequence[Any]],
    arrays: Mapping[str, NDArray[Any]],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Label the dense arrays of a run in memory.

    Parameters
    ----------
    axes, replicates, along
        As for `layout`.
    arrays : mapping of str to ndarray
        Each of the variable's dense shape: (axes..., replicate, what it runs along...); what is not run
        holds the variable's fill value. `status`, `first_overflow` and `case_key` must be there.
    attrs : mapping
        title, question, measure, seed.

    Returns
    -------
    xarray.Dataset
        Identical to what `open_archive` gives for the same run.

    Raises
    ------
    ValueError
        If an array is unknown, missing or of another shape.
    """
    import xarray as xr  # late: the run that writes an archive starts sooner without it

    if missing := set(ALWAYS) - set(arrays):
        raise ValueError(f"these arrays are missing: {', '.join(sorted(missing))}")
    plan = layout(axes, replicates, along, arrays)
    variables = {}
    for name in plan.names:
        values = np.asarray(arrays[name])
        if values.shape != plan.shape(name):
            wanted = dict(zip(plan.dims(name), plan.shape(name), strict=True))
            raise ValueError(f"{name}: expected the shape {wanted}, got {values.shape}")
        variable = VARIABLES[name]
        typed = values.astype(variable.numpy_dtype, copy=False)
        variables[name] = xr.Variable(plan.dims(name), typed, variable.attributes)
    coordinates = {
        name: xr.Variable((c.dim,), c.values, dict(c.attributes)) for name, c in plan.coordinates.items()
    }
    return xr.Dataset(variables, coordinates, dataset_attributes(attrs))
