"""The contract of a task: inputs, targets, and where the loss looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.checks import one_of, shown, size
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import Registry, settings_of
from gradlab.tasks import losses
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
    """

    name: ClassVar[str]

    features: int = 8
    batch: int = 32
    length: int = 100
    outputs: int | None = None
    loss: str = "mse"
    at: str | tuple[int, ...] = "final"

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for field in ("features", "batch", "length", "outputs"):
            value = getattr(self, field)
            if value is not None:
                _collect(problems, lambda f=field, v=value: size(f, v))
        _collect(
            problems, lambda: one_of("loss", self.loss, losses.registry.names(), "the name of a known loss")
        )
        _collect(problems, self._check_at)
        if not problems and self.loss == "cross_entropy" and self.n_outputs < 2:
            problems.append(Problem("outputs", "at least 2 classes for cross_entropy", shown(self.n_outputs)))
        if problems:
            raise UserMistake(problems)

    def _check_at(self) -> None:
        expected = '"final", "every" or a list of time steps below the length'
        if isinstance(self.at, str):
            one_of("at", self.at, ("final", "every"), expected)
            return
        length = self.length if isinstance(self.length, int) else 1
        steps = [t if isinstance(t, int) and not isinstance(t, bool) else length for t in self.at]
        if (
            not steps
            or any(not -length <= t < length for t in steps)
            or len({t % length for t in steps}) < len(steps)
        ):
            hint = f"With length {self.length}, steps go from 0 to {length - 1}, each once."
            raise UserMistake(Problem("at", expected, shown(list(self.at)), hint))

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the readout."""
        return self.features if self.outputs is None else self.outputs

    @property
    def loss_entry(self) -> AbstractLoss:
        """The loss itself."""
        return losses.registry.build(self.loss, "loss")

    def looks(self) -> range | tuple[int, ...]:
        """Return the time steps where the loss looks, ascending, counted from 0."""
        if self.at == "final":
            return range(self.length - 1, self.length)
        if self.at == "every":
            return range(self.length)
        return tuple(sorted(int(t) % self.length for t in self.at))

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


def _collect(problems: list[Problem], check: Any) -> None:
    try:
        check()
    except UserMistake as mistake:
        problems.extend(mistake.problems)


registry: Registry[AbstractTask] = Registry("task", "gradlab.tasks")
