"""Check of an archive's structure: its files, and every variable against the schema. Reads no numbers."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from gradlab.archive import directory
from gradlab.archive.variables import ALWAYS, OPTIONAL, VARIABLES, Variable
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

# What may stand in an array's metadata. A codec is code: no other is let in.
CODECS = frozenset({"bytes", "vlen-utf8", "blosc"})
_COORDINATE_TYPES = frozenset({"float64", "int64", "bool", "string"})
_CASE_DIMS_OF = "status"


def check_structure(path: str | Path) -> list[Problem]:
    """Return what is wrong with the structure of the archive in `path`; nothing: an empty list."""
    path = Path(path)
    try:
        marker = directory.read_marker(path)
    except UserMistake as mistake:
        return list(mistake.problems)
    if marker.get("complete") is not True:
        hint = "Its creation was interrupted. Run the experiment into it again."
        return [Problem(str(path), "a complete archive", "one without any case", hint)]
    needed = (directory.RESOLVED, f"{directory.DATA}/zarr.json")
    if missing := [
        Problem(str(path / name), "a file", "nothing") for name in needed if not (path / name).is_file()
    ]:
        return missing
    try:
        root = _metadata(path / directory.DATA / "zarr.json", "group")
        arrays = _arrays(path / directory.DATA, root)
    except UserMistake as mistake:
        return list(mistake.problems)
    return _variables(path / directory.DATA, arrays)


def _metadata(path: Path, node: str) -> dict[str, Any]:
    """Return the Zarr metadata in a file, which must describe a `node` of format 3."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserMistake(Problem(str(path), "a file", "nothing")) from None
    except (ValueError, RecursionError):
        raise UserMistake(Problem(str(path), "Zarr metadata in JSON", "damaged text")) from None
    if (
        not isinstance(metadata, dict)
        or metadata.get("node_type") != node
        or metadata.get("zarr_format") != 3
    ):
        raise UserMistake(Problem(str(path), f"metadata of a Zarr v3 {node}", shown(metadata)))
    shape = metadata.get("shape", [])
    plain = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not plain or (node == "array" and len(_dims(metadata)) != len(shape)):
        got = f"{shown(shape)} with {shown(metadata.get('dimension_names'))}"
        raise UserMistake(Problem(str(path), "a shape with a name for each dimension", got))
    return metadata


def _arrays(data: Path, root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metadata of every array, which its own file and the group's must tell alike."""
    consolidated = root.get("consolidated_metadata")
    told = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    if not isinstance(told, dict):
        raise UserMistake(Problem(str(data / "zarr.json"), "consolidated metadata", shown(consolidated)))
    arrays: dict[str, dict[str, Any]] = {}
    problems = [
        Problem(f"{data.parent}: {name}", "this variable in the archive", "nothing")
        for name in ALWAYS
        if name not in told
    ]
    for name in sorted(told):
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            problems.append(Problem(str(data / "zarr.json"), "names of arrays in it", shown(name)))
            continue
        try:
            arrays[name] = _metadata(data / name / "zarr.json", "array")
        except UserMistake as mistake:
            problems += mistake.problems
            continue
        if any(
            arrays[name].get(key) != told[name].get(key)
            for key in ("shape", "data_type", "codecs", "dimension_names")
        ):
            file = str(data / name / "zarr.json")
            problems.append(Problem(file, "what the group's consolidated metadata says", "something else"))
    if problems:
        raise UserMistake(problems)
    return arrays


def _variables(data: Path, arrays: dict[str, dict[str, Any]]) -> list[Problem]:
    """Return what is wrong with the arrays as variables of the schema."""
    case_dims = _dims(arrays[_CASE_DIMS_OF])
    coordinates = {name: array for name, array in arrays.items() if name not in VARIABLES}
    sizes = {name: array["shape"][0] for name, array in coordinates.items() if _dims(array) == (name,)}
    problems = []
    for name, array in arrays.items():
        where = f"{data / name}"
        codecs = array.get("codecs")
        if not isinstance(codecs, list) or not {_name(codec) for codec in codecs} <= CODECS:
            problems.append(Problem(where, f"codecs among {', '.join(sorted(CODECS))}", shown(codecs)))
        if name in VARIABLES:
            problems += _variable(where, VARIABLES[name], array, case_dims, sizes.keys())
        elif len(_dims(array)) != 1 or array.get("data_type") not in _COORDINATE_TYPES:
            got = f"{shown(array.get('data_type'))} over {_dims(array)}"
            problems.append(Problem(where, "a coordinate of numbers or text along one dimension", got))
        if [sizes.get(dim) for dim in _dims(array)] != array.get("shape"):
            wanted = ", ".join(f"{dim}: {sizes.get(dim, 'no coordinate')}" for dim in _dims(array))
            problems.append(
                Problem(where, f"the shape of its coordinates ({wanted})", shown(array.get("shape")))
            )
    return problems


def _variable(
    where: str, variable: Variable, array: dict[str, Any], case_dims: tuple[str, ...], there: Set[str]
) -> list[Problem]:
    """Return how one array's metadata departs from its variable in the schema.

    `there` are the dimensions that have a coordinate.
    """
    last = tuple(dim for dim in variable.over if dim in there or dim not in OPTIONAL)
    problems = []
    if _dims(array) != case_dims + last:
        problems.append(Problem(where, f"dimensions {', '.join(case_dims + last)}", ", ".join(_dims(array))))
    expected = "string" if variable.dtype == "text" else variable.dtype
    if array.get("data_type") != expected:
        problems.append(Problem(where, f"type {expected}", shown(array.get("data_type"))))
    attributes = array.get("attributes")
    if not isinstance(attributes, dict) or attributes.get("units") != variable.units:
        got = shown(attributes.get("units")) if isinstance(attributes, dict) else "none"
        problems.append(Problem(where, f"unit {variable.units!r}", got))
    return problems


def _name(codec: object) -> str:
    return str(codec.get("name")) if isinstance(codec, dict) else ""


def _dims(array: dict[str, Any]) -> tuple[str, ...]:
    names = array.get("dimension_names")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()
