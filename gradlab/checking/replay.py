"""Measure cases of an archive again on this machine, and say how far the numbers are apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive.files import Files
from gradlab.archive.forms import Form
from gradlab.archive.provenance import collect
from gradlab.archive.reading import provenance_in, read_array
from gradlab.archive.variables import STATUS, VARIABLES
from gradlab.checking.distance import Compared, compare, worst_first
from gradlab.checking.settings import Cases
from gradlab.core.errors import Problem
from gradlab.core.fingerprint import code_key
from gradlab.experiment.grid import Grid
from gradlab.experiment.measures import record_names
from gradlab.experiment.plan import Plan, make_plan
from gradlab.experiment.runner import execute
from gradlab.experiment.worker import linear_algebra

Array = NDArray[Any]
Place = tuple[int, ...]
TOLERANCE = 1e-6
_ENVIRONMENT = ("gradlab", "python", "platform", "cpu", "blas", "simd")
_LIBRARIES = ("numpy", "scipy")
_LABELLED = ("gate", "predictor")  # dimensions along which archives may have other names than their specs


@dataclass(frozen=True)
class _Case:
    """A case to be measured: its key, and where it stands in which grid."""

    key: str
    grid: int
    row: int
    replicate: int


@dataclass(frozen=True)
class Replay:
    """What measuring again gave.

    Parameters
    ----------
    cases, of : int
        Cases measured again, of so many that have been measured.
    strata : int
        Combinations of cell, activation, clip rule, learner and status among them.
    tolerance : float
        Relative and absolute.
    variables : tuple of Compared
        The worst first.
    then, now : dict
        Environment of the last run, and this one.
    older : int
        Cases that were measured by code with another fingerprint than this one's.
    """

    cases: int
    of: int
    strata: int
    tolerance: float
    variables: tuple[Compared, ...]
    then: dict[str, str]
    now: dict[str, str]
    older: int

    @property
    def problems(self) -> list[Problem]:
        """The variables that are further apart than the tolerance."""
        return [
            Problem(
                one.name,
                f"the same numbers within {self.tolerance:g}, measured again",
                f"others in {one.different} of {self.cases} cases, by up to {one.worst:.3g} at "
                + ", ".join(f"{dim} {label}" for dim, label in one.at.items()),
            )
            for one in self.variables
            if one.different
        ]


def replay(
    files: Files,
    forms: dict[str, Form],
    cases: Cases,
    grids: Sequence[Grid],
    sample: int | None,
    tolerance: float,
    workers: int,
) -> Replay:
    """Measure a sample of an archive's cases again.

    Parameters
    ----------
    files, forms, cases
        The archive.
    grids : sequence of Grid
        Of its settings.
    sample : int or None
        How many; None: all.
    tolerance : float
        Relative and absolute.
    workers : int
        Processes.
    """
    where = {
        str(cases.settings[tuple(place)]): tuple(place)
        for place in np.argwhere(cases.status != STATUS["not_run"]).tolist()
    }
    strata = _strata(grids, {key: int(cases.status[place]) for key, place in where.items()})
    chosen = _chosen(strata, sample)
    names = [name for name in forms if name in (*record_names(), "status", "first_overflow")]
    again: dict[str, dict[str, Array]] = {}
    for number, grid in enumerate(grids):
        mine = {(one.row, one.replicate): one.key for one in chosen if one.grid == number}
        if mine:
            again |= _measured(grid, mine, names, files, forms, workers)
    places = [where[one.key] for one in chosen]
    index = tuple(np.array(places, dtype=np.int64).reshape(-1, cases.status.ndim).T)
    compared = []
    for name in names:
        old = read_array(files, forms, name)[index]
        # A case that fails now has no numbers.
        new = [again[one.key].get(name, VARIABLES[name].empty(old.shape[1:])) for one in chosen]
        rows = np.stack(new) if new else old
        compared.append(compare(name, old, rows, tolerance, lambda i: cases.at(places[i])))
    runs = provenance_in(files)
    return Replay(
        cases=len(chosen),
        of=len(where),
        strata=len(strata),
        tolerance=tolerance,
        variables=worst_first(compared),
        then=environment(runs[-1]) if runs else {},
        now=environment(collect([], 0, linear_algebra())),
        older=sum(str(cases.code[place]) != code_key() for place in places),
    )


def environment(run: Mapping[str, Any]) -> dict[str, str]:
    """Return what of a run's provenance may change the last digits of a number."""
    libraries = run.get("libraries")
    found = {name: run.get(name) for name in _ENVIRONMENT}
    found |= {name: libraries.get(name) if isinstance(libraries, dict) else None for name in _LIBRARIES}
    if isinstance(found["blas"], list):
        pools = [one for one in found["blas"] if isinstance(one, dict)]
        found["blas"] = ", ".join(
            sorted({f"{p.get('internal_api')} {p.get('version')} {p.get('architecture')}" for p in pools})
        )
    if isinstance(found["simd"], list):
        found["simd"] = ", ".join(map(str, found["simd"]))
    git = run.get("git")
    found["commit"] = git.get("commit") if isinstance(git, dict) else None
    return {name: str(value) if value is not None else "" for name, value in found.items()}


