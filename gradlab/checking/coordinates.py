"""What an archive has besides its cases' numbers: coordinates and records, against what settings give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradlab.archive.files import Files
from gradlab.archive.forms import Form
from gradlab.archive.reading import read_array
from gradlab.archive.variables import SINCE
from gradlab.archive.verify import read_marker
from gradlab.checking.settings import Cases, labels_of, may_stand, positions
from gradlab.core.errors import Problem
from gradlab.experiment.grid import Grid
from gradlab.experiment.measures import measure_of
from gradlab.experiment.measures.train import NO_PREDICTOR
from gradlab.experiment.plan import records_of


def check_records(files: Files, forms: dict[str, Form], grid: Grid) -> Iterator[Problem]:
    """Yield the records that the last settings ask for and the archive has not."""
    version = read_marker(files)["schema"]
    for name in records_of(grid):
        if name not in forms and SINCE.get(name, 1) <= version:
            yield Problem(f"{files.path}: {name}", "this record, which the settings ask for", "nothing")


def check_coordinates(
    files: Files, forms: dict[str, Form], cases: Cases, grids: Sequence[Grid]
) -> Iterator[Problem]:
    """Yield the coordinates that are others than the settings give.

    Those along axes are compared where the axis itself has told the place; those along which a record runs
    may have further labels, of cases of former settings.
    """
    stored = {
        name: read_array(files, forms, name).tolist()
        for name, form in forms.items()
        if len(form.dims) == 1 and name not in cases.labels
    }
    labels = labels_of(grids)
    for grid in grids:
        for axis in grid.axes:
            at = positions(cases.labels.get(axis.name, []), may_stand(axis, axis.name, labels))
            for name in axis.coordinates:
                if name not in stored or forms[name].dims != (axis.name,):
                    continue
                each = zip(at.tolist(), may_stand(axis, name, labels), strict=True)
                if any(stored[name][i] not in wanted for i, wanted in each if i >= 0):
                    yield _other(files, name)
    expected = [measure_of(grid.spec.measure).labels(grid) for grid in grids]
    for name, values in stored.items():
        if forms[name].dims == (name,):
            own = [list(labels[name]) for labels in expected if len(labels.get(name, ()))]
            if own and not _agree(values, own):
                yield _other(files, name)


def _agree(stored: list[Any], own: list[list[Any]]) -> bool:
    """Whether labels are those of all settings, numbers in their order, with others where some are former."""
    if len(own) == 1 and len(stored) == len(own[0]):
        return stored == own[0]
    own = [[label for label in labels if label != NO_PREDICTOR] for labels in own]
    place = {label: i for i, label in enumerate(stored)}
    if len(place) < len(stored) or any(label not in place for labels in own for label in labels):
        return False
    numbers = all(isinstance(label, int | float) for label in stored)
    return not numbers or all((np.diff([place[label] for label in labels]) > 0).all() for labels in own)


def _other(files: Files, name: str) -> Problem:
    return Problem(f"{files.path}: {name}", "the coordinate that the settings give", "another one")
