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


def _only(measures: Sequence[str], what: str = "it") -> str:
    words = " or a ".join(_MEASURES[measure][0] for measure in measures)
    keys = " or ".join(f'"{measure}"' for measure in measures)
    return f"Only a {words} has {what}: measure = {keys} in the spec."


def require(ds: xr.Dataset, figure: str, axes: Iterable[str] = (), variables: Iterable[str] = ()) -> None:
    """Check that a dataset has what a figure needs.

    Raises
    ------
    UserMistake
        Naming, in one problem, every axis and variable that is missing, and those there are.
    """
    here, records = axes_of(ds), [str(name) for name in ds.data_vars]
    no_axes = [axis for axis in axes if axis not in here]
    no_variables = [name for name in variables if name not in records]
    if not no_axes and not no_variables:
        return
    expected, got = [], []
    for one, several, lacking, there in (
        ("axis", "axes", no_axes, here),
        ("variable", "variables", no_variables, records),
    ):
        if lacking:
            expected.append(f"the {one if len(lacking) == 1 else several} {', '.join(map(repr, lacking))}")
            got.append(f"the {several} {', '.join(there)}" if there else f"no {several}")
    hint = _how_to_get(ds, no_variables)
    problem = Problem(
        f"figure {figure!r}", f"a dataset with {' and '.join(expected)}", f"one with {'; '.join(got)}", hint
    )
    raise UserMistake(problem)


def _how_to_get(ds: xr.Dataset, names: Sequence[str]) -> str:
    """Return how a dataset gets records: those that its own measure has not, come of others alone."""
    own = ds.attrs.get("measure") or ("train" if "update" in ds.dims else "probe")
    ways: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        owners = tuple(measure for measure, (_, records) in _MEASURES.items() if name in records)
        ways.setdefault(() if own in owners else owners, []).append(name)
    hints = []
    for measures, these in ways.items():
        what = ("it" if len(these) == 1 else "them") if len(ways) == 1 else " and ".join(these)
        hints.append(_only(measures, what) if measures else f"Add {what} to `record` in the spec.")
    return " ".join(hints)


def check_updates(ds: xr.Dataset, figure: str, *names: str) -> None:
    """Check that records run along the updates of a training.

    Raises
    ------
    UserMistake
        Naming those that do not.
    """
    others = [name for name in names if "update" not in ds[name].dims]
    if others:
        dims = dict.fromkeys(", ".join(map(str, ds[name].dims)) or "nothing" for name in others)
        expected = f"a dataset with {' and '.join(others)} against update"
        got = f"one over {'; '.join(dims)}"
        raise UserMistake(Problem(f"figure {figure!r}", expected, got, _only(["train"])))
