"""The section of a spec that says how cases are trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.core.checks import number, with_known
from gradlab.core.errors import UserMistake, gathering
from gradlab.core.gaps import GAP, with_gaps
from gradlab.core.registry import checked, settings_of
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
        table, problems = with_known(where, table, DEFAULTS, "a setting of the training")
        full = {**DEFAULTS, **table}
        values: dict[str, Any] = {}

        def part(key: str, build: Any) -> None:
            try:
                values[key] = build()
            except UserMistake as mistake:
                problems.extend(mistake.problems)

        part("optimiser", lambda: optimisers.registry.build(full["optimiser"], f"{where}.optimiser"))
        part("schedule", lambda: schedules.registry.build(full["schedule"], f"{where}.schedule"))
        part("omega", lambda: number(f"{where}.omega", full["omega"], at_least=0))
        values["training"], found = checked(
            Training,
            {key: full[key] for key in _LOOKS if full[key] is not GAP},
            [key for key in _LOOKS if full[key] is GAP],
        )
        problems += [problem.under(where) for problem in found]
        if "schedule" in values:
            schedule, training = values["schedule"], values["training"]
            found = []
            with gathering(found):
                schedule.check_updates(training.updates, f"{where}.schedule")
            if found:
                del values["schedule"]
            problems += found
        if problems or len(values) < len(dataclasses.fields(cls)):
            raise UserMistake(problems, with_gaps(cls, values))
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        """Return the plain table that builds these settings again."""
        return {
            **{key: getattr(self.training, key) for key in _LOOKS},
            "optimiser": settings_of(self.optimiser),
            "schedule": settings_of(self.schedule),
            "omega": self.omega,
        }
