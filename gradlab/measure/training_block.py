"""Cases that are trained together, as a block that processes are sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.fingerprint import code_key
from gradlab.core.registry import settings_of
from gradlab.core.streams import digest
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.learners.kalman import Kalman
from gradlab.learning.schedules.constant import Constant
from gradlab.learning.workspace import Workspace
from gradlab.measure.baselines import predictors
from gradlab.measure.block import AbstractBlock
from gradlab.measure.checkpoint import Keeper, file_name
from gradlab.measure.history import begin
from gradlab.measure.probe import RATE, seconds_of
from gradlab.measure.train import check_training_memory, train, training_bytes
from gradlab.measure.training import Trainee, Training, TrainingBlock
from gradlab.measure.training_size import parameter_bytes
from gradlab.tasks._examples import CHUNK

Array = NDArray[Any]
_CONSTANT = Constant()
SAVE_SECONDS = 30.0  # between two states that are kept: no more than that is lost
TRIAL_UPDATES, TRIAL_CASES = 6, 8  # of a block that is only timed
JUDGED = frozenset({"metric", "final_metric", "solved_at"})  # records that need the evaluation set


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
    def labels(self) -> dict[str, Sequence[Any]]:
        """The updates that are recorded, and the simple predictors of its tasks."""
        return {
            "update": self.training.recorded().tolist(),
            "predictor": predictors(dict.fromkeys(case.task for case in self.runs)),
        }

    @property
    def kind(self) -> object:
        """Shape of the cases, training and learner."""
        return self.runs[0].shape(), self.training, self.learner

    @property
    def run_seconds(self) -> float:
        """About how long one case takes."""
        return case_seconds(self.runs[0], self.training, self.learner)

    def passes(self, record: Collection[str], *, shared: bool = True) -> tuple[int, int]:
        """Return forward and backward passes: one of each an update."""
        count = len(self.runs) * self.training.updates
        return count, count

    def units(self, record: Collection[str]) -> tuple[float, ...]:
        """Return the updates of all cases, and the pieces of evaluation sets that they are judged on."""
        judged = evaluations(self.training) if JUDGED & set(record) else 0
        count = len(self.runs)
        return float(count * self.training.updates), float(count * judged)

    def trials(self) -> tuple[Block, Block]:
        """Return blocks of fewer cases: one of some updates, and one of hardly any, judged as often."""
        training = self.training
        recorded = len(training.recorded()) / training.updates
        few = replace(
            training,
            updates=min(training.updates, TRIAL_UPDATES),
            spacing="linear",
            records=max(1, round(recorded * TRIAL_UPDATES)),
            evaluate=min(training.evaluate, CHUNK),
            evaluate_every=TRIAL_UPDATES,
        )
        runs = tuple(replace(run, schedule=_CONSTANT) for run in self.runs[:TRIAL_CASES])
        block = replace(self, runs=runs, training=few)
        return block, replace(block, training=replace(few, updates=1))


def evaluations(training: Training) -> int:
    """Return how many pieces of `CHUNK` samples a case is judged on in all, if it never ends early."""
    return (int(training.evaluated().sum()) + 1) * -(-training.evaluate // CHUNK)


def case_seconds(case: Trainee, training: Training, learner: AbstractLearner) -> float:
    """Return about how long a case takes by itself.

    A filter goes back once for every output at every time step where the loss looks, and then moves the
    covariances.
    """
    network, task = case.network, case.task
    one = seconds_of(network, task)
    update = 3.0 * one
    if isinstance(learner, Kalman):
        looks = len(task.looks()) * task.n_outputs
        weights = parameter_bytes(network, task) // np.dtype(network.dtype).itemsize
        groups = 1 if learner.groups == "global" else network.hidden * network.layers * network.directions
        update += 2.0 * one * looks + 8.0 * looks * task.batch * weights**2 / groups / RATE
    judged = one * min(training.evaluate, CHUNK) / task.batch
    return update * training.updates + judged * evaluations(training)
