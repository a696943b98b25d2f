"""Labels: what stands along an axis whose values are names, lists or tables.

A table is shown as the name of its entry and, in parentheses, the settings that differ from the
entry's defaults or from another value of the axis under the same name: ``norm(1.0)``,
``lstm(forget_bias=1.0)``. Where an entry has but one setting, its value needs no name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.registry import settings_of
from gradlab.experiment import sections
from gradlab.experiment.axes import Kind, numbers
from gradlab.experiment.sections import Described
from gradlab.experiment.tables import PATH_SETTINGS, Table

LONGEST = 60  # characters of a label before it is cut and told apart by a digest


def identity(key: str, value: Any) -> Any:
    """Return something hashable that two values share exactly if they mean the same setting of `key`."""
    if not isinstance(value, str | list | Mapping):
        return type(value) is bool, value
    described = sections.describe(key, value)
    if described is not None:
        value = {"name": described.name, **described.settings}
    return streams.canonical(_alike(value))


def _alike(value: Any) -> Any:
    """Return the value with numbers in one form: 1 and 1.0 are the same setting."""
    if isinstance(value, Mapping):
        return {key: _alike(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_alike(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def coordinate(key: str, values: Sequence[Any], kind: Kind) -> NDArray[Any]:
    """Return what stands along an axis for one key: numbers as numbers, all else as unique labels."""
    if kind == "number":
        return numbers(list(values))
    distinct = {identity(key, value): value for value in values}
    labels = dict(zip(distinct, labels_of(key, list(distinct.values())), strict=True))
    return np.array([labels[identity(key, value)] for value in values], dtype=np.dtypes.StringDType())


def labels_of(key: str, values: Sequence[Any]) -> list[str]:
    """Return a readable label for each of some different values of `key`; no two are equal."""
    described = [_described(key, value) for value in values]
    labels = [
        _clean(_label(key, value, one, described)) for value, one in zip(values, described, strict=True)
    ]
    setting = key.rpartition(".")[2]
    folder = _common_folder([path for value in values for path in _paths(value, setting)])
    return [
        label
        if len(label) <= LONGEST and labels.count(label) == 1
        else _digested(label, _located(value, folder, setting))
        for label, value in zip(labels, values, strict=True)
    ]


def shared_label(key: str, entries: Collection[Any]) -> str | None:
    """Return the label of the one entry of the catalogue `key` that all cases share.

    Where there are several of one name, that is their name; None where their names differ.
    """
    distinct, names = set(entries), {entry.name for entry in entries}
    if len(distinct) == 1:
        return labels_of(key, [settings_of(entry) for entry in distinct])[0]
    return str(names.pop()) if len(names) == 1 else None


def _paths(value: Any, key: str) -> list[str]:
    """Return every path in a value of the setting `key`."""
    if isinstance(value, Mapping):
        return [path for name, item in value.items() for path in _paths(item, name)]
    if isinstance(value, list | tuple):
        return [path for item in value for path in _paths(item, key)]
    return [value] if isinstance(value, str) and key in PATH_SETTINGS else []


def _common_folder(paths: Sequence[str]) -> str:
    """Return the folder that all paths lie in, or nothing where they share none."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    except ValueError:  # absolute paths and relative ones, or several drives
        return ""


def _located(value: Any, folder: str, key: str) -> Any:
    """Return the value with paths read from `folder`: a label says nothing of where a checkout lies."""
    if isinstance(value, Mapping):
        return {name: _located(item, folder, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_located(item, folder, key) for item in value]
    if folder and isinstance(value, str) and key in PATH_SETTINGS:
        return os.path.relpath(value, folder).replace(os.sep, "/")
    return value


def _described(key: str, value: Any) -> Described | None:
    described = sections.describe(key, value)
    if described is None and isinstance(value, Mapping):
        settings = {k: v for k, v in value.items() if k != "name"}
        return Described(str(value.get("name", "")), settings, {})
    return described


def _label(key: str, value: Any, described: Described | None, others: Sequence[Described | None]) -> str:
    if described is None:
        return _text(value, key.rpartition(".")[2])
    group = [other.settings for other in others if other is not None and other.name == described.name]
    settings = {k: v for k, v in described.settings.items() if v is not None}
    telling = {
        k: v
        for k, v in settings.items()
        if any(k not in other or other[k] != v for other in group)
        or (described.name and _alike(described.defaults.get(k)) != _alike(v))
    }
    if not described.name:
        return _pairs(telling or settings)
    if not telling:
        return described.name
    if len(described.settings) == 1:
        return f"{described.name}({', '.join(_text(v, k) for k, v in telling.items())})"
    return f"{described.name}({_pairs(telling)})"


def _pairs(table: Table) -> str:
    return ", ".join(f"{key}={_text(value, key)}" for key, value in table.items())


def _text(value: Any, key: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(f"{value:.12g}"))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(item, key) for item in value)}]"
    if isinstance(value, Mapping):
        settings = {k: v for k, v in value.items() if k != "name" and v is not None}
        name = str(value.get("name", ""))
        return f"{name}({_pairs(settings)})" if settings else name
    if isinstance(value, str) and key in PATH_SETTINGS:
        return os.path.basename(value) or value
    return str(value)


def _clean(label: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in label) or "''"


def _digested(label: str, value: Any) -> str:
    """Return the label cut short, with a few digits of the value's digest to tell it from others."""
    short = label if len(label) < LONGEST - 10 else label[: LONGEST - 10] + "…"
    return f"{short} #{streams.digest(_alike(value))[:8]}"
