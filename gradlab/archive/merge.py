"""Uniting archives that were written apart: by several people, or by the parts of a sweep."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gradlab.archive import directory, failures
from gradlab.archive.copying import copy_cases, differing
from gradlab.archive.creation import create_data
from gradlab.archive.directory import State
from gradlab.archive.extend import case_keys, with_lone
from gradlab.archive.lock import writing
from gradlab.archive.manifest import check_unaltered, seal
from gradlab.archive.packed import unpacked
from gradlab.archive.reading import read_provenance
from gradlab.archive.specs import former_specs, named, resolved_specs, write_former
from gradlab.archive.terms import axes_in, differ, in_terms, other_settings, text_with_axes
from gradlab.archive.united import FINISHED, Held, Index, among, carried, point, read_held, same_grid, unite
from gradlab.archive.variables import OF_LAST_RUN, STATUS
from gradlab.archive.verify import check_structure
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.fingerprint import case_key
from gradlab.experiment.axes import Axis

DEFAULT_TILE = 16  # cases along each axis, where the layout is of no archive


def merge(paths: Sequence[Path], out: Path, *, accept_older_code: bool = False) -> dict[str, int]:
    """Unite archives in a new one.

    The grid has the values of all axes, and what was to be measured anywhere and is nowhere is not run.

    Parameters
    ----------
    paths : sequence of Path
        The archives, directories or packed files; of what stands in several, the first finished one counts.
    out : Path
        A directory that does not exist, is empty, or holds what the same merge made, all or in part.
    accept_older_code : bool
        Unite them though not all were measured by the same numerical code.

    Returns
    -------
    dict of str to int
        How many ``cases`` there are, and how many of them are ``there`` (finished), ``failed``, ``new``.

    Raises
    ------
    UserMistake
        If they cannot be united, or the disk refuses; no archive is left in `out` then.
    """
    if len(paths) < 2:
        raise UserMistake(Problem("merge", "at least two archives", str(len(paths))))
    there = directory.state(out) is State.ARCHIVE
    problems = [problem for path in (*paths, *([out] if there else [])) for problem in check_structure(path)]
    if problems:
        raise UserMistake(problems)
    for path in paths:
        check_unaltered(path)
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(unpacked(path)) for path in paths]
        target = _united(_sources(paths, folders), out, there, accept_older_code)
    status = target.status[target.settings != ""]
    finished = int(target.finished.sum())
    failed = int((status == STATUS["failed"]).sum())
    return {"cases": len(status), "there": finished, "failed": failed, "new": len(status) - finished - failed}


@dataclass(frozen=True, eq=False)
class _Source:
    """One of the archives: as a person calls it, the directory that has its files, and what it holds."""

    path: Path
    folder: Path
    held: Held

    @property
    def data(self) -> Path:
        return self.folder / directory.DATA


def _sources(paths: Sequence[Path], folders: Sequence[Path]) -> list[_Source]:
    held = [read_held(folder) for folder in folders]
    gates = any("gate" in one.layout.coordinates for one in held)
    held = [with_lone(one, folder, gates) for one, folder in zip(held, folders, strict=True)]
    return [_Source(*both) for both in zip(paths, folders, held, strict=True)]


def _united(sources: Sequence[_Source], out: Path, there: bool, accept_older_code: bool) -> Held:
    """Make the united archive, unless it is `there` already, and return what it holds."""
    _check_alike(sources)
    if not accept_older_code:
        _check_code(sources)
    target, shares = _shares(sources, _all_in_one(sources))
    with directory.disk(out), writing(out):
        if there and not _is_in(out, sources, target, shares):
            got = "one that holds something already"
            raise UserMistake(Problem(str(out), "a directory that is empty or does not exist", got))
        try:
            if not there:
                _write(sources, out, target, shares)
            seal(out)
        except BaseException:
            if not there:
                _remove_all(out)
            raise
    return target


def _check_alike(sources: Sequence[_Source]) -> None:
    """Refuse archives of several measures or records."""
    problems = [
        Problem(
            str(source.path),
            "an archive that tells settings and code of its cases apart (schema 2 or later)",
            "an older one",
            "Run its spec into a copy of it, with --accept-older-code: the copy is then of today's schema.",
        )
        for source in sources
        if "settings_key" not in source.held.layout.names
    ]
    base = sources[0]
    for source in sources[1:]:
        for what, first, own in (
            ("measure", base.held.attrs.get("measure"), source.held.attrs.get("measure")),
            ("records", set(base.held.layout.names), set(source.held.layout.names)),
        ):
            if first != own:
                where = f"{source.path}: {what}"
                if isinstance(first, set) and isinstance(own, set):
                    missing, more = sorted(first - own), sorted(own - first)
                    got = "; ".join(
                        f"{w} {', '.join(n)}" for w, n in (("it lacks", missing), ("it has", more)) if n
                    )
                    hint = "Archives that are to be united need the same record, and the same schema."
                    problems.append(Problem(where, f"those of {base.path}", got, hint))
                else:
                    problems.append(Problem(where, f"that of {base.path}, {shown(first)}", shown(own)))
    if problems:
        raise UserMistake(problems)


def _check_code(sources: Sequence[_Source]) -> None:
    """Refuse cases that were measured by different code."""
    codes: dict[str, int] = {}
    for one in (source.held for source in sources):
        for code, count in zip(*np.unique(one.code[one.finished], return_counts=True), strict=True):
            codes[str(code)] = codes.get(str(code), 0) + int(count)
    if len(codes) > 1:
        got = ", ".join(f"{count} by {code or 'code that is not known'}" for code, count in codes.items())
        hint = "--accept-older-code unites them; each case keeps its code_key."
        where = " and ".join(str(source.path) for source in sources[:3])
        raise UserMistake(Problem(where, "cases measured by the same numerical code", got, hint))


def _all_in_one(sources: Sequence[_Source]) -> Held:
    """Return the grid of all archives, with no status yet; it is that of one of them that has every case."""

    def together(one: Held, two: Held, path: Path) -> Held:
        if not ((two.settings != "") & ~among(two.settings, one.settings)).any():
            return one
        united = unite(one, two, one.settings != "", one.layout.names, str(path))
        if not united.left.any():
            return two
        attrs = {k: v for k, v in one.attrs.items() if k in OF_LAST_RUN or two.attrs.get(k) == v}
        lone = one.lone if one.lone == two.lone else ""
        status = np.zeros(united.settings.shape, dtype=np.int8)
        code = np.full(united.settings.shape, "", dtype="<U16")
        return Held(united.layout, united.settings, code, status, attrs, {}, lone)

    base, *others = _in_common_terms(sources)
    for source, own in zip(sources[1:], others, strict=True):
        base = together(base, own, source.path)
    if whole := [source.held for source in sources if same_grid(source.held, base)]:
        base = replace(base, attrs=whole[0].attrs)  # whose specs it gets
    empty = np.full(base.settings.shape, "", dtype="<U16")
    return replace(base, status=np.zeros_like(base.status), code=empty)


def _in_common_terms(sources: Sequence[_Source]) -> list[Held]:
    """Return the grids of archives with the axes of all and the labels of the first that has them.

    As far as their specs say where their cases stand; where one of them has every case, its terms will do.

    Raises
    ------
    UserMistake
        If two differ in a setting that is no axis.
    """
    held = [source.held for source in sources]
    every = np.unique(np.concatenate([one.settings.ravel() for one in held]))
    whole = any(among(every[every != ""], one.settings).all() for one in held)
    if whole:
        return held
    tables = [resolved_specs(source.folder) for source in sources]
    for (first, one), (_, two) in itertools.combinations(zip(sources, tables, strict=True), 2):
        if problems := other_settings(one, two, str(first.path)):
            raise UserMistake(problems)
    if any(differ(one.layout, two.layout) for one, two in itertools.combinations(held, 2)):
        with contextlib.suppress(UserMistake):
            axes = _of_layouts(axes_in(itertools.chain(*tables)), held)
            return [in_terms(one, own, axes) for one, own in zip(held, tables, strict=True)]
    return held


def _of_layouts(axes: dict[str, list[Axis]], held: Sequence[Held]) -> dict[str, list[Axis]]:
    """Return the axes that some archive has; a spec may have had others once."""
    dims = {dim for one in held for dim in one.layout.case_dims}
    return {name: each for name, each in axes.items() if name in dims}


@dataclass(frozen=True, eq=False)
class _Share:
    """The cases that one archive gives, by their flat places in it and in the united one."""

    source: Index
    target: Index


def _shares(sources: Sequence[_Source], base: Held) -> tuple[Held, list[_Share]]:
    """Return what each archive gives, and the united grid with status and code.

    Raises
    ------
    UserMistake
        If two archives have a case of the same key with other numbers.
    """
    owner = np.full(base.settings.size, -1, dtype=np.int64)
    place = np.zeros(base.settings.size, dtype=np.int64)
    status, code = base.status.copy().ravel(), base.code.copy().ravel()
    held = [source.held for source in sources]
    for number, one in enumerate(held):
        source, target = carried(one, base.settings)
        own = one.status.ravel()[source]
        finished, there = np.isin(own, FINISHED), np.isin(status[target], FINISHED)
        alike = one.code.ravel()[source] == code[target]
        for other in np.unique(owner[target[finished & there & alike]]):
            both = finished & there & alike & (owner[target] == other)
            _check_numbers(sources[number], sources[other], source[both], place[target[both]])
        takes = (finished & ~there) | (status[target] == STATUS["not_run"])
        source, target = source[takes], target[takes]
        owner[target], place[target] = number, source
        status[target], code[target] = one.status.ravel()[source], one.code.ravel()[source]
    for one in held:  # what is to be measured yet is of the code that the first has for it
        known, first = np.unique(one.settings.ravel(), return_index=True)
        rest = np.flatnonzero((owner < 0) & (code == "") & (base.settings.ravel() != ""))
        at = np.minimum(np.searchsorted(known, base.settings.ravel()[rest]), len(known) - 1)
        hit = known[at] == base.settings.ravel()[rest]
        code[rest[hit]] = one.code.ravel()[first[at[hit]]]
    shares = [_Share(place[owner == i], np.flatnonzero(owner == i)) for i in range(len(held))]
    shape = base.settings.shape
    return replace(base, status=status.reshape(shape), code=code.reshape(shape)), shares


def _check_numbers(one: _Source, other: _Source, source: Index, places: Index) -> None:
    """Refuse cases that two archives have with the same key and other numbers."""
    found = differing(one.data, one.held, other.data, other.held, source, places)
    if found is None:
        return
    grid = other.held
    where = point(grid.layout, [int(i) for i in np.unravel_index(found.place, grid.settings.shape)])
    key = case_key(str(grid.settings.ravel()[found.place]), str(grid.code.ravel()[found.place]))
    got = f"other numbers for the case at {where} (case_key {key}): {found.variable} is not the same"
    hint = "Same settings and same code give the same numbers: one of the two is damaged, or was changed."
    raise UserMistake(Problem(str(one.path), f"the numbers that {other.path} has", got, hint))


def _is_in(out: Path, sources: Sequence[_Source], target: Held, shares: Sequence[_Share]) -> bool:
    """Return whether an archive is what the merge would make: one that was killed had nearly ended."""
    data = out / directory.DATA
    own = read_held(out)
    return (
        same_grid(own, target)
        and np.array_equal(own.status, target.status)
        and np.array_equal(own.code, target.code)
        and all(
            differing(one.data, one.held, data, own, share.source, share.target) is None
            for one, share in zip(sources, shares, strict=True)
        )
    )


def _write(sources: Sequence[_Source], out: Path, target: Held, shares: Sequence[_Share]) -> None:
    """Make the united archive."""
    spec, resolved, texts = _specs(sources, target)
    given = spec / directory.SPEC
    with directory.creation(out):
        directory.write_specs(out, given.read_text(encoding="utf-8") if given.is_file() else None, resolved)
        write_former(out, texts)
        data, tile = out / directory.DATA, (DEFAULT_TILE,) * target.settings.ndim
        create_data(data, target.layout, tile, case_keys(target), target.attrs, target.chunks)
        for source, share in zip(sources, shares, strict=True):
            copy_cases(source.data, source.held, data, target, share.source, share.target)
        _write_failures(sources, out, target)
        runs = [{"archive": str(one.path), **run} for one in sources for run in read_provenance(one.folder)]
        directory.replace_text(out / directory.PROVENANCE, json.dumps({"runs": runs}, indent=2) + "\n")


def _specs(sources: Sequence[_Source], target: Held) -> tuple[Path, str, dict[str, str]]:
    """Return whose last spec is that of the united archive, this spec, and those of its other cases by name.

    They are resolved, with the axes of all.
    """
    folders = [source.folder for source in sources]
    whole = next((source.folder for source in sources if same_grid(source.held, target)), None)
    spec = whole or folders[0]
    resolved = (spec / directory.RESOLVED).read_text(encoding="utf-8")
    own = former_specs(spec, resolved)
    if whole:
        return spec, resolved, own
    former = [text for folder in folders for text in former_specs(folder, "").values()]
    texts = {name: text for name, text in named(former).items() if name not in named([resolved])} | own
    if any(len(source.held.layout.case_dims) < len(target.layout.case_dims) for source in sources):
        tables = itertools.chain.from_iterable(map(resolved_specs, folders))
        axes = _of_layouts(axes_in(tables), [target])
        resolved = text_with_axes(resolved, axes)
        texts = named(text_with_axes(text, axes) for text in texts.values())
        texts = {name: text for name, text in texts.items() if name not in named([resolved])}
    return spec, resolved, texts


def _write_failures(sources: Sequence[_Source], out: Path, target: Held) -> None:
    log = failures.FailureLog(out)
    for source in reversed(sources):  # the first one's words are the last
        file = source.folder / directory.FAILURES
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        for entry in failures.read(text, source.held.settings, source.held.status):
            log.append(entry["error"], [entry["settings_key"]], [entry["settings"]])
    log.compact(target.settings, target.status)


def _remove_all(out: Path) -> None:
    """Remove what was made of an archive; what stood beside was not there before.

    Zarr writes in a thread of its own, which may not have heard of the end yet. Where something comes
    after it, the marker stays, and the next merge makes the archive anew.
    """
    with contextlib.suppress(OSError):
        for name in (directory.SPEC, directory.RESOLVED, directory.PROVENANCE, directory.FAILURES):
            (out / name).unlink(missing_ok=True)
        for _ in range(4):
            for name in (directory.DATA, directory.FORMER, directory.FIGURES):
                with contextlib.suppress(OSError):
                    directory.remove(out / name)
            time.sleep(0.05)
        if not (out / directory.DATA).exists():
            (out / directory.MARKER).unlink(missing_ok=True)
