"""An archive in the terms of a spec or of another archive: with its axes, and with its labels.

Where one side lacks an axis, it gets it, with the value that its own specs have there. Where the two
have other labels for the same setting, for a label depends on what else is on the axis, they get the
same one. Nothing is measured anew for that: a case is known by its settings, and not by its place.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.directory import State
from gradlab.archive.plain import PlainData
from gradlab.archive.schema import Coordinate, Layout, axis_coordinates
from gradlab.archive.specs import resolved_specs
from gradlab.archive.united import AN_AXIS, Held, among, read_held
from gradlab.archive.variables import STATUS, TEXT
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.axes import Axis
from gradlab.experiment.grid import Grid, expand
from gradlab.experiment.labels import identity
from gradlab.experiment.spec import Spec
from gradlab.experiment.tables import Table
from gradlab.experiment.toml import to_toml
from gradlab.experiment.widening import differing, widened

#: Axes by name, each as often as there are specs that have it.
Axes = Mapping[str, Sequence[Axis]]


def axes_in(tables: Iterable[Table]) -> dict[str, list[Axis]]:
    """Return the axes of resolved specs.

    Raises
    ------
    UserMistake
        If one is no spec, as that of a network that was read from a file.
    """
    found: dict[str, list[Axis]] = {}
    for table in tables:
        for axis in expand(Spec.from_dict(table)).axes:
            found.setdefault(axis.name, []).append(axis)
    return found


def other_settings(tables: Iterable[Table], others: Iterable[Table], where: str) -> list[Problem]:
    """Return what is wrong with putting cases together that differ in a setting that is no axis.

    Nothing in the data would tell them apart. Tables that are no specs, as that of a network that was
    read from a file, are not compared.
    """
    try:
        found = differing(*([Spec.from_dict(table) for table in side] for side in (tables, others)))
    except UserMistake:
        return []
    if not found:
        return []
    expected = ", ".join(f"{key} = {shown(ours)}" for key, (ours, _) in found.items())
    got = ", ".join(f"{key} = {shown(theirs)}" for key, (_, theirs) in found.items())
    return [Problem(where, f"the settings of the archive's cases, {expected}", got, AN_AXIS)]


def differ(one: Layout, other: Layout) -> bool:
    """Return whether one side lacks an axis of the other, or they may have two labels for one setting."""
    if set(one.case_dims) != set(other.case_dims):
        return True
    for name, own in one.coordinates.items():
        if own.dim in one.case_dims and own.values.dtype.kind in "OUST" and name in other.coordinates:
            labels, theirs = set(own.values.tolist()), set(other.coordinates[name].values.tolist())
            if _heads(labels - theirs) & _heads(theirs - labels):
                return True
    return False


def _heads(labels: Iterable[str]) -> set[str]:
    return {label.partition("(")[0] for label in labels}


def in_terms(held: Held, tables: Collection[Table], axes: Axes) -> Held:
    """Return the grid of an archive with these axes, too, and their labels; flat places stay what they are.

    Parameters
    ----------
    held : Held
        The archive.
    tables : collection of dict
        Its specs, resolved.
    axes : mapping of str to sequence of Axis
        Those of the other side.

    Raises
    ------
    UserMistake
        If it is not known at which value of an axis its cases stand, or that is not one.
    """
    dims = held.layout.case_dims
    missing = [each[0] for name, each in axes.items() if name not in dims]
    own = axes_in(widened(Spec.from_dict(table), missing).to_dict() if missing else table for table in tables)
    coordinates = dict(held.layout.coordinates)
    for axis in missing:
        first, *others = [dict(axis_coordinates(one)) for one in own[axis.name]]
        if any(one[name].values.tolist() != c.values.tolist() for one in others for name, c in first.items()):
            raise UserMistake(Problem(axis.name, "one value of it in all specs of an archive", "several"))
        coordinates |= first
    for dim, each in axes.items():
        ours, theirs = meanings(own.get(dim, ())), meanings(each)
        for name in ours.keys() & theirs.keys() & coordinates.keys():
            coordinates[name] = _called(coordinates[name], ours[name], theirs[name])
    return _reshaped(held, [axis.name for axis in missing], coordinates)


def meanings(axes: Iterable[Axis]) -> dict[str, dict[str, Any]]:
    """Return what the labels along axes mean, by the name of the coordinate."""
    found: dict[str, dict[str, Any]] = {}
    for axis in axes:
        for n, (key, name) in enumerate(axis.names.items()):
            if axis.kinds[n] == "text":
                own = found.setdefault(name, {})
                for label, point in zip(axis.coordinates[name].tolist(), axis.values, strict=True):
                    own.setdefault(label, identity(key, point[n]))
    return found


def _called(coordinate: Coordinate, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Coordinate:
    """Return a coordinate with the labels that the other side has for the same settings."""
    by_meaning = {meaning: label for label, meaning in reversed(list(theirs.items()))}
    before: list[str] = coordinate.values.tolist()
    labels = [by_meaning.get(ours[label], label) if label in ours else label for label in before]
    if len(set(labels)) < len(set(before)):  # two of the same meaning: they stay apart, as they were
        return coordinate
    values: NDArray[Any] = np.array(labels, dtype=TEXT)
    return replace(coordinate, values=values)


def _reshaped(held: Held, missing: Sequence[str], coordinates: dict[str, Coordinate]) -> Held:
    """Return a grid with more axes of one point each before the replicate, and with these coordinates."""
    *dims, replicate = held.layout.case_dims
    dims = [*dims, *missing, replicate]
    sizes = {dim: len(coordinates[dim].values) for dim in (*dims, *held.layout.sizes)}
    layout = replace(held.layout, sizes=sizes, case_dims=tuple(dims), coordinates=coordinates)
    shape = tuple(sizes[dim] for dim in dims)
    settings, code = held.settings.reshape(shape), held.code.reshape(shape)
    status = held.status.reshape(shape)
    return replace(held, layout=layout, settings=settings, code=code, status=status, chunks={})


def text_with_axes(text: str, axes: Axes) -> str:
    """Return a resolved spec with more axes; one that has them all as it is."""
    spec = Spec.from_dict(tomllib.loads(text))
    own = axes_in([spec.to_dict()])
    missing = [each[0] for name, each in axes.items() if name not in own]
    return to_toml(widened(spec, missing).to_dict()) if missing else text


def axes_beside(path: Path, grid: Grid) -> list[Axis]:
    """Return the axes that an archive has and a grid lacks, if it has cases that the grid has not.

    None where the archive, or the specs that it has kept, cannot be read: who runs into it will say so.
    """
    with contextlib.suppress(UserMistake):
        if directory.state(path) is not State.ARCHIVE:
            return []
        own = {axis.name for axis in grid.axes}
        lacking = [dim for dim in PlainData(path)["status"].dims if dim not in own and dim != "replicate"]
        if not lacking:
            return []
        held = read_held(path)
        there = (held.status != STATUS["not_run"]) & (held.settings != "")
        if not among(held.settings[there], grid.settings_keys()).all():
            axes = axes_in(resolved_specs(path))
            return [axes[dim][0] for dim in lacking if dim in axes]
    return []
