"""Symbols of an alphabet, one a time step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.checks import one_of, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Symbols(AbstractTask):
    """Inputs are one-hot vectors of independent, uniformly random symbols.

    With `network.embedding` the network reads a vector of its own for every symbol instead.

    Parameters
    ----------
    features : int
        Size of the alphabet.
    target : str
        "next": the symbol of the next time step, as a class or, for the loss ``mse``, one-hot. As
        symbols are independent nobody can predict it: a network that knows nothing loses
        ``log(features)``. "random": as in other tasks, with as many outputs as one likes.
    """

    name: ClassVar[str] = "symbols"

    loss: str = "cross_entropy"
    target: str = "next"

    def __post_init__(self) -> None:
        together(
            super().__post_init__,
            lambda: one_of("target", self.target, ("next", "random"), '"next" or "random"'),
            self._check_outputs,
        )

    def _check_outputs(self) -> None:
        if self.target == "next" and self.n_outputs != self.features:
            expected = f"{self.features}, one for each symbol that may be next"
            hint = 'Leave it out, or take target = "random".'
            raise UserMistake(Problem("outputs", expected, shown(self.n_outputs), hint))

    def input_identity(self) -> dict[str, Any]:
        """Return the settings without the target: the symbols are the same."""
        return {key: value for key, value in super().input_identity().items() if key != "target"}

    def symbols(self, start: int, stop: int, seed: int, replicate: int) -> NDArray[np.int64]:
        """Return the symbols themselves, shape (time, batch)."""

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            return stream.randint(self.features, size=(steps, self.batch))

        return streams.in_time(
            draw, start, stop, seed, "inputs", "symbols", self.features, self.batch, replicate
        )

    def _one_hot(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        return np.eye(self.features)[self.symbols(start, stop, seed, replicate)].transpose(0, 2, 1)

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the symbols one-hot."""
        return self._one_hot(start, stop, seed, replicate)

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the next symbols one-hot, or random values."""
        if self.target == "random":
            return super().values(start, stop, seed, replicate)
        return self._one_hot(start + 1, stop + 1, seed, replicate)

    def classes(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the next symbols, or random classes."""
        if self.target == "random":
            return super().classes(start, stop, seed, replicate)
        return self.symbols(start + 1, stop + 1, seed, replicate)

    @property
    def random_targets(self) -> bool:
        """Whether targets have nothing to do with the symbols."""
        return self.target == "random"

    def chance(self) -> float:
        """Return the loss of one who finds every symbol equally likely; see the base class."""
        if self.random_targets or self.loss_entry.target_kind == "directions":
            return super().chance()
        n = self.features
        return len(self.looks()) * (math.log(n) if self.loss == "cross_entropy" else (1 - 1 / n) / n)
