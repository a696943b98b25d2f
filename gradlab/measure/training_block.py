"""Cases that are trained together, as a block that processes are sent."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.fingerprint import code_key
from gradlab.core.registry import settings_of
from gradlab.core.streams import digest
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.schedules.constant import Constant
from gradlab.learning.workspace import Workspace
from gradlab.measure.baselines import predictors
from gradlab.measure.block import AbstractBlock
from gradlab.measure.checkpoint import Keeper, file_name
from gradlab.measure.history import begin
from gradlab.measure.probe import seconds_of
from gradlab.measure.train import check_training_memory, train, training_bytes
from gradlab.measure.training import Trainee, Training, TrainingBlock

Array = NDArray[Any]
_CONSTANT = Constant()
SAVE_SECONDS = 30.0  # between two states that are kept: no more than that is lost
TRIAL_UPDATES, TRIAL_CASES = 3, 8  # of a block that is only timed


@dataclass(frozen=True)
class Block(AbstractBlock):
    """Cases of equal shape; each is a run with one view."""

    runs: tuple[Trainee, ...]
    training: Training
    learner: AbstractLearner

    def measure(
        self, record: Collection[str], memory: int, workspace: Workspace, checkpoint: Path | None = None
    ) -> dict[str, Array]:
        """Train every case; see `train`. With a checkpoint it goes on from where that was left."""
        if checkpoint is None:
            found = train(self.whole, record, memory, workspace)
        else:
            keeper = Keeper(checkpoint, self.case_keys(record), self.group)
            found = train(
                self.whole,
                record,
                memory,
                workspace,
                start=keeper.start(lambda: begin(self.whole, frozenset(record))),
                checkpoint=keeper.save,
                every=SAVE_SECONDS,
                progress=keeper.tell,
            )
        found["first_overflow"] = np.full(len(self.runs), -1, dtype=np.int64)
        return {name: values[:, None] for name, values in found.items()}

    def checkpoint_name(self, record: Collection[str]) -> str:
        """Return a name that follows from the cases, what is recorded, and the code."""
        return file_name(self.case_keys(record))

    def case_keys(self, record: Collection[str]) -> list[str]:
        """Return for every case a key that follows from its settings, what is recorded, and the code."""
        how = [asdict(self.training), settings_of(self.learner), sorted(record), code_key()]
        return [
            digest(
                [case.network.identity(), case.task.identity(), case.seed, case.replicate, case.omega]
                + [settings_of(one) for one in (case.clip, case.optimiser, case.schedule)]
                + how
            )
            for case in self.runs
        ]

    @property
    def group(self) -> str:
        """What its cases have in common, in words."""
        case = self.runs[0]
        learner = "" if self.learner.name == "bptt" else f", {self.learner.name}"
        count = f"{len(self.runs)} cases" if len(self.runs) > 1 else "1 case"
        return f"{case.network.cell.name}, {case.task.name} of length {case.task.length}{learner}, {count}"

    @property
    def whole(self) -> TrainingBlock:
        """What the engine takes."""
        return TrainingBlock(self.runs, self.training, self.learner)

    def check_memory(self, record: Collection[str], memory: int, total: Callable[[int], int] = int) -> None:
        """Raise UserMistake if not even one case fits; see `check_training_memory`."""
        check_training_memory(self.whole, record, memory, total)

    def buffer_bytes(self, record: Collection[str], memory: int) -> int:
        """Return the bytes that `train` will take."""
        return training_bytes(self.whole, record, memory)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The simple predictors of its tasks."""
        return {"predictor": predictors(dict.fromkeys(case.task for case in self.runs))}

    @property
    def kind(self) -> object:
        """Shape of the cases, training and learner."""
        return self.runs[0].shape(), self.training, self.learner

    @property
    def run_seconds(self) -> float:
        """About how long one case takes."""
        return case_seconds(self.runs[0], self.training)

    def passes(self, record: Collection[str], *, shared: bool = True) -> tuple[int, int]:
        """Return forward and backward passes: one of each an update."""
        count = len(self.runs) * self.training.updates
        return count, count

    def units(self, record: Collection[str]) -> float:
        """Return the updates of all cases."""
        return float(len(self.runs) * self.training.updates)

    def trial(self) -> Block:
        """Return a block of fewer cases and updates."""
        few = replace(self.training, updates=min(self.training.updates, TRIAL_UPDATES), records=1, evaluate=1)
        runs = tuple(replace(run, schedule=_CONSTANT) for run in self.runs[:TRIAL_CASES])
        return replace(self, runs=runs, training=few)


def case_seconds(case: Trainee, training: Training) -> float:
    """Return about how long a case takes by itself."""
    return 3.0 * seconds_of(case.network, case.task) * training.updates
