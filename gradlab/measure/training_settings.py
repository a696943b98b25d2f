"""The section of a spec that says how cases are trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.core.checks import nearest, number, shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.registry import settings_of
from gradlab.learning import optimisers, schedules
from gradlab.learning.optimisers import AbstractOptimiser
from gradlab.learning.schedules import AbstractSchedule
from gradlab.measure.training import Training

DEFAULTS: Mapping[str, Any] = {
    "updates": 1000,
    "optimiser": {"name": "sgd", "rate": 0.01},
    "schedule": "constant",
    "omega": 0.0,
    "spacing": "log",
    "records": 50,
    "evaluate": 1000,
    "evaluate_every": 1,
    "stop_when_solved": False,
    "carry_state": False,
}
_LOOKS = tuple(one.name for one in dataclasses.fields(Training))


@dataclass(frozen=True)
class TrainingSettings:
    """How cases are trained.

    Parameters
    ----------
    training : Training
        How long, and what is looked at.
    optimiser, schedule : AbstractOptimiser, AbstractSchedule
        What a gradient does to the parameters, and how the learning rate changes.
    omega : float
        Factor of the regulariser that preserves the norm of the adjoint (Pascanu, Mikolov and Bengio
        2013, section 3.3); 0 for none.
    """

    training: Training
    optimiser: AbstractOptimiser
    schedule: AbstractSchedule
    omega: float

    @classmethod
    def build(cls, table: Mapping[str, Any], where: str = "training") -> TrainingSettings:
        """Return the settings that a table of a spec describes, defaults filled in.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        problems = [
            Problem(f"{where}.{key}", "a setting of the training", shown(key), nearest(key, DEFAULTS))
            for key in table
            if key not in DEFAULTS
        ]
        full = {**DEFAULTS, **{key: value for key, value in table.items() if key in DEFAULTS}}
        values: dict[str, Any] = {}
        with gathering(problems):
            values["optimiser"] = optimisers.registry.build(full["optimiser"], f"{where}.optimiser")
        with gathering(problems):
            values["schedule"] = schedules.registry.build(full["schedule"], f"{where}.schedule")
        with gathering(problems):
            values["omega"] = number(f"{where}.omega", full["omega"], at_least=0)
        try:
            values["training"] = Training(**{key: full[key] for key in _LOOKS})
        except UserMistake as mistake:
            problems += mistake.under(where).problems
        if {"training", "schedule"} <= values.keys():
            with gathering(problems):
                values["schedule"].check_updates(values["training"].updates, f"{where}.schedule")
        if problems:
            raise UserMistake(problems)
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        """Return the plain table that builds these settings again."""
        return {
            **{key: getattr(self.training, key) for key in _LOOKS},
            "optimiser": settings_of(self.optimiser),
            "schedule": settings_of(self.schedule),
            "omega": self.omega,
        }
