"""The contract of a task with a protocol: whole sequences are generated at once."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.checks import one_of, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks import losses
from gradlab.tasks._base import AbstractTask, Array
from gradlab.tasks._examples import Examples

SOLVED = 0.01  # share of wrong answers below which a task counts as solved, as Pascanu 2013 has it


@dataclass(frozen=True, kw_only=True)
class AbstractGenerator(AbstractTask):
    """A task whose protocol says what sequences are like, what the answer is, and when it is due.

    A probe measures the first batch of training. Features, outputs and places of the loss follow from the
    protocol; `length` is its T, and `steps` how many time steps that makes.

    Claim: `learnt` is the loss the task is learnt with; besides it there is ``unit``, for probes.
    """

    learnt: ClassVar[str]

    features: int = field(init=False, default=1)
    outputs: int | None = field(init=False, default=2)
    at: str | tuple[int, ...] = field(init=False, default="final")

    def __post_init__(self) -> None:
        together(super().__post_init__, self._check_loss, self.check)
        features, outputs = self.sizes()
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "outputs", outputs)

    def _check_classes(self) -> None:
        """Check nothing: outputs are no setting of its own."""

    def _check_loss(self) -> None:
        one_of("loss", self.loss, losses.registry.names(), "the name of a known loss")
        if self.loss not in (self.learnt, "unit"):
            hint = "What it asks for is " + ("a class." if self.learnt == "cross_entropy" else "a number.")
            raise UserMistake(Problem("loss", f'"{self.learnt}" or "unit"', shown(self.loss), hint))

    def check(self) -> None:
        """Raise a UserMistake if settings of the task's own, or its length, are unfit."""

    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Return the numbers of features and outputs."""

    @abstractmethod
    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return `samples` sequences drawn from a stream, over all `steps`."""

    def content(self) -> dict[str, Any]:
        """Return the settings that generated sequences depend on."""
        return {key: value for key, value in self.identity().items() if key not in ("loss", "batch")}

    def input_identity(self) -> dict[str, Any]:
        """Return the settings, length included: sequences of another length are other sequences."""
        return {**self.content(), "batch": self.batch}

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return generated examples; see the base class."""
        count = self.batch if samples is None else samples
        key = [self.content(), role, number, replicate, count]
        return self.generate(streams.stream(seed, "examples", *key), count).frozen()

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the inputs of the first batch of training."""
        return _first(self, seed, replicate).inputs[start:stop]

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the target values of the first batch of training."""
        return _first(self, seed, replicate).targets[start:stop]

    def classes(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the target classes of the first batch of training."""
        return _first(self, seed, replicate).targets[start:stop]

    def weight(self, start: int, stop: int, seed: int, replicate: int) -> Array | None:
        """Return the factors of the losses of the first batch of training."""
        weight = _first(self, seed, replicate).weight
        return None if weight is None else weight[start:stop]

    def shortened(self, length: int) -> AbstractTask:
        """Return the task with a length near `length`, as far as the protocol goes down."""
        for shorter in range(min(length, self.length), self.length):
            try:
                return replace(self, length=shorter)
            except UserMistake:
                continue
        return self

    @abstractmethod
    def chance(self) -> float:
        """Return the expected loss of the best predictor that sees no input; see the base class."""

    def solved(self, metric: Array) -> NDArray[np.bool_]:
        """Return where fewer than one answer in a hundred is wrong, for tasks with that criterion."""
        if not self.criterion:
            return super().solved(metric)
        return np.asarray(metric) < SOLVED  # NaN is not solved


@dataclass(frozen=True, kw_only=True)
class AbstractClassified(AbstractGenerator):
    """A task whose answers are classes, each right or wrong."""

    learnt: ClassVar[str] = "cross_entropy"
    metric: ClassVar[str] = "error_rate"

    loss: str = "cross_entropy"

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return how many answers are wrong; see the base class."""
        targets, counted = examples.looked_at(self.looks())
        return counted_sum(wrong_classes(outputs, targets), counted)


@functools.lru_cache(maxsize=8)
def _first(task: AbstractGenerator, seed: int, replicate: int) -> Examples:
    """Return what a probe measures; it is asked for stretch by stretch."""
    return task.examples("training", 0, seed, replicate)


def wrong_classes(outputs: Array, targets: Array) -> NDArray[np.bool_]:
    """Return which answers (look, case, batch) are not the class asked for; NaN is no answer."""
    guess = np.where(np.isnan(outputs).any(axis=2), -1, outputs.argmax(axis=2))
    return np.asarray(guess != targets[:, None])


def counted_sum(errors: Array, counted: NDArray[np.bool_]) -> tuple[Array, int]:
    """Return the sum over (look, batch) of errors (look, case, batch) that count, and how many do."""
    return np.where(counted[:, None], errors, 0).sum(axis=(0, 2), dtype=np.float64), int(counted.sum())