def kernels(environment: Mapping[str, str]) -> set[str]:
    """Return for which processors the kernels of OpenBLAS are that an environment tells of: plain words."""
    pools = environment.get("blas", "").split(", ")
    names = {pool.rpartition(" ")[2] for pool in pools if pool.startswith("openblas ")}
    return {name for name in names if name.isalnum()}  # a stranger's archive may tell anything


def _settings(grid: Grid, row: int) -> tuple[str, ...]:
    network = grid.networks[grid.network_index[row]]
    others = [
        grid.of(section)[grid.index(section)[row]].name
        for section in ("clip", "learner")
        if section in grid.parts
    ]
    return network.cell.name, network.activation.name, *others


def _strata(grids: Sequence[Grid], status: Mapping[str, int]) -> dict[tuple[str, ...], list[_Case]]:
    """Return the cases that have a status, apart by what may make a difference between machines."""
    strata: dict[tuple[str, ...], list[_Case]] = {}
    seen: set[str] = set()
    for number, grid in enumerate(grids):
        for row, keys in enumerate(grid.settings_keys().tolist()):
            for replicate, key in enumerate(keys):
                if key in status and key not in seen:
                    seen.add(key)
                    stratum = (*_settings(grid, row), str(status[key]))
                    strata.setdefault(stratum, []).append(_Case(key, number, row, replicate))
    return strata


def _chosen(strata: Mapping[tuple[str, ...], list[_Case]], sample: int | None) -> list[_Case]:
    """Return the sample: one of each stratum in turn, within each in an order that has to do with nothing."""
    queues = [
        sorted(members, key=lambda member: hashlib.sha256(f"replay {member.key}".encode()).digest())
        for _, members in sorted(strata.items())
    ]
    if sample is None:
        return [member for queue in queues for member in queue]
    found: list[_Case] = []
    depth = 0
    while len(found) < sample and any(depth < len(queue) for queue in queues):
        found += [queue[depth] for queue in queues if depth < len(queue)]
        depth += 1
    return found[:sample]


class _Gather:
    """A sink that keeps the cases that were asked for, by key."""

    def __init__(self, plan: Plan, wanted: Mapping[Place, str]):
        self._shape = plan.grid.shape
        self.wanted = wanted
        self.found: dict[str, dict[str, Array]] = {}

    def finished(self) -> NDArray[np.bool_]:
        """Return the cases that are not asked for."""
        there = np.ones(self._shape, dtype=bool)
        for place in self.wanted:
            there[place] = False
        return there

    def write(self, index: NDArray[np.int64], records: Mapping[str, Array]) -> None:
        """Keep the records of cases."""
        for i, place in enumerate(index.tolist()):
            key = self.wanted[tuple(place)]
            self.found[key] = {name: np.array(values[i]) for name, values in records.items()}

    def fail(self, index: NDArray[np.int64], error: str, settings: Sequence[Mapping[str, Any]]) -> None:
        """Keep that cases failed."""
        for place in index.tolist():
            self.found[self.wanted[tuple(place)]] = {"status": np.array(STATUS["failed"], dtype=np.int8)}

    def close(self) -> None:
        """Nothing to finish."""


def _measured(
    grid: Grid,
    mine: Mapping[tuple[int, int], str],
    names: Sequence[str],
    files: Files,
    forms: dict[str, Form],
    workers: int,
) -> dict[str, dict[str, Array]]:
    """Return the records of some cases of a grid by key, with the dimensions that the archive has."""
    plan = make_plan(grid)
    plan = replace(plan, record=tuple(name for name in plan.measure.records if name in names))
    wanted = {(*grid.points[row].tolist(), replicate): key for (row, replicate), key in mine.items()}
    sink = _Gather(plan, wanted)
    execute(plan, sink, workers=workers, memory=grid.spec.memory)
    there = {dim: [str(one) for one in read_array(files, forms, dim)] for dim in _LABELLED if dim in forms}
    for (row, _), key in mine.items():
        blocks = plan.gates or grid.networks[grid.network_index[row]].cell.drawn_blocks[:1]
        case = sink.found[key]
        for name in case.keys() & plan.measure.records.keys():
            own = {"gate": blocks, "predictor": plan.along.get("predictor", ())}
            case[name] = _spread(case[name], name, plan, forms, there, own)
    return sink.found


def _spread(
    values: Array,
    name: str,
    plan: Plan,
    forms: dict[str, Form],
    there: Mapping[str, list[str]],
    own: Mapping[str, Sequence[str]],
) -> Array:
    """Return one case's record with the archive's dimensions; what the case has not got is NaN.

    `there` and `own` are the labels that the archive and the case have along dimensions of names.
    """
    form = forms[name]
    for axis, dim in enumerate(d for d in plan.measure.records[name] if d in form.dims):
        size = form.shape[form.dims.index(dim)]
        if dim not in plan.along:
            values = np.expand_dims(values, axis)
        if dim in there:
            places = [there[dim].index(label) for label in own[dim] if label in there[dim]]
        else:
            places = list(range(min(values.shape[axis], size)))
        if places == list(range(size)):
            continue
        whole = VARIABLES[name].empty((*values.shape[:axis], size, *values.shape[axis + 1 :]))
        whole[(slice(None),) * axis + (places,)] = np.take(values, range(len(places)), axis)
        values = whole
    return values
