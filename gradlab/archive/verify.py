"""Check of an archive's structure: its files, and every variable against the schema. Reads no numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from gradlab.archive import directory
from gradlab.archive.files import DirectoryFiles, Files, files_of
from gradlab.archive.forms import TEXT, Form, form_of
from gradlab.archive.variables import ALWAYS, OPTIONAL, SINCE, VARIABLES, Variable
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake, gathering

MOST_ARRAYS = 1000
_CASE_DIMS_OF = "status"
#: By these a reader of CF conventions takes other numbers for those that are stored.
_CHANGING = frozenset(
    {"scale_factor", "add_offset", "missing_value", "_FillValue", "_Unsigned", "calendar", "dtype"}
)
_COORDINATE_TYPES = frozenset({"float64", "int64", "bool", TEXT})


def check_structure(path: str | Path) -> list[Problem]:
    """Return what is wrong with the structure of the archive in `path`; nothing: an empty list."""
    try:
        return structure(files_of(path))[0]
    except UserMistake as mistake:
        return list(mistake.problems)


def read_marker(files: Files) -> dict[str, Any]:
    """Return the marker of an archive, as `gradlab.archive.directory.read_marker`."""
    if isinstance(files, DirectoryFiles):
        if directory.MARKER in files.sizes:
            return directory.checked_marker(
                files.text(directory.MARKER), str(files.path), files.where(directory.MARKER)
            )
        return directory.read_marker(files.path)
    if directory.MARKER not in files:
        got = f"one without {directory.MARKER}"
        raise UserMistake(Problem(str(files.path), "an archive of gradlab, packed as a zip file", got))
    text = files.text(directory.MARKER)
    return directory.checked_marker(text, str(files.path), files.where(directory.MARKER))


def structure(files: Files) -> tuple[list[Problem], dict[str, Form]]:
    """Return what is wrong with the structure of an archive, and its arrays by name.

    The arrays are all there only where nothing is wrong.
    """
    try:
        marker = read_marker(files)
    except UserMistake as mistake:
        return list(mistake.problems), {}
    if marker.get("complete") is not True:
        hint = "Its creation was interrupted. Run the experiment into it again."
        return [Problem(str(files.path), "a complete archive", "one without any case", hint)], {}
    needed = (directory.RESOLVED, f"{directory.DATA}/zarr.json")
    if missing := [Problem(files.where(name), "a file", "nothing") for name in needed if name not in files]:
        return missing, {}
    try:
        arrays = _arrays(files)
    except UserMistake as mistake:
        return list(mistake.problems), {}
    problems: list[Problem] = []
    forms: dict[str, Form] = {}
    case_dims = _dims(arrays[_CASE_DIMS_OF])
    for name, metadata in arrays.items():
        with gathering(problems):
            where = files.where(f"{directory.DATA}/{name}")
            forms[name] = form_of(name, where, metadata, _cases_of(metadata, case_dims))
    if not problems:
        problems = list(_variables(files, forms, marker["schema"]))
    return problems, forms


def _cases_of(metadata: dict[str, Any], case_dims: tuple[str, ...]) -> int:
    """Return how many dimensions of an array are looked at as those of the cases."""
    return len(case_dims) if _dims(metadata)[: len(case_dims)] == case_dims else len(_dims(metadata))


def _metadata(files: Files, name: str, node: str) -> dict[str, Any]:
    """Return the Zarr metadata in a file, which must describe a `node` of format 3."""
    where = files.where(name)
    if name not in files:
        raise UserMistake(Problem(where, "a file", "nothing"))
    try:
        metadata = json.loads(files.read(name))
    except UserMistake:
        raise
    except (ValueError, RecursionError):
        raise UserMistake(Problem(where, "Zarr metadata in JSON", "damaged text")) from None
    if (
        not isinstance(metadata, dict)
        or metadata.get("node_type") != node
        or metadata.get("zarr_format") != 3
    ):
        raise UserMistake(Problem(where, f"metadata of a Zarr v3 {node}", shown(metadata)))
    return metadata


def _arrays(files: Files) -> dict[str, dict[str, Any]]:
    """Return the metadata of every array, which its own file and the group's must tell alike."""
    root_name = f"{directory.DATA}/zarr.json"
    root = _metadata(files, root_name, "group")
    where = files.where(root_name)
    consolidated = root.get("consolidated_metadata")
    told = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    if not isinstance(told, dict) or not all(isinstance(one, dict) for one in told.values()):
        raise UserMistake(Problem(where, "consolidated metadata", shown(consolidated)))
    if not isinstance(root.get("attributes", {}), dict):
        raise UserMistake(Problem(where, "attributes by name", shown(root["attributes"])))
    if len(told) > MOST_ARRAYS:
        raise UserMistake(Problem(where, f"at most {MOST_ARRAYS} arrays", str(len(told))))
    arrays: dict[str, dict[str, Any]] = {}
    problems = [
        Problem(f"{files.path}: {name}", "this variable in the archive", "nothing")
        for name in ALWAYS
        if name not in told and SINCE.get(name, 1) == 1
    ]
    for name in sorted(told):
        if "/" in name or "\\" in name or name in ("", ".", "..") or not name.isprintable():
            problems.append(Problem(where, "names of arrays in it", shown(name)))
            continue
        file = f"{directory.DATA}/{name}/zarr.json"
        try:
            arrays[name] = _metadata(files, file, "array")
        except UserMistake as mistake:
            problems += mistake.problems
            continue
        if {**arrays[name], **told[name]} != arrays[name]:
            expected = "what the group's consolidated metadata says"
            problems.append(Problem(files.where(file), expected, "something else"))
    if problems:
        raise UserMistake(problems)
    return arrays


