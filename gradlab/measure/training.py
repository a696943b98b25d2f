"""What is trained: cases of equal shape, and how long, how often looked at, when stopped."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import integer, number, one_of, shown, truth
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.learners.bptt import Bptt
from gradlab.learning.optimisers import AbstractOptimiser
from gradlab.learning.regulariser import check_omega
from gradlab.learning.schedules import AbstractSchedule
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

Array = NDArray[Any]
_BPTT = Bptt()
SPACINGS = ("linear", "log")


@dataclass(frozen=True)
class Training:
    """How long is trained, and what is looked at meanwhile.

    Parameters
    ----------
    updates : int
        How many updates.
    spacing : {"linear", "log"}
        How the updates that are recorded lie: evenly, or evenly in the logarithm.
    records : int
        About how many of them are recorded; the first and the last always.
    evaluate : int
        Samples of the fixed evaluation set.
    evaluate_every : int
        At every so many recorded updates the metric is taken; at the last one always.
    stop_when_solved : bool
        Whether a case that meets its task's criterion is trained no further.
    carry_state : bool
        Whether every update goes on, in the states and in the sequences, where the last one ended. What
        is carried over counts as a constant: no gradient goes back through it.
    """

    updates: int
    spacing: str = "log"
    records: int = 50
    evaluate: int = 1000
    evaluate_every: int = 1
    stop_when_solved: bool = False
    carry_state: bool = False

    def __post_init__(self) -> None:
        def count(name: str) -> None:  # 100.0 is 100
            object.__setattr__(self, name, integer(name, getattr(self, name), at_least=1))

        together(
            lambda: count("updates"),
            lambda: count("records"),
            lambda: count("evaluate"),
            lambda: count("evaluate_every"),
            lambda: one_of("spacing", self.spacing, SPACINGS, "how the recorded updates lie"),
            lambda: truth("stop_when_solved", self.stop_when_solved),
            lambda: truth("carry_state", self.carry_state),
        )

    def recorded(self) -> NDArray[np.int64]:
        """Return the numbers of the updates that are recorded, ascending, from 0."""
        last = self.updates - 1
        if self.spacing == "linear" or last == 0:
            places = np.linspace(0.0, last, min(self.records, self.updates))
        else:
            # Beyond as many, neighbours are less than one update apart at the end, too: all are recorded.
            most = int((last + 1) * np.log1p(last)) + 2
            places = np.expm1(np.linspace(0.0, np.log1p(last), min(self.records, most)))
        return np.unique(np.append(np.rint(places).astype(np.int64), last))

    def evaluated(self) -> NDArray[np.bool_]:
        """Return at which of the recorded updates the metric is taken."""
        places = np.arange(len(self.recorded()))
        return np.asarray((places % self.evaluate_every == 0) | (places == places[-1]))


@dataclass(frozen=True)
class Trainee:
    """One case: a pure function of these settings.

    Parameters
    ----------
    network : NetworkSettings
        Its structure and the laws of its first weights.
    task : AbstractTask
    clip : AbstractClip
    optimiser : AbstractOptimiser
        With its learning rate.
    schedule : AbstractSchedule
        Of that learning rate.
    omega : float
        Factor of the regulariser that preserves the norm of the adjoint; 0 for none.
    seed, replicate : int
        The keys of its random streams.
    """

    network: NetworkSettings
    task: AbstractTask
    clip: AbstractClip
    optimiser: AbstractOptimiser
    schedule: AbstractSchedule
    omega: float = 0.0
    seed: int = 0
    replicate: int = 0

    def __post_init__(self) -> None:
        number("omega", self.omega, at_least=0)

    def shape(self) -> Hashable:
        """Return what cases that are trained together agree in."""
        network, task = self.network, self.task
        return (
            network.structure(),
            (task.features, task.batch, task.steps, task.n_outputs, task.loss, tuple(task.looks())),
            self.clip if self.clip.scope == "adjoint" else None,
        )


@dataclass(frozen=True)
class TrainingBlock:
    """Cases of equal shape that are trained in one loop.

    Parameters
    ----------
    cases : tuple of Trainee
        All of the same `Trainee.shape`.
    training : Training
    learner : AbstractLearner
        How their gradients are made.
    """

    cases: tuple[Trainee, ...]
    training: Training
    learner: AbstractLearner = _BPTT

    def __post_init__(self) -> None:
        assert len({case.shape() for case in self.cases}) == 1, "cases of a block are of one shape"


def check_trainee(case: Trainee, training: Training, learner: AbstractLearner) -> None:
    """Raise UserMistake, before anything runs, for what cannot be trained."""
    together(
        lambda: _check_task(case.task),
        lambda: _check_clip(case.clip, learner),
        lambda: _check_filter(case, learner),
        lambda: _check_omega(case, learner),
        lambda: _check_stopping(case.task, training),
        lambda: _check_softmax(case.network, case.task),
        lambda: _check_carrying(case, training),
        lambda: case.schedule.check_updates(training.updates, "schedule"),
        lambda: learner.check_network(case.network, "learner"),
    )


def _check_task(task: AbstractTask) -> None:
    try:
        task.check_training()
    except UserMistake as mistake:
        raise mistake.under("task") from None


def _check_clip(clip: AbstractClip, learner: AbstractLearner) -> None:
    if "samples" in clip.needs and learner.name != "bptt":
        hint = "Other learners make the gradient of the whole batch at once."
        raise UserMistake(Problem("clip", "a rule that needs no single samples", clip.name, hint))
    if clip.scope == "adjoint" and learner.name != "bptt":
        hint = "Only full back-propagation has the adjoints that it acts on."
        raise UserMistake(Problem("learner", f"'bptt' for the rule {clip.name!r}", learner.name, hint))


def _check_omega(case: Trainee, learner: AbstractLearner) -> None:
    if not case.omega:
        return
    if case.clip.scope == "adjoint" or learner.name != "bptt":
        hint = "The regulariser weighs the adjoints of full back-propagation as they are."
        expected = "0 beside a rule on adjoints or another learner"
        raise UserMistake(Problem("training.omega", expected, shown(case.omega), hint))
    if "samples" in case.clip.needs:
        hint = "The regulariser is one of the whole batch; no sample has a share of it that could be clipped."
        expected = f"0 beside the rule {case.clip.name!r}"
        raise UserMistake(Problem("training.omega", expected, shown(case.omega), hint))
    check_omega(case.network, "training.omega")


def _check_stopping(task: AbstractTask, training: Training) -> None:
    if training.stop_when_solved and not task.criterion:
        hint = "For this task nobody has said what metric is good enough; all updates can be made."
        expected, got = "false for a task without a criterion of success", f"true for {task.name!r}"
        raise UserMistake(Problem("training.stop_when_solved", expected, got, hint))


def _check_softmax(network: NetworkSettings, task: AbstractTask) -> None:
    if network.output == "softmax" and task.n_outputs == 1 and not task.loss_entry.takes_logits:
        hint = "The softmax of a single output is 1, whatever the network does."
        expected = f"another activation of the readout for the one output of {task.name!r}"
        raise UserMistake(Problem("network.output", expected, "softmax", hint))


def _check_carrying(case: Trainee, training: Training) -> None:
    """Raise UserMistake unless the states of a case can be carried over where they are to be."""

    def sequences() -> None:
        if not case.task.goes_on:
            hint = "Those of 'characters' and of 'series' go on; those of other tasks are each for itself."
            expected = "false for a task whose sequences do not go on"
            raise UserMistake(Problem("training.carry_state", expected, f"true for {case.task.name!r}", hint))

    def directions() -> None:
        if case.network.bidirectional:
            hint = "The reverse direction begins where the sequence ends, with nothing to go on from."
            raise UserMistake(
                Problem("network.bidirectional", "false with training.carry_state", "true", hint)
            )

    def clock() -> None:
        cell, steps = case.network.cell, case.task.steps
        if case.task.goes_on and steps % cell.cycle:
            expected = f"a multiple of {cell.cycle} with training.carry_state, for the clock of {cell.name!r}"
            hint = "It begins anew with every sequence, and must then be where it was."
            raise UserMistake(Problem("task.length", expected, str(steps), hint))

    if training.carry_state:
        together(sequences, directions, clock)


def _check_filter(case: Trainee, learner: AbstractLearner) -> None:
    """Raise UserMistake for a case with a learner that takes outputs for observations, unless it fits."""
    name = repr(learner.name)

    def clip() -> None:
        if case.clip.name != "off":
            hint = "It has no gradient that could be clipped; its gain makes the step."
            raise UserMistake(Problem("clip", f"'off' with the learner {name}", case.clip.name, hint))

    def loss() -> None:
        if case.task.loss != "mse":
            hint = "It takes outputs for targets with normal noise; classes are not that."
            raise UserMistake(
                Problem("task.loss", f"'mse' for the learner {name}", shown(case.task.loss), hint)
            )

    if learner.for_training:
        together(clip, loss)


def without_rate(optimiser: AbstractOptimiser) -> AbstractOptimiser:
    """Return an optimiser with a learning rate of 1: cases that agree in it are updated together."""
    return replace(optimiser, rate=1.0)  # type: ignore[type-var]  # every entry is a dataclass
