"""What a figure needs of a dataset, and what it says where that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xarray as xr

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures.selection import axes_of
from gradlab.measure.history import TRAINING_RECORDS
from gradlab.measure.landscape import RECORDS as LANDSCAPE_RECORDS
from gradlab.measure.records import RECORDS

#: What each measure records, with a word for what it gives.
_MEASURES = {
    "probe": ("probe", frozenset(RECORDS)),
    "train": ("training", frozenset(TRAINING_RECORDS)),
    "landscape": ("landscape", frozenset(LANDSCAPE_RECORDS)),
}


def _only(*measures: str) -> str:
    words = " or a ".join(_MEASURES[measure][0] for measure in measures)
    keys = " or ".join(f'"{measure}"' for measure in measures)
    return f"Only a {words} has it: measure = {keys} in the spec."


def require(ds: xr.Dataset, figure: str, axes: Iterable[str] = (), variables: Iterable[str] = ()) -> None:
    """Check that a dataset has what a figure needs.

    Raises
    ------
    UserMistake
        Naming every axis and variable that is missing, and those there are.
    """
    here, records = axes_of(ds), [str(name) for name in ds.data_vars]
    problems = [
        Problem(f"figure {figure!r}", f"a dataset with the axis {axis!r}", _listing("axes", here))
        for axis in axes
        if axis not in here
    ]
    problems += [
        Problem(
            f"figure {figure!r}",
            f"a dataset with the variable {name!r}",
            _listing("variables", records),
            _how_to_get(ds, name),
        )
        for name in variables
        if name not in ds.data_vars
    ]
    if problems:
        raise UserMistake(problems)


def _how_to_get(ds: xr.Dataset, name: str) -> str:
    own = ds.attrs.get("measure") or ("train" if "update" in ds.dims else "probe")
    owners = [measure for measure, (_, names) in _MEASURES.items() if name in names]
    return "Add it to `record` in the spec." if own in owners or not owners else _only(*owners)


def check_updates(ds: xr.Dataset, figure: str, *names: str) -> None:
    """Check that records run along the updates of a training.

    Raises
    ------
    UserMistake
        Naming those that do not.
    """
    problems = [
        Problem(
            f"figure {figure!r}",
            f"a dataset with {name} against update",
            f"one over {', '.join(map(str, ds[name].dims)) or 'nothing'}",
            _only("train"),
        )
        for name in names
        if "update" not in ds[name].dims
    ]
    if problems:
        raise UserMistake(problems)


def _listing(what: str, names: Sequence[str]) -> str:
    return f"one with the {what} {', '.join(names)}" if names else f"one with no {what}"