def _variables(files: Files, arrays: dict[str, Form], version: int) -> Iterator[Problem]:
    """Yield what is wrong with the arrays as variables of the schema."""
    case_dims = arrays[_CASE_DIMS_OF].dims
    for name in ALWAYS:
        if name not in arrays and SINCE.get(name, 1) <= version:
            yield Problem(f"{files.path}: {name}", "this variable in the archive", "nothing")
    coordinates = {name: form for name, form in arrays.items() if name not in VARIABLES}
    sizes = {name: form.shape[0] for name, form in coordinates.items() if form.dims == (name,)}
    for name, form in arrays.items():
        where = files.where(f"{directory.DATA}/{name}")
        if changing := sorted(_CHANGING & form.attributes.keys()):
            yield Problem(where, "attributes that change no number", ", ".join(changing))
        if name in VARIABLES:
            yield from _variable(where, VARIABLES[name], form, case_dims, sizes.keys())
        elif len(form.dims) != 1 or form.data_type not in _COORDINATE_TYPES:
            got = f"{form.data_type} over {shown(form.dims)}"
            yield Problem(where, "a coordinate of numbers or text along one dimension", got)
        if tuple(sizes.get(dim) for dim in form.dims) != form.shape:
            wanted = ", ".join(f"{shown(dim)[1:-1]}: {sizes.get(dim, 'no coordinate')}" for dim in form.dims)
            yield Problem(where, f"the shape of its coordinates ({wanted})", shown(list(form.shape)))


def _variable(
    where: str, variable: Variable, array: Form, case_dims: tuple[str, ...], there: Set[str]
) -> Iterator[Problem]:
    """Yield how one array departs from its variable in the schema.

    `there` are the dimensions that have a coordinate.
    """
    last = tuple(dim for dim in variable.over if dim in there or dim not in OPTIONAL)
    if array.dims != case_dims + last:
        expected = f"dimensions {shown(', '.join(case_dims + last), 200)}"
        yield Problem(where, expected, shown(", ".join(array.dims), 200))
    expected = TEXT if variable.dtype == "text" else variable.dtype
    if array.data_type != expected:
        yield Problem(where, f"type {expected}", shown(array.data_type))
    if array.attributes.get("units") != variable.units:
        yield Problem(where, f"unit {variable.units!r}", shown(array.attributes.get("units")))


def _dims(array: dict[str, Any]) -> tuple[str, ...]:
    names = array.get("dimension_names")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()
