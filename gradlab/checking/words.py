"""What an archive says of its numbers in words: of all of them, and of each variable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradlab.archive import directory
from gradlab.archive.files import Files
from gradlab.archive.forms import Form
from gradlab.archive.schema import Layout, layout
from gradlab.archive.variables import OF_LAST_RUN, VARIABLES
from gradlab.core.checks import shown
from gradlab.core.errors import Problem
from gradlab.experiment.grid import Grid
from gradlab.experiment.measures import measure_of
from gradlab.experiment.plan import records_of

_STORED = ("coordinates", "gradlab_schema")  # they tell of the storage, not of the numbers


def check_attributes(files: Files, given: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is told of all numbers and is not what the settings give, those of the last run first.

    Title, question, measure and seed are those of the last settings. Of the others an archive may lack
    some: they must be the same for all its settings, and some are younger than others.
    """
    stored = json.loads(files.read(f"{directory.DATA}/zarr.json")).get("attributes", {})
    for key, value in stored.items():
        if key in _STORED:
            continue
        of = given[:1] if key in OF_LAST_RUN else given
        if any(key not in one or one[key] != value for one in of):
            expected = shown(of[0][key]) if key in of[0] else "no such attribute"
            yield Problem(f"{files.path}: {key}", f"what the settings give, {expected}", shown(value))
    for key in OF_LAST_RUN:
        if key not in stored:
            expected = f"what the settings give, {shown(given[0][key])}"
            yield Problem(f"{files.path}: {key}", expected, "nothing")


def check_units(files: Files, forms: Mapping[str, Form], layouts: Sequence[Layout]) -> Iterator[Problem]:
    """Yield the coordinates that have other units than gradlab gives them; variables no reader opens then."""
    for name, known in _described(forms, layouts).items():
        units = {one.get("units") for one in known}
        if (own := forms[name].attributes.get("units")) not in units:
            expected = f"unit {' or '.join(map(shown, sorted(map(str, units))))}"
            yield Problem(f"{files.path}: {name}", expected, shown(own))


def other_words(forms: Mapping[str, Form], layouts: Sequence[Layout]) -> list[str]:
    """Return the variables and coordinates whose names in words, or descriptions, are not today's.

    That alone does not make an archive wrong: words are improved from one version to the next.
    """
    words = ("long_name", "description")

    def said(attributes: Mapping[str, Any]) -> list[Any]:
        return [attributes.get(word) for word in words]

    described = _described(forms, layouts).items()
    return [name for name, known in described if said(forms[name].attributes) not in map(said, known)]


def layouts_of(grids: Sequence[Grid]) -> list[Layout]:
    """Return how the data of settings are laid out."""
    return [
        layout(grid.axes, grid.replicates, measure_of(grid.spec.measure).labels(grid), records_of(grid))
        for grid in grids
    ]


def _described(forms: Mapping[str, Form], layouts: Sequence[Layout]) -> dict[str, list[Mapping[str, Any]]]:
    """Return what gradlab says of every array, of a coordinate as each of the settings has it."""
    found: dict[str, list[Mapping[str, Any]]] = {
        name: [VARIABLES[name].attributes] for name in forms if name in VARIABLES
    }
    for one in layouts:
        for name, coordinate in one.coordinates.items():
            if name in forms:
                found.setdefault(name, []).append(coordinate.attributes)
    return found
