"""A spec with more axes, each with the one value that the spec has there anyway."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.axes import Axis
from gradlab.experiment.dims import base_point
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import Spec
from gradlab.experiment.sweeps import flattened
from gradlab.experiment.tables import PATH_SETTINGS, Table


def widened(spec: Spec, axes: Sequence[Axis]) -> Spec:
    """Return the spec of the same cases on a grid with more axes.

    Parameters
    ----------
    spec : Spec
        Which has none of the axes.
    axes : sequence of Axis
        Of another spec; what counts are their names and keys.

    Raises
    ------
    UserMistake
        If the spec has no value there, or it may be another one from case to case.
    """
    own = [key for sweep in spec.sweeps for key in sweep.axes]
    more: Table = {}
    names: Table = {}
    zipped = []
    for axis in axes:
        if touching := [(key, other) for key in axis.keys for other in own if touch(key, other)]:
            key, other = touching[0]
            raise UserMistake(Problem(f"sweep.{key}", "a key that no other axis sets", f"the axis {other}"))
        values = base_point(spec.base, axis.keys, "sweep")
        more |= {key: [value] for key, value in zip(axis.keys, values, strict=True)}
        zipped += [list(axis.keys)] if len(axis.keys) > 1 else []
        names |= {key: name for key, name in axis.names.items() if name != key.rpartition(".")[2]}
    table = spec.to_dict()
    # Where there are several sweep tables, those without an axis stand at the value of the spec as well.
    first, *others = [dict(one) for one in spec.sweep] or [{}]
    first |= more
    if zipped:
        first["zip"] = [*first.get("zip", []), *zipped]
    if names:
        first["rename"] = first.get("rename", {}) | names
    return Spec.from_dict({**table, "sweep": [first, *others]})


def touch(one: str, other: str) -> bool:
    """Return whether two keys are the same, or one is that of a table that holds the other."""
    return f"{one}.".startswith(f"{other}.") or other.startswith(f"{one}.")


def differing(specs: Sequence[Spec], others: Sequence[Spec]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that no axis of any of the specs touches, and that differ between two sides.

    Returns
    -------
    dict of str to tuple
        By key, the value of the first side and that of the other. Where a file lies is not among them.
    """
    axes = {
        key.removesuffix(".name") for spec in (*specs, *others) for sweep in spec.sweeps for key in sweep.axes
    }
    ours, theirs = ([_fixed(spec, axes) for spec in side] for side in (specs, others))
    return {
        key: (value, two[key])
        for one in ours
        for two in theirs
        for key, value in one.items()
        if key in two and two[key] != value
    }


def _fixed(spec: Spec, axes: Collection[str]) -> Table:
    """Return the settings of a case, by dotted key, that no axis touches: they are those of every case."""
    return {
        key: value
        for key, value in flattened(expand(spec).settings(0, 0))
        if key != "replicate"
        and key.rpartition(".")[2] not in PATH_SETTINGS
        and not any(touch(key, axis) for axis in axes)
    }
