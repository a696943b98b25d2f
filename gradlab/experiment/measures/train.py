"""Training over many updates, with and without clipping."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import NOTHING_KNOWN, with_gaps
from gradlab.experiment.measures._base import AbstractMeasure, Index, Labels, among, registry
from gradlab.experiment.measures.landscape import parts_met
from gradlab.experiment.sections import check_learner
from gradlab.measure.baselines import predictors
from gradlab.measure.history import ON_REQUEST, TRAINING_RECORDS
from gradlab.measure.training import Trainee, check_trainee

if TYPE_CHECKING:
    from gradlab.experiment.expansion import Distinct
    from gradlab.experiment.grid import Grid
    from gradlab.measure.training_block import Block

NO_PREDICTOR = "none"  # the label where what simple predictors reach is asked for, and there are none
TOGETHER = 32  # cases of a block: with more, the work of one time step leaves the cache


@dataclass(frozen=True)
class _Run:
    """A case with what the whole block must agree in."""

    case: Trainee
    training: Any
    learner: Any


@registry.register
@dataclass(frozen=True)
class Train(AbstractMeasure):
    """Many updates of the weights; loss, metric, gradient norms and clipping as they go."""

    name: ClassVar[str] = "train"
    sections: ClassVar[tuple[str, ...]] = ("network", "task", "clip", "learner", "training")
    records: ClassVar[Mapping[str, tuple[str, ...]]] = TRAINING_RECORDS
    on_request: ClassVar[frozenset[str]] = ON_REQUEST
    fills: ClassVar[Mapping[str, np.generic]] = {
        "solved_at": np.int64(-1),
        "diverged_at": np.int64(-1),
        "diverged_by": np.int8(0),
    }

    def labels(self, grid: Grid) -> Labels:
        """Return the updates that any case records, the lags, and the simple predictors of any task."""
        recorded = {update for how in grid.of("training") for update in how.training.recorded().tolist()}
        lags = max(int(task.lags) for task in grid.tasks)
        named = predictors(grid.tasks) or (NO_PREDICTOR,)
        return {"update": sorted(recorded), "lag": range(lags), "predictor": named}

    def shared(self, grid: Grid) -> tuple[Index, Index]:
        """Return a number of its own for every point, and of what may be trained together."""
        points = range(len(grid.points))
        marks = [
            (run.case.shape(), run.training, run.learner) for run in (self.run(grid, i, 0) for i in points)
        ]
        return np.arange(len(points), dtype=np.int64), among(marks)

    def run(self, grid: Grid, row: int, replicate: int) -> _Run:
        """Return the case of a point."""
        network, task, clip, learner, how, seed = (
            grid.of(section)[grid.index(section)[row]] for section in (*self.sections, "seed")
        )
        case = Trainee(network, task, clip, how.optimiser, how.schedule, how.omega, seed, replicate)
        return _Run(case, how.training, learner)

    def block(self, grid: Grid, runs: tuple[Any, ...], views: tuple[tuple[int, ...], ...]) -> Block:
        """Return cases that are trained together."""
        from gradlab.measure.training_block import Block  # late: every spec looks at every measure

        return Block(tuple(run.case for run in runs), runs[0].training, runs[0].learner)

    def seconds(self, grid: Grid, row: int) -> float:
        """Return about how long a case takes by itself."""
        from gradlab.measure.training_block import case_seconds

        run = self.run(grid, row, 0)
        return case_seconds(run.case, run.training, run.learner)

    def together(self, seconds: float, total: float) -> float:
        """Return how many cases are trained together."""
        return TOGETHER

    def idle_records(self, grid: Grid) -> frozenset[str]:
        """Return what simple predictors reach where no task states any."""
        return frozenset() if predictors(grid.tasks) else frozenset({"baseline"})

    def attributes(self, grid: Grid) -> dict[str, str]:
        """Return the task, its metric and its criterion, if all cases have the same."""
        found = {
            "task": {task.name for task in grid.tasks},
            "metric": {task.metric for task in grid.tasks},
            "criterion": {task.criterion for task in grid.tasks},
            "optimiser": {how.optimiser.name for how in grid.of("training")},
        }
        return {name: own.pop() for name, own in found.items() if len(own) == 1}

    def unfit(self, parts: Mapping[str, Distinct]) -> list[Problem]:
        """Return the problems of cases that cannot be trained."""
        problems: list[Problem] = []
        for network, task, clip, learner, how in self._met(parts):
            found: list[Problem] = []
            with gathering(found):
                check_learner(learner, clip)
            if not found:  # it is told of any measure
                with gathering(found):
                    _check(network, task, clip, learner, how)
                problems += found
        return list(dict.fromkeys(problems))

    def _met(self, parts: Mapping[str, Distinct]) -> list[tuple[Any, ...]]:
        """Return the settings that meet at any point."""
        return [
            tuple(parts[section].settings[i] for section, i in zip(self.sections, row, strict=True))
            for row in parts_met(parts, self.sections)
        ]


def _check(network: Any, task: Any, clip: Any, learner: Any, how: Any) -> None:
    """Raise UserMistake unless a case can be trained; any of the settings may have gaps."""
    values = {"network": network, "task": task, "clip": clip, "seed": 0, "replicate": 0}
    for name in ("optimiser", "schedule", "omega"):
        with contextlib.suppress(UserMistake):  # a gap
            values[name] = getattr(how, name)
    try:
        training = how.training
    except UserMistake:
        training = NOTHING_KNOWN
    check_trainee(with_gaps(Trainee, values), training, learner)
