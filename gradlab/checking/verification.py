"""Verify an archive: every byte, the schema, the keys, and a part of the numbers measured again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gradlab.archive import directory
from gradlab.archive.content import chunk_names, content_digest
from gradlab.archive.files import Files, PackedFiles, files_of
from gradlab.archive.forms import MOST_CHUNK, Form
from gradlab.archive.manifest import ASIDE, OF_PACKED, check
from gradlab.archive.of_file import is_of_file
from gradlab.archive.packed import check_packed
from gradlab.archive.reading import forms_of
from gradlab.archive.variables import STATUS
from gradlab.archive.verify import structure
from gradlab.checking import settings
from gradlab.checking.coordinates import check_coordinates, check_records
from gradlab.checking.of_file import check_of_file
from gradlab.checking.replay import TOLERANCE, Replay, replay
from gradlab.checking.settings import Cases
from gradlab.checking.words import check_attributes, check_units, layouts_of, other_words
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.tables import file_name
from gradlab.running import attributes

_FILES = (
    directory.MARKER,
    directory.SPEC,
    directory.RESOLVED,
    directory.PROVENANCE,
    directory.FAILURES,
    *ASIDE,
)
_FOLDERS = (
    f"{directory.DATA}/",
    f"{directory.FIGURES}/",
    f"{directory.FORMER}/",
    f"{directory.CHECKPOINTS}/",
)


@dataclass(frozen=True)
class Verification:
    """What was found of an archive.

    Parameters
    ----------
    problems : tuple of Problem
        All that is wrong; empty: verified.
    notes : tuple of str
        What was not looked at, and why.
    sealed : bool
        Whether it has a manifest.
    content_digest : str
        Digest of data and settings as they are; empty where they cannot be read.
    files, bytes : int
        That were compared with the manifest.
    cases : dict of str to int
        Cases by status.
    keys : int
        Cases whose key was computed again from the settings.
    replay : Replay or None
        What measuring again gave, if it was asked for.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    sealed: bool = False
    content_digest: str = ""
    files: int = 0
    bytes: int = 0
    cases: dict[str, int] | None = None
    keys: int = 0
    replay: Replay | None = None

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True)
class _How:
    """How thoroughly; see `verify`."""

    sample: int | None
    outside: Path | None
    tolerance: float
    workers: int


def verify(
    path: str | Path,
    *,
    sample: int | None = 0,
    outside: str | Path | None = None,
    tolerance: float = TOLERANCE,
    workers: int = 1,
) -> Verification:
    """Verify an archive.

    Parameters
    ----------
    path : path
        A directory or a packed file.
    sample : int or None
        Cases to measure again, chosen evenly over cells, activations, clip rules, learners and status;
        None: all.
    outside : path, optional
        Folder with the files outside the archive that its settings name (a record, a matrix): they are
        looked for there by their last name, never where the archive says.
    tolerance : float
        Relative and absolute, for what is not identical bit for bit after measuring again.
    workers : int
        Processes for that.

    Raises
    ------
    UserMistake
        If there is no archive at all.
    """
    files = files_of(path)
    try:
        sealed = check(files)
    except UserMistake as mistake:
        if not _claims(files):
            raise
        return Verification(mistake.problems)
    found = Verification(sealed.problems, sealed=sealed.sealed, files=sealed.files, bytes=sealed.bytes)
    problems = list(sealed.problems)
    wrong, forms = structure(files)
    if wrong:
        return replace(found, problems=(*problems, *_new(wrong, problems)))
    if isinstance(files, PackedFiles):
        problems += check_packed(files)
    problems += _new(_strangers(files, forms), problems)
    try:
        forms = forms_of(files)
        digest = content_digest(files)
        cases = settings.cases_in(files, forms)
    except UserMistake as mistake:
        damaged = list(_damage(files, forms)) or list(mistake.problems)
        return replace(found, problems=(*problems, *_new(damaged, problems)))
    if sealed.sealed and digest != sealed.content_digest:
        where = files.where(directory.MANIFEST)
        problems.append(Problem(where, f"the digest of the content, {digest}", sealed.content_digest))
    found = replace(found, content_digest=digest, cases=_counts(cases))
    how = _How(sample, None if outside is None else Path(outside), tolerance, workers)
    return _cases(replace(found, problems=tuple(problems)), files, forms, cases, how)


