"""The cases of an archive, from its settings: which keys they must have, and where they stand."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.files import Files
from gradlab.archive.forms import Form
from gradlab.archive.reading import read_array, settings_in
from gradlab.archive.terms import meanings
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.fingerprint import case_key
from gradlab.experiment.axes import Axis
from gradlab.experiment.grid import Grid, expand
from gradlab.experiment.spec import Spec
from gradlab.experiment.tables import PATH_SETTINGS, file_name, paths_in

MOST_OUTSIDE = 2 << 30  # bytes of a file that settings name
MOST_NAMED = 5  # cases that are named one by one
#: By name of a coordinate and meaning of a label: all labels that mean it.
Labels = Mapping[str, Mapping[Any, Sequence[str]]]
_DIGITS = 32
_KEY = np.dtype(f"<U{_DIGITS}")


@dataclass(frozen=True, eq=False)
class Cases:
    """What the keys in an archive say.

    Parameters
    ----------
    settings, code, status : ndarray, shape (axes..., replicate)
        Keys of settings and of code (empty before schema 2), and status.
    labels : dict of str to list
        Labels of the archive's axes and of ``replicate``.
    """

    settings: NDArray[Any]
    code: NDArray[Any]
    status: NDArray[np.int8]
    labels: dict[str, list[Any]]

    def at(self, place: tuple[int, ...]) -> dict[str, Any]:
        """Return the labels of a case."""
        return {dim: values[i] for (dim, values), i in zip(self.labels.items(), place, strict=True)}


def cases_in(files: Files, forms: Mapping[str, Form]) -> Cases:
    """Return the keys of an archive.

    Raises
    ------
    UserMistake
        If a chunk is damaged.
    """
    arrays = dict(forms)
    settings = keys_in(files, arrays, "settings_key" if "settings_key" in forms else "case_key")
    code = keys_in(files, arrays, "code_key") if "code_key" in forms else np.full(settings.shape, "", _KEY)
    labels = {dim: read_array(files, arrays, dim).tolist() for dim in forms["status"].dims}
    return Cases(settings, code, read_array(files, arrays, "status"), labels)


def keys_in(files: Files, forms: dict[str, Form], name: str) -> NDArray[np.str_]:
    """Return the keys in an array, which must have at most the digits of one.

    Raises
    ------
    UserMistake
        If a chunk is damaged, or holds other text.
    """
    texts = read_array(files, forms, name)
    fits = (np.strings.isalnum(texts) | (texts == "")) & (np.strings.str_len(texts) <= _DIGITS)
    if not fits.all():
        where = files.where(f"{directory.DATA}/{name}")
        raise UserMistake(Problem(where, f"keys of {_DIGITS} digits", "other text"))
    return texts.astype(_KEY)


def tables_in(files: Files) -> list[dict[str, Any]]:
    """Return the resolved settings that the cases come from, those of the last run first."""
    former = [
        name for name in files.sizes if name.startswith(f"{directory.FORMER}/") and name.endswith(".toml")
    ]
    return [settings_in(files, name) for name in (directory.RESOLVED, *former)]


def outside(table: Any) -> Iterator[str]:
    """Yield the files outside the archive that settings name."""
    return (path for _, path in paths_in(table))


def located(table: Any, folder: Path, key: str = "") -> Any:
    """Return settings with every path in them replaced by the file of the same name in a folder."""
    if isinstance(table, Mapping):
        return {k: located(value, folder, str(k).rpartition(".")[2]) for k, value in table.items()}
    if isinstance(table, list):
        return [located(value, folder, key) for value in table]
    if isinstance(table, str) and table and key in PATH_SETTINGS:
        return str(folder / file_name(table))
    return table


def grid_of(table: dict[str, Any], folder: Path | None) -> Grid:
    """Return the cases of resolved settings; what files they name is read from a folder.

    Raises
    ------
    UserMistake
        If they are no spec, or name what is no plain file of moderate size in the folder.
    """
    if folder is not None:
        table = located(table, folder)
        for name in dict.fromkeys(outside(table)):
            try:
                found = Path(name).stat()
            except (OSError, ValueError):
                continue  # who reads it says what is wrong
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_OUTSIDE:
                expected = f"a plain file of at most {MOST_OUTSIDE} bytes"
                raise UserMistake(Problem("the settings", expected, shown(name)))
    return expand(Spec.from_dict(table))


def check_case_keys(cases: Cases, stored: NDArray[np.str_]) -> Iterator[Problem]:
    """Yield where content keys are not those of settings and code."""
    flat = zip(cases.settings.ravel().tolist(), cases.code.ravel().tolist(), strict=True)
    expected = np.array([case_key(s, c) if s else "" for s, c in flat]).reshape(cases.settings.shape)
    yield from told(cases, expected != stored, "case_key", "the digest of settings and code")


def check_settings_keys(cases: Cases, grids: list[Grid]) -> Iterator[Problem]:
    """Yield where keys are not those that the settings give, or cases are missing or at another place."""
    expected = np.full(cases.settings.shape, "", dtype=_KEY)
    labels, nowhere = labels_of(grids), [np.array([], dtype=_KEY)]
    for number, grid in reversed(list(enumerate(grids))):
        keys = grid.settings_keys().ravel()
        places, lost = places_of(cases, grid, labels)
        if number == 0 and lost:
            yield Problem(f"the axis {lost}", "the values that the settings give", "others")
            return
        if not places.size:
            continue
        fits = (places >= 0).all(axis=1)
        expected[tuple(places[fits].T)] = keys[fits]
        nowhere.append(keys[~fits])  # of what was never run there is perhaps no place
    known = {key for grid in grids for key in grid.settings_keys().ravel().tolist()}
    there = cases.settings != ""
    foreign = there & ~np.isin(cases.settings, np.array(sorted(known)))
    yield from told(cases, foreign, "settings_key", "a key that the settings give")
    wrong = (expected != "") & (cases.settings != expected) & ~foreign
    wrong |= np.isin(cases.settings, np.concatenate(nowhere))
    if len(grids) == 1:
        wrong |= there & (expected == "") & ~foreign
    yield from told(cases, wrong, "settings_key", "the key of the settings at this place")


def labels_of(grids: Sequence[Grid]) -> Labels:
    """Return all labels that an archive's settings give for the same setting of an axis."""
    found: dict[str, dict[Any, list[str]]] = {}
    for grid in grids:
        for name, own in meanings(grid.axes).items():
            for label, meaning in own.items():
                found.setdefault(name, {}).setdefault(meaning, []).append(label)
    return found


