"""The work of the kernel table: what every tool computes, and the arrays it computes it from.

The quantity is the Frobenius norm, over hidden and batch, of the gradient of the loss with respect to
the state `h_t`, at every time step, for each of several cases with weights of their own. Each tool gets
the same arrays and is free to bring them into the layout it likes best before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kernel = Callable[[], Array]
"""One full evaluation: the norms, shape (time, case)."""

GATES = {"elman": 1, "lstm": 4}
UPDATES, RATE, THRESHOLD = 4, 0.01, 1.0  # of the training table


@dataclass(frozen=True)
class Arrays:
    """Plain arrays, rows of weights = to, columns = from; LSTM gates in the order i, f, g, o."""

    recurrent: Array  # (case, gates * hidden, hidden)
    input: Array  # (case, gates * hidden, features)
    bias: Array  # (case, gates * hidden)
    readout: Array  # (case, outputs, hidden)
    readout_bias: Array  # (case, outputs)
    inputs: Array  # (time, case, features, batch)
    targets: Array  # (case, outputs, batch)


@dataclass(frozen=True)
class Problem:
    """One row of the kernel table."""

    cell: str
    hidden: int
    cases: int
    length: int = 200
    batch: int = 32
    features: int = 8
    outputs: int = 8

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.hidden}"

    def draw(self) -> Arrays:
        """Draw the arrays; every process that calls this gets the same ones."""
        rng = np.random.default_rng([self.hidden, self.cases, GATES[self.cell]])
        rows = GATES[self.cell] * self.hidden

        def normal(*shape: int, scale: float = 1.0) -> Array:
            return scale * rng.standard_normal(shape)

        return Arrays(
            recurrent=normal(self.cases, rows, self.hidden, scale=self.hidden**-0.5),
            input=normal(self.cases, rows, self.features, scale=self.features**-0.5),
            bias=normal(self.cases, rows, scale=0.1),
            readout=normal(self.cases, self.outputs, self.hidden, scale=self.hidden**-0.5),
            readout_bias=normal(self.cases, self.outputs, scale=0.1),
            inputs=normal(self.length, self.cases, self.features, self.batch),
            targets=normal(self.cases, self.outputs, self.batch),
        )


PROBLEMS: tuple[Problem, ...] = (
    Problem("elman", 32, 64),
    Problem("elman", 64, 64),
    Problem("elman", 128, 64),
    Problem("elman", 256, 16),
    Problem("lstm", 32, 32),
    Problem("lstm", 64, 32),
    Problem("lstm", 128, 32),
)