def _cases(
    found: Verification,
    files: Files,
    forms: dict[str, Form],
    cases: Cases,
    how: _How,
) -> Verification:
    """Add what keys and replay say."""
    problems, notes = list(found.problems), []
    keys, replayed = 0, None
    try:
        problems += _consistent(files, forms, cases)
    except UserMistake as mistake:  # keys that are none
        problems += mistake.problems
    try:
        tables = settings.tables_in(files)
        named = sorted({file_name(name) for name in settings.outside(tables)})
        if is_of_file(tables[0]):
            problems += check_of_file(files, forms, cases, tables[0])
            keys = int((cases.settings != "").sum())
            if how.sample != 0:
                got = "a network that was read from a file"
                problems.append(_not_measured(files, got, "Use gradlab probe."))
        elif named and how.outside is None:
            hint = "--outside FOLDER says where that is."
            notes.append(f"Keys were not computed again: the settings name {', '.join(named)}. {hint}")
            if how.sample != 0:
                problems.append(_not_measured(files, f"settings that name {', '.join(named)}", hint))
        else:
            grids = [settings.grid_of(table, how.outside) for table in tables]
            problems += settings.check_settings_keys(cases, grids)
            keys = int((cases.settings != "").sum())
            problems += check_records(files, forms, grids[0])
            problems += check_coordinates(files, forms, cases, grids)
            problems += check_attributes(files, [attributes(grid) for grid in grids])
            layouts = layouts_of(grids)
            problems += check_units(files, forms, layouts)
            if others := other_words(forms, layouts):
                notes.append(f"Described in other words than those of this gradlab: {', '.join(others)}.")
            if how.sample != 0:
                replayed = replay(files, forms, cases, grids, how.sample, how.tolerance, how.workers)
                problems += replayed.problems
    except UserMistake as mistake:
        problems += [one.under(files.where(directory.RESOLVED)) for one in mistake.problems]
    return replace(found, problems=tuple(problems), notes=tuple(notes), keys=keys, replay=replayed)


def _claims(files: Files) -> bool:
    """Whether something claims to be an archive, though it may be damaged."""
    if isinstance(files, PackedFiles):
        with files.path.open("rb") as file:
            return file.read(2) == b"PK"
    return any((files.path / name).exists() for name in (directory.MARKER, directory.MANIFEST))


def _not_measured(files: Files, got: str, hint: str) -> Problem:
    """Return the problem of cases that were to be measured again and could not be."""
    return Problem(files.where(directory.RESOLVED), "settings by which cases are measured again", got, hint)


def _consistent(files: Files, forms: dict[str, Form], cases: Cases) -> Iterator[Problem]:
    """Yield where status and keys contradict each other."""
    if unknown := int((~np.isin(cases.status, list(STATUS.values()))).sum()):
        yield Problem("status", f"one of {', '.join(STATUS)}", f"something else in {unknown} cases")
    if stray := int(((cases.status != STATUS["not_run"]) & (cases.settings == "")).sum()):
        yield Problem("status", "not_run where there is no case", f"something else at {stray} points")
    if "settings_key" in forms:
        yield from settings.check_case_keys(cases, settings.keys_in(files, forms, "case_key"))


def _strangers(files: Files, forms: dict[str, Form]) -> Iterator[Problem]:
    """Yield files that no reader of an archive knows, whatever the manifest says."""
    known = (*_FILES, *OF_PACKED) if isinstance(files, PackedFiles) else _FILES
    for name in files.sizes:
        if name not in known and not name.startswith(_FOLDERS):
            yield Problem(files.where(name), "no file", "a surplus one, which is not of an archive")
    metadata = {"zarr.json", *(f"{name}/zarr.json" for name in forms)}
    for name in files.sizes:
        array, _, key = name.removeprefix(f"{directory.DATA}/").partition("/")
        if not name.startswith(f"{directory.DATA}/") or name.removeprefix(f"{directory.DATA}/") in metadata:
            continue
        if array not in forms or forms[array].place(key) is None:
            yield Problem(files.where(name), "no file", "a surplus one, which is no chunk of an array")


def _damage(files: Files, forms: dict[str, Form]) -> Iterator[Problem]:
    """Yield every chunk that cannot be decoded."""
    for array, names in chunk_names(files).items():
        for name, key in names:
            if array in forms and forms[array].place(key) is not None:
                try:
                    forms[array].checked(files.read(name, MOST_CHUNK))
                except UserMistake as mistake:
                    yield from mistake.problems
                except ValueError as error:
                    yield Problem(files.where(name), "a chunk of the array", f"a damaged one ({error})")


def _new(problems: Iterator[Problem] | list[Problem], told: list[Problem]) -> list[Problem]:
    """Return the problems of places that nothing has been told of yet."""
    places = {problem.where for problem in told}
    return [problem for problem in problems if problem.where not in places]


def _counts(cases: Cases) -> dict[str, int]:
    there = cases.settings != ""
    return {name: int((there & (cases.status == code)).sum()) for name, code in STATUS.items()}
