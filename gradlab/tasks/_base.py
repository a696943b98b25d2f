"""The contract of a task: inputs, targets, and where the loss looks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.checks import one_of, shown, size
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.core.registry import Registry, settings_of
from gradlab.tasks import losses
from gradlab.tasks._examples import Examples
from gradlab.tasks.losses import AbstractLoss

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class AbstractTask(ABC):
    """What every task has.

    Inputs and targets are streams whose prefix does not depend on the length, so cases that differ
    only in length, loss or place of the loss share one forward pass.

    Parameters
    ----------
    features, batch, length : int
        Size of an input vector, number of samples, number of time steps.
    outputs : int or None
        Size of the readout's output; None: as many as features.
    loss : str
        Name of the loss.
    at : str or tuple of int
        Time steps where the loss looks: "final", "every", or a list (from 0; negative from the end).

    Claims: `metric` is what `metric_of` gives the mean of (small is good), and `criterion` says in words
    when a task counts as solved ("" where nobody ever said).
    """

    name: ClassVar[str]
    metric: ClassVar[str] = "mean_loss"
    criterion: ClassVar[str] = ""

    features: int = 8
    batch: int = 32
    length: int = 100
    outputs: int | None = None
    loss: str = "mse"
    at: str | tuple[int, ...] = "final"

    def __post_init__(self) -> None:
        together(
            lambda: size("features", self.features),
            lambda: size("batch", self.batch),
            lambda: size("length", self.length),
            lambda: self.outputs is None or size("outputs", self.outputs),
            lambda: one_of("loss", self.loss, losses.registry.names(), "the name of a known loss"),
        )
        together(self._check_at, self._check_classes)

    def _check_classes(self) -> None:
        if self.loss == "cross_entropy" and self.n_outputs < 2:
            raise UserMistake(
                Problem("outputs", "at least 2 classes for cross_entropy", shown(self.n_outputs))
            )

    def _check_at(self) -> None:
        expected = '"final", "every" or a list of time steps below the length'
        if isinstance(self.at, str):
            one_of("at", self.at, ("final", "every"), expected)
            return
        length = self.length
        steps = [t if isinstance(t, int) and not isinstance(t, bool) else length for t in self.at]
        if (
            not steps
            or any(not -length <= t < length for t in steps)
            or len({t % length for t in steps}) < len(steps)
        ):
            hint = f"With length {self.length}, steps go from 0 to {length - 1}, each once."
            raise UserMistake(Problem("at", expected, shown(list(self.at)), hint))

    @property
    def steps(self) -> int:
        """Number of time steps there are: the length, unless a protocol's sequences are longer than its T."""
        return self.length

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the readout."""
        return self.features if self.outputs is None else self.outputs

    @property
    def random_targets(self) -> bool:
        """Whether targets are random numbers, or random classes, that have nothing to do with the inputs."""
        own = type(self)
        return own.values is AbstractTask.values and own.classes is AbstractTask.classes

    @cached_property
    def loss_entry(self) -> AbstractLoss:
        """The loss itself."""
        return losses.registry.build(self.loss, "loss")

    def looks(self) -> range | tuple[int, ...]:
        """Return the time steps where the loss looks, ascending, counted from 0."""
        if self.at == "final":
            return range(self.steps - 1, self.steps)
        if self.at == "every":
            return range(self.steps)
        return tuple(sorted(int(t) % self.length for t in self.at))

    def shortened(self, length: int) -> AbstractTask:
        """Return the task with no more than `length` time steps and one look, to time the engine with."""
        return replace(self, length=min(self.length, length), at="final")

    @property
    def lags(self) -> int:
        """Number of lags there are: time steps up to the last one where the loss looks."""
        return self.looks()[-1] + 1

    def identity(self) -> dict[str, Any]:
        """Return what determines the numbers, as a plain table."""
        return settings_of(self)

    def input_identity(self) -> dict[str, Any]:
        """Return what the stream of inputs depends on: not length, loss, outputs or place."""
        apart = ("length", "loss", "outputs", "at")
        return {key: value for key, value in self.identity().items() if key not in apart}

    @abstractmethod
    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the inputs of time steps `start` to `stop`, shape (time, features, batch)."""

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return target values, shape (time, outputs, batch): iid standard normal by default."""

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            return stream.standard_normal((steps, self.n_outputs, self.batch))

        return streams.in_time(
            draw, start, stop, seed, "target values", self.n_outputs, self.batch, replicate
        )

    def classes(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return target classes, shape (time, batch): uniform by default."""

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            return stream.randint(self.n_outputs, size=(steps, self.batch))

        return streams.in_time(
            draw, start, stop, seed, "target classes", self.n_outputs, self.batch, replicate
        )

    def directions(self, start: int, stop: int, seed: int, replicate: int, hidden: int) -> Array:
        """Return random unit vectors, shape (time, hidden, batch), for the loss ``unit``."""

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            v = stream.standard_normal((steps, hidden, self.batch))
            return np.asarray(v / np.sqrt((v * v).sum(axis=1, keepdims=True)))

        return streams.in_time(draw, start, stop, seed, "unit directions", hidden, self.batch, replicate)

    def targets(self, start: int, stop: int, seed: int, replicate: int, hidden: int) -> Array:
        """Return what the task's loss is compared with, time in front."""
        kind = self.loss_entry.target_kind
        if kind == "directions":
            return self.directions(start, stop, seed, replicate, hidden)
        return (self.values if kind == "values" else self.classes)(start, stop, seed, replicate)

    def weight(self, start: int, stop: int, seed: int, replicate: int) -> Array | None:
        """Return each sample's factor of its loss, shape (time, batch); None: 1 wherever the task looks."""
        return None

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return examples for training or judging: a pure function of its arguments and the settings.

        Parameters
        ----------
        role : {"training", "evaluation"}
            What they are for.
        number : int
            The update they are for, or the chunk of the fixed evaluation set.
        seed, replicate : int
            Keys of the random streams.
        samples : int, optional
            How many; as many as the batch where absent.

        Raises
        ------
        UserMistake
            If nothing can be learnt of the task; see `check_training`.
        """
        self.check_training()
        work = self if samples in (None, self.batch) else replace(self, batch=samples)
        fresh = int(streams.digest([seed, "examples", role, number]), 16)
        targets = work.values if self.loss_entry.target_kind == "values" else work.classes
        return Examples(
            work.inputs(0, self.steps, fresh, replicate), targets(0, self.steps, fresh, replicate)
        ).frozen()

    def passage(self, number: int) -> tuple[Examples, NDArray[np.bool_]]:
        """Return the examples of an update that go on where those of the update before ended.

        Tasks whose sequences are pieces of something longer have these; see `goes_on`.

        Returns
        -------
        examples : Examples
        anew : boolean array of shape (batch,)
            Which samples do not go on from anything.
        """
        expected = "a task whose sequences go on, where states are carried over"
        raise UserMistake(Problem("task", expected, self.name))

    @property
    def goes_on(self) -> bool:
        """Whether the sequences of an update can go on where those of the update before ended."""
        return type(self).passage is not AbstractTask.passage

    def check_training(self) -> None:
        """Raise a UserMistake if nothing can be learnt of the task with these settings."""
        if self.loss_entry.target_kind == "directions":
            hint = "It carries a random vector back in time, for probes."
            raise UserMistake(Problem("loss", "a loss that can be trained", shown(self.loss), hint))

    def chance(self) -> float:
        """Return the expected loss of the best predictor that sees no input; NaN where unknown.

        Like a loss it is a sum over the time steps looked at.
        """
        if not self.random_targets:
            return math.nan
        each = {"values": 1.0, "classes": math.log(self.n_outputs), "directions": math.nan}
        return len(self.looks()) * each[self.loss_entry.target_kind]

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return by name what simple predictors reach in the task's metric; the names are always the same."""
        return {}

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return the sum of the metric over all that is looked at, (case,), and how many those are.

        Parameters
        ----------
        outputs : array of shape (look, case, outputs, batch)
            What the loss compares: the readout's outputs (``V h + b`` itself for ``cross_entropy``)
            at the time steps `looks`.
        examples : Examples
            What they answer to.

        Returns
        -------
        tuple of (array, int)
            Sums and counts of chunks add up; the metric is their quotient.
        """
        targets, counted = examples.looked_at(self.looks())
        total = np.zeros(outputs.shape[1])
        for output, target, mask in zip(outputs, targets, counted, strict=True):
            full = np.broadcast_to(target, (len(output), *target.shape))
            total += np.where(mask, self.loss_entry.evaluate(output, full)[0], 0.0).sum(axis=-1)
        return total, int(counted.sum())

    def solved(self, metric: Array) -> NDArray[np.bool_]:
        """Return where a metric meets the task's criterion; nowhere if it has none."""
        return np.zeros(np.shape(metric), dtype=bool)


registry: Registry[AbstractTask] = Registry("task", "gradlab.tasks")
