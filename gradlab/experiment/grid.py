"""The grid: every case of a spec, as indices into axes and into distinct settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import integer, nearest, shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.streams import digest
from gradlab.experiment import sections
from gradlab.experiment.axes import Axis
from gradlab.experiment.expansion import Distinct
from gradlab.experiment.labels import identity
from gradlab.experiment.measures import measure_of
from gradlab.experiment.spec import Spec
from gradlab.experiment.tables import Table
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.learners.bptt import Bptt
from gradlab.network.settings import NetworkSettings

__all__ = ["Axis", "Grid", "expand"]

Index = NDArray[np.int64]
_ORDINARY = Bptt()
CLOSE = 1e-9  # relative: how near a number must be to a value of its axis to mean it


@dataclass(frozen=True, eq=False)
class Grid:
    """All cases of a spec.

    Parameters
    ----------
    spec : Spec
        What was asked.
    axes : tuple of Axis
        The dimensions in order; after them comes ``replicate``.
    replicates : int
        Copies of every point.
    points : int64 array of shape (points, axes)
        Index along each axis of every point that is to be run; sorted row-major, each once.
    parts : dict of str to Distinct
        By section, and for "seed": the distinct validated settings, and which of them each point has.
    """

    spec: Spec
    axes: tuple[Axis, ...]
    replicates: int
    points: Index
    parts: Mapping[str, Distinct]

    def of(self, section: str) -> tuple[Any, ...]:
        """Return the distinct settings of a section."""
        return self.parts[section].settings

    def index(self, section: str) -> Index:
        """Return which of the distinct settings of a section each point has."""
        return self.parts[section].index

    @property
    def networks(self) -> tuple[NetworkSettings, ...]:
        """Distinct networks."""
        return self.of("network")

    @property
    def tasks(self) -> tuple[Any, ...]:
        """Distinct tasks."""
        return self.of("task")

    @property
    def clips(self) -> tuple[Any, ...]:
        """Distinct clip rules."""
        return self.of("clip")

    @property
    def learners(self) -> tuple[AbstractLearner, ...]:
        """Distinct learners; none where the measure knows of none."""
        return self.of("learner") if "learner" in self.parts else ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Distinct root seeds."""
        return self.of("seed")

    @property
    def network_index(self) -> Index:
        """Which network each point has."""
        return self.index("network")

    @property
    def task_index(self) -> Index:
        """Which task each point has."""
        return self.index("task")

    @property
    def clip_index(self) -> Index:
        """Which clip rule each point has."""
        return self.index("clip")

    @property
    def seed_index(self) -> Index:
        """Which root seed each point has."""
        return self.index("seed")

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis, then the number of replicates."""
        return (*(len(axis) for axis in self.axes), self.replicates)

    @property
    def n_cases(self) -> int:
        """Number of cases to run: points times replicates."""
        return len(self.points) * self.replicates

    @cached_property
    def shared(self) -> tuple[Index, Index]:
        """For every point the number of its run, and of the kind that may be stacked."""
        return measure_of(self.spec.measure).shared(self)

    def settings_keys(self) -> NDArray[np.str_]:
        """Return the key of the settings of every case, shape (points, replicates).

        It is a digest of all settings that determine the case's numbers, and of nothing else: not of its
        place in the sweep, nor of where a file of the user's lies. The code is not in it.
        """
        marks = [[self._mark(section, one) for one in self.of(section)] for section in self.parts]
        rows = [self.index(section).tolist() for section in self.parts]
        keys = []
        for numbers in zip(*rows, strict=True):
            words = [own[number] for own, number in zip(marks, numbers, strict=True)]
            point = " ".join(word for word in (self.spec.measure, *words) if word)
            keys += [hashlib.sha256(f"{point} {r}".encode()).hexdigest()[:32] for r in range(self.replicates)]
        return np.array(keys, dtype="<U32").reshape(len(self.points), self.replicates)

    @staticmethod
    def _mark(section: str, settings: Any) -> str:
        """Return what stands for the settings of a section in a key."""
        if section == "seed":
            return str(settings)
        # Without the ordinary learner's name, keys are those of before there were any others.
        return "" if settings == _ORDINARY else digest(sections.identity(section, settings))

    def settings(self, point_row: int, replicate: int) -> Table:
        """Return all settings of a case as one plain table.

        Parameters
        ----------
        point_row : int
            Row of `points`.
        replicate : int
            Which copy.
        """
        return {
            "measure": self.spec.measure,
            "seed": self.seeds[self.seed_index[point_row]],
            "replicate": int(replicate),
            **{
                section: sections.to_table(section, part.settings[part.index[point_row]])
                for section, part in self.parts.items()
                if section != "seed"
            },
        }

    def settings_at(self, place: Sequence[int]) -> Table:
        """Return all settings of the case at an index along every axis and, last, a replicate."""
        return self.settings(self._row(place[:-1]), place[-1])

    def find(self, **labels: Any) -> tuple[int, int]:
        """Return the row of `points` and the replicate of one case.

        Parameters
        ----------
        **labels
            Coordinate name -> number, label, or the setting itself; ``replicate`` is one of them. What has
            only one value may be left out.

        Raises
        ------
        UserMistake
            Where a name or value is not on the grid, one is missing, or the filter leaves the case out.
        """
        problems: list[Problem] = []
        place: list[int] = []
        known = [name for axis in self.axes for name in axis.coordinates]
        for name in labels:
            if name not in known and name != "replicate":
                hint = nearest(name, [*known, "replicate"])
                problems.append(Problem(name, "the name of an axis", shown(name), hint))
        for axis in self.axes:
            with gathering(problems):
                place.append(_place(axis, labels))
        replicate = 0
        with gathering(problems):
            if "replicate" in labels:
                replicate = integer("replicate", labels["replicate"], at_least=0, at_most=self.replicates - 1)
            elif self.replicates > 1:
                raise UserMistake(Problem("replicate", f"one of 0 to {self.replicates - 1}", "nothing"))
        if problems:
            raise UserMistake(problems)
        return self._row(place), replicate

    def _row(self, place: Sequence[int]) -> int:
        if not self.axes:
            return 0
        shape = self.shape[:-1]
        codes = np.ravel_multi_index(tuple(self.points.T), shape)
        code = np.ravel_multi_index(tuple(place), shape)
        row = int(np.searchsorted(codes, code))
        if row == len(codes) or codes[row] != code:
            at = ", ".join(
                f"{axis.name}={axis.coordinates[axis.name][i]}"
                for axis, i in zip(self.axes, place, strict=True)
            )
            hint = "A filter leaves it out, or no sweep table has it."
            raise UserMistake(Problem("the case", "a point of the sweep", at, hint))
        return row


def expand(spec: Spec) -> Grid:
    """Return all cases of a spec; every distinct section is built and validated once.

    Raises
    ------
    UserMistake
        Where a combination of axis values cannot be run; see `gradlab.experiment.expansion.resolve`.
    """
    grid = spec.expanded()
    return Grid(spec, grid.axes, spec.replicates, grid.points, grid.parts)


def _place(axis: Axis, labels: Mapping[str, Any]) -> int:
    """Return the index along an axis that the labels mean; zipped keys must agree."""
    fits = np.ones(len(axis), dtype=bool)
    problems: list[Problem] = []
    given = []
    for i, (name, values) in enumerate(axis.coordinates.items()):
        if name in labels:
            given.append(name)
            match = _matches(axis, i, values, labels[name])
            if not match.any():
                problems.append(Problem(name, f"one of {_listed(values)}", shown(labels[name])))
            fits &= match
    if problems:
        raise UserMistake(problems)
    found = np.flatnonzero(fits)
    if len(found) == 1:
        return int(found[0])
    if not given:
        raise UserMistake(Problem(axis.name, f"one of {_listed(axis.coordinates[axis.name])}", "nothing"))
    names = " and ".join(axis.coordinates)
    got = ", ".join(f"{name}={shown(labels[name])}" for name in given)
    raise UserMistake(Problem(names, "values that stand together at one point of the axis", got))


def _matches(axis: Axis, i: int, values: NDArray[Any], label: Any) -> NDArray[np.bool_]:
    """Return which points of the axis have this label, or this setting, for its key number `i`."""
    label = label.item() if isinstance(label, np.generic) else label
    if axis.kinds[i] == "number":
        if isinstance(label, bool) or not isinstance(label, int | float):
            return np.zeros(len(axis), dtype=bool)
        try:
            near = np.isclose(values, float(label), rtol=CLOSE, atol=0.0)
        except OverflowError:
            return np.zeros(len(axis), dtype=bool)
        return np.asarray((values == label) | near)
    if isinstance(label, bool):
        label = "true" if label else "false"
    if isinstance(label, str) and (match := np.asarray(values == label)).any():
        return match
    if not isinstance(label, str | list | tuple | Mapping):
        return np.zeros(len(axis), dtype=bool)
    label = list(label) if isinstance(label, tuple) else label
    wanted = identity(axis.keys[i], label)
    return np.array([identity(axis.keys[i], point[i]) == wanted for point in axis.values])


def _listed(values: NDArray[Any], most: int = 12) -> str:
    texts = [str(value) for value in values.tolist()]
    return ", ".join(texts if len(texts) <= most else [*texts[: most - 1], "…", texts[-1]])
