"""How a spec and the archive it is to run into meet: what is there, what is new, what stays beside."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.copying import BY_DEFAULT, copy_cases
from gradlab.archive.creation import create_data, write_attributes, write_keys
from gradlab.archive.directory import State
from gradlab.archive.manifest import unseal
from gradlab.archive.specs import former_specs, named, recorded_by_default, resolved_specs, write_former
from gradlab.archive.terms import axes_in, differ, in_terms, other_settings, text_with_axes
from gradlab.archive.united import FINISHED, Held, Index, United, among, carried, read_held, same_grid, unite
from gradlab.archive.variables import KEYS, OF_LAST_RUN, STATUS, VARIABLES
from gradlab.archive.verify import check_structure
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.fingerprint import case_key

LONELY = {name for name, variable in VARIABLES.items() if "gate" in variable.over}
_AWAY = "Or give another --out, or --prune, which drops the cases that the spec has not."


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a spec asks an archive to hold.

    Parameters
    ----------
    held : Held
        Its grid; the code is this process's, nothing has run.
    tile : tuple of int
        Cases along each case dimension that are written together.
    spec_text, spec_resolved : str
        The spec as given (None: there was no text), and with every default, in TOML.
    by_default : bool
        Whether the spec leaves it to gradlab what is recorded.
    """

    held: Held
    tile: tuple[int, ...]
    spec_text: str | None
    spec_resolved: str
    by_default: bool