def may_stand(axis: Axis, name: str, labels: Labels) -> list[list[Any]]:
    """Return what may stand at each point of an axis: a number, or labels of its setting, the own first."""
    own, others = meanings([axis]).get(name, {}), labels.get(name, {})
    return [[label, *others.get(own.get(label), ())] for label in axis.coordinates[name].tolist()]


def places_of(cases: Cases, grid: Grid, same: Labels) -> tuple[NDArray[np.int64], str]:
    """Return where the cases of a grid stand in an archive, shape (cases, dims), and an axis that differs.

    The cases are in the order of ``grid.settings_keys().ravel()``; -1 along an axis that has not their
    value. Nothing is returned if grid and archive have not the same axes.
    """
    lost = ""
    shape = (len(grid.points), grid.replicates)
    index: dict[str, NDArray[np.int64]] = {}
    names = {axis.name: i for i, axis in enumerate(grid.axes)}
    for dim, labels in cases.labels.items():
        if dim == "replicate":
            wanted = [[number] for number in range(grid.replicates)]
            own = np.broadcast_to(np.arange(grid.replicates), shape)
        elif dim in names:
            wanted = may_stand(grid.axes[names[dim]], dim, same)
            own = np.broadcast_to(grid.points[:, names[dim], None], shape)
        else:
            return np.empty((0, len(cases.labels)), dtype=np.int64), dim
        found = positions(labels, wanted)
        lost = dim if -1 in found else lost
        index[dim] = found[own]
    if missing := names.keys() - index.keys():
        return np.empty((0, len(cases.labels)), dtype=np.int64), min(missing)
    return np.stack([index[dim].ravel() for dim in cases.labels], axis=1), lost


def positions(labels: list[Any], wanted: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    """Return where the first of each of the wanted labels stands that is there, or -1 if none is."""
    where = {label: i for i, label in enumerate(labels)}
    found = [next((where[label] for label in one if label in where), -1) for one in wanted]
    return np.array(found, dtype=np.int64)


def told(cases: Cases, wrong: NDArray[np.bool_], name: str, expected: str) -> Iterator[Problem]:
    """Yield where something is wrong, the first cases one by one."""
    places = np.argwhere(wrong)
    for place in places[:MOST_NAMED]:
        at = ", ".join(f"{dim} {value}" for dim, value in cases.at(tuple(place.tolist())).items())
        yield Problem(f"{name} at {at}", expected, "another one")
    if len(places) > MOST_NAMED:
        yield Problem(name, expected, f"another one in {len(places) - MOST_NAMED} more cases")
