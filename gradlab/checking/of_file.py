"""An archive of a network that was read from a file, against the settings that it keeps for a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradlab.archive.files import Files
from gradlab.archive.forms import Form
from gradlab.archive.of_file import attributes_of, labels_of, settings_key
from gradlab.archive.reading import read_array
from gradlab.archive.schema import Layout, layout
from gradlab.archive.variables import VARIABLES
from gradlab.checking.settings import Cases, told
from gradlab.checking.words import check_attributes, check_units
from gradlab.core.checks import shown
from gradlab.core.errors import Problem


def check_of_file(
    files: Files, forms: dict[str, Form], cases: Cases, table: dict[str, Any]
) -> Iterator[Problem]:
    """Yield what is not as the settings say: key, records, what stands along them, attributes, units."""
    yield from told(cases, cases.settings != settings_key(table), "settings_key", "that of the settings")
    asked = table.get("record")
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        yield Problem("record", "a list of names in the settings", shown(asked))
        asked = []
    for name in asked:
        if name not in forms:
            yield Problem(f"{files.path}: {name}", "this record, which the settings ask for", "nothing")
    described = layout_of(forms, table)
    for name, coordinate in described.coordinates.items():
        if read_array(files, forms, name).tolist() != coordinate.values.tolist():
            yield Problem(f"{files.path}: {name}", "the coordinate that the settings give", "another one")
    yield from check_attributes(files, [attributes_of(table)])
    yield from check_units(files, forms, [described])


def layout_of(forms: dict[str, Form], table: dict[str, Any]) -> Layout:
    """Return how the archive is to be laid out, as large as it is."""
    sizes = {name: form.shape[0] for name, form in forms.items() if form.dims == (name,)}
    sizes.pop("replicate", None)
    return layout((), 1, labels_of(table, sizes), [name for name in forms if name in VARIABLES])
