"""What simple predictors reach in the metric of the tasks that networks are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.measure.training import Trainee
from gradlab.tasks import AbstractTask


def predictors(tasks: Iterable[AbstractTask]) -> tuple[str, ...]:
    """Return the names of the simple predictors that the tasks state, those of the first one first."""
    return tuple(dict.fromkeys(name for task in tasks for name in task.baselines(0, 0)))


def baselines(cases: Sequence[Trainee]) -> NDArray[np.float64]:
    """Return what each of their `predictors` reaches in every case, (case, predictor).

    It is NaN where a case's task has no such predictor.
    """
    names = predictors(dict.fromkeys(case.task for case in cases))
    known: dict[Any, dict[str, float]] = {}
    found = np.full((len(cases), len(names)), np.nan)
    for row, case in zip(found, cases, strict=True):
        key = case.task, case.seed, case.replicate
        if key not in known:
            known[key] = case.task.baselines(case.seed, case.replicate)
        for name, value in known[key].items():
            row[names.index(name)] = value
    return found