@dataclass(frozen=True, eq=False)
class Meeting:
    """How a spec and an archive meet.

    Parameters
    ----------
    path : Path
    wanted : Wanted
    old : Held or None
        What the archive holds; None where there is none yet.
    target : Held
        What it will hold, with the cases that are there already.
    places : tuple of int64 array
        Where the points of each case dimension of the spec are in it.
    source, carried : int64 array
        Flat places of the cases that are there already, in the old grid and in the new one.
    left : boolean array
        Which cases of the old grid the spec has not, and are kept.
    dropped : int
        Cases that are not kept.
    waiting : bool
        Whether the spec is a part of what the archive was to hold, and others of it have not been run.
    """

    path: Path
    wanted: Wanted
    old: Held | None
    target: Held
    places: tuple[Index, ...]
    source: Index
    carried: Index
    left: NDArray[np.bool_]
    dropped: int
    waiting: bool = False

    @property
    def status(self) -> NDArray[np.int8]:
        """Status of the spec's cases, in its grid's shape."""
        return np.asarray(self.target.status[np.ix_(*self.places)])

    @property
    def rewrites(self) -> bool:
        """Whether the data must be laid out anew."""
        return self.old is not None and not same_grid(self.old, self.target)

    def counts(self, only: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Return how many cases are which.

        Parameters
        ----------
        only : boolean array of the spec's grid, optional
            The cases that are to run.

        Returns
        -------
        dict of str to int
            ``cases`` asked for; of them ``there`` already, ``failed`` ones to be tried again and ``new``
            ones; and of the archive's, those kept ``beside``, ``dropped``, and of other code (``older``).
        """
        asked = self.wanted.held.settings != ""
        asked = asked if only is None else asked & only
        status = self.status[asked]
        there = int(np.isin(status, FINISHED).sum())
        failed = int((status == STATUS["failed"]).sum())
        return {
            "cases": int(asked.sum()),
            "there": there,
            "failed": failed,
            "new": int(asked.sum()) - there - failed,
            "beside": int(self.left.sum()),
            "dropped": self.dropped,
            "older": int((self.target.finished & (self.target.code != _code(self.wanted))).sum()),
        }

    def check_code(self, only: NDArray[np.bool_] | None = None) -> None:
        """Refuse to mix cases of this code with such of another one.

        Raises
        ------
        UserMistake
            If some of the archive's are of another one, and any case is to run.
        """
        counts = self.counts(only)
        if counts["older"] and counts["there"] < counts["cases"]:
            total = int(self.target.finished.sum())
            hint = (
                "--accept-older-code keeps them and measures the others by the code of today; another --out "
                "measures all of them anew."
            )
            found = zip(*np.unique(self.target.code[self.target.finished], return_counts=True), strict=True)
            own = _code(self.wanted)
            others = ", ".join(
                f"{n} by {code or 'code that is not known'}" for code, n in found if code != own
            )
            got = f"{counts['older']} of {total} measured by other code, older or newer: {others}"
            expected = f"cases measured by the numerical code of today ({_code(self.wanted)})"
            raise UserMistake(Problem(str(self.path), expected, got, hint))


def meet(path: Path, wanted: Wanted, *, prune: bool = False) -> Meeting:
    """Return how a spec and what is at `path` meet; nothing is written.

    Parameters
    ----------
    path : Path
        A directory that does not exist, is empty, or holds an archive.
    wanted : Wanted
        The spec's side.
    prune : bool
        Drop the cases of the archive that the spec has not.

    Raises
    ------
    UserMistake
        If `path` holds something else, or what cannot be united with the spec.
    """
    new = wanted.held
    if (path / directory.NEXT).is_dir() and not (path / directory.DATA).exists():
        got = "one whose run was killed in the moment in which its data changed places"
        raise UserMistake(
            Problem(str(path), "an archive at rest", got, "gradlab run puts them in their places.")
        )
    if directory.state(path) is not State.ARCHIVE:
        places = tuple(np.arange(n, dtype=np.int64) for n in new.settings.shape)
        nothing = np.zeros(0, dtype=np.int64)
        return Meeting(path, wanted, None, new, places, nothing, nothing, np.zeros(0, bool), 0)
    if problems := check_structure(path):
        raise UserMistake(problems)
    old = with_lone(read_held(path), path, "gate" in new.layout.coordinates)
    held = (old.status != STATUS["not_run"]) & (old.settings != "")
    outside = held & ~among(old.settings, new.settings)
    names = _names(path, wanted, old, held, outside, prune=prune)
    ours = old
    try:
        if outside.any() and not prune:
            if problems := other_settings(resolved_specs(path), [_table(wanted)], str(path)):
                raise UserMistake(problems)
            ours = _in_terms(old, wanted, path)
        united = unite(ours, new, (held & (not prune)).reshape(ours.settings.shape), names, str(path))
    except UserMistake as mistake:
        raise UserMistake([replace(p, hint=f"{p.hint} {_AWAY}".strip()) for p in mistake.problems]) from None
    united = replace(united, left=united.left.reshape(old.settings.shape))
    source, target = carried(old, united.settings)
    dropped = int(outside.sum()) if prune else 0
    after = _after(old, wanted, united, source, target)
    waiting = not prune and _is_part(new, old)
    return Meeting(path, wanted, old, after, united.places, source, target, united.left, dropped, waiting)


def _in_terms(old: Held, wanted: Wanted, path: Path) -> Held:
    """Return an archive's grid with a spec's axes and labels, if its own specs say where its cases stand."""
    if differ(old.layout, wanted.held.layout):
        with contextlib.suppress(UserMistake):
            return in_terms(old, resolved_specs(path), axes_in([_table(wanted)]))
    return old


def _table(wanted: Wanted) -> dict[str, Any]:
    return tomllib.loads(wanted.spec_resolved)


def _is_part(new: Held, old: Held) -> bool:
    """Return whether all cases of a spec are among an archive's, which has others that were never run."""
    asked, known = new.settings[new.settings != ""], old.settings[old.settings != ""]
    never = known[old.status[old.settings != ""] == STATUS["not_run"]]
    return bool(among(asked, known).all() and not among(never, asked).all())


def begin(meeting: Meeting) -> None:
    """Make the archive ready for the spec to run into; a kill at any instant leaves the old or the new.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    path, wanted, target = meeting.path, meeting.wanted, meeting.target
    given, resolved = wanted.spec_text, wanted.spec_resolved
    if meeting.old is None:
        with directory.creation(path):
            directory.write_specs(path, given, resolved)
            data = path / directory.DATA
            create_data(data, target.layout, wanted.tile, case_keys(target), target.attrs)
        return
    unseal(path)
    directory.sweep_temporaries(path)
    former = former_specs(path, resolved) if meeting.left.any() else {}
    if former and set(target.layout.case_dims) - set(meeting.old.layout.case_dims):
        axes = axes_in([_table(wanted)])
        former = named(text_with_axes(text, axes) for text in former.values())
    if meeting.rewrites:
        with directory.replacing(path) as new:
            directory.write_specs(new, given, resolved)
            write_former(new, former)
            create_data(new / directory.DATA, target.layout, wanted.tile, case_keys(target), target.attrs)
            data = path / directory.DATA
            copy_cases(data, meeting.old, new / directory.DATA, target, meeting.source, meeting.carried)
        return
    write_former(path, former)
    directory.write_specs(path, given, resolved)
    write_attributes(path / directory.DATA, target.layout, target.attrs)
    directory.write_marker(path, complete=True)  # of the schema that the attributes tell
    if not np.array_equal(meeting.old.code, target.code):
        keys = case_keys(target)
        write_keys(path / directory.DATA, {name: keys[name] for name in ("code_key", "case_key")})


def case_keys(held: Held) -> dict[str, NDArray[Any]]:
    """Return the arrays of all keys by variable."""
    return keys_of(held.settings, held.code)


def keys_of(settings: NDArray[np.str_], code: NDArray[np.str_]) -> dict[str, NDArray[Any]]:
    """Return the arrays of all keys by variable, from those of the settings and of the code."""
    pairs = zip(settings.ravel().tolist(), code.ravel().tolist(), strict=True)
    keys = [case_key(one, by) if one else "" for one, by in pairs]
    found = {"settings_key": settings, "code_key": code, "case_key": np.array(keys).reshape(settings.shape)}
    return {name: values.astype(VARIABLES[name].numpy_dtype) for name, values in found.items()}


def with_lone(held: Held, path: Path, gates: bool) -> Held:
    """Return what an archive holds, with the name of its networks' one row block if that is needed.

    Parameters
    ----------
    held : Held
    path : Path
        The archive.
    gates : bool
        Whether it is to be put together with cases of several row blocks.
    """
    if not gates or "gate" in held.layout.coordinates or not LONELY & set(held.layout.names):
        return held
    from gradlab.experiment.grid import expand
    from gradlab.experiment.spec import Spec

    try:
        networks = [n for table in resolved_specs(path) for n in expand(Spec.from_dict(table)).networks]
    except UserMistake:  # of a network that was read, or of another gradlab
        return held
    blocks = {block for network in networks for block in network.cell.drawn_blocks}
    return replace(held, lone=blocks.pop()) if len(blocks) == 1 else held


def _code(wanted: Wanted) -> str:
    code = wanted.held.code
    return str(code[code != ""].ravel()[0]) if (code != "").any() else ""  # one for all


def _after(old: Held, wanted: Wanted, united: United, source: Index, target: Index) -> Held:
    """Return what the archive will hold when the cases that are there have been taken over."""
    new = wanted.held
    status = np.zeros(united.settings.shape, dtype=np.int8)
    status.ravel()[target] = old.status.ravel()[source]
    code = np.where(united.settings != "", _code(wanted), "").astype("<U16")
    # What is to be measured again will be of this code.
    stays = old.finished.ravel()[source] | united.left.ravel()[source]
    code.ravel()[target[stays]] = old.code.ravel()[source[stays]]
    attrs = {
        key: value
        for key, value in new.attrs.items()
        if key in OF_LAST_RUN or not united.left.any() or old.attrs.get(key) == value
    }
    return replace(new, layout=united.layout, settings=united.settings, code=code, status=status, attrs=attrs)


def _names(
    path: Path,
    wanted: Wanted,
    old: Held,
    held: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    *,
    prune: bool,
) -> Sequence[str]:
    """Return the variables that the archive is to have; they must be those that it has.

    What is left out by default since it tells nothing of the cases may come and go.
    """
    have, asked = set(old.layout.names) | set(KEYS), set(wanted.held.layout.names)
    lacking, more = asked - have, have - asked
    if not held.any() or not lacking | more:
        return wanted.held.layout.names
    if wanted.by_default and recorded_by_default(path):
        lacking -= BY_DEFAULT.keys()
        if more <= BY_DEFAULT.keys():
            stays = more if outside.any() and not prune else set()
            asked, more = asked | stays, set()
    if lacking or (more and not prune):
        parts = [f"one without {', '.join(sorted(lacking))}"] if lacking else []
        parts += [f"one that also has {', '.join(sorted(more))}"] if more else []
        hint = "Let record name what the archive has, or give another --out"
        hint += "." if lacking else ", or --prune, which drops what the spec does not record."
        expected = "an archive that records what the spec does"
        raise UserMistake(Problem(str(path), expected, "; ".join(parts), hint))
    return tuple(name for name in VARIABLES if name in asked)
