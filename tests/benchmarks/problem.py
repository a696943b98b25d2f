"""The work of the kernel table: what every tool computes, and the arrays it computes it from.

The quantity is the Frobenius norm, over hidden and batch, of the gradient of the loss with respect to
the state `h_t`, at every time step of every layer and direction, for each of several cases with weights of
their own; in the credit matrix that of the loss of every time step alone with respect to every state up
to it. Each tool gets the same arrays and is free to bring them into the layout it likes best before the
clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kernel = Callable[[], Array]
"""One full evaluation: the norms, shape (layer, direction, time, case), by the time of the sequence; for
the credit matrix (loss time, time), zero above the diagonal."""

UPDATES, RATE, THRESHOLD = 4, 0.01, 1.0  # of the training table
GATES = {"elman": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Layer:
    """One layer in one direction; rows of weights = to, columns = from; gates in PyTorch's order.

    LSTM: i, f, g, o. GRU: r, z, n, whose last recurrent block has a bias of its own (zero elsewhere).
    """

    recurrent: Array  # (case, gates * hidden, hidden)
    input: Array  # (case, gates * hidden, inputs)
    bias: Array  # (case, gates * hidden)
    recurrent_bias: Array  # (case, hidden)


@dataclass(frozen=True)
class Arrays:
    """Plain arrays."""

    layers: tuple[tuple[Layer, ...], ...]  # by layer and direction
    readout: Array  # (case, outputs, directions * hidden)
    readout_bias: Array  # (case, outputs)
    inputs: Array  # (time, case, features, batch)
    targets: Array  # (look, case, outputs, batch)


@dataclass(frozen=True)
class Problem:
    """One row of the kernel table."""

    cell: str
    hidden: int
    cases: int
    layers: int = 1
    directions: int = 1
    credit: bool = False
    length: int = 200
    batch: int = 32
    features: int = 8
    outputs: int = 8

    @property
    def name(self) -> str:
        parts = [self.cell, str(self.hidden)]
        if self.layers > 1:
            parts.append(f"{self.layers}-layers")
        if self.directions > 1:
            parts.append("bidirectional")
        return "-".join(["credit", *parts] if self.credit else parts)

    @property
    def is_network(self) -> bool:
        """Whether it is more than a single layer of the two plainest cells."""
        return self.cell == "gru" or self.layers > 1 or self.directions > 1 or self.credit

    @property
    def looks(self) -> tuple[int, ...]:
        """Where the loss looks: at the end; everywhere if the end says too little."""
        everywhere = self.credit or self.directions > 1
        return tuple(range(self.length)) if everywhere else (self.length - 1,)

    def draw(self) -> Arrays:
        """Draw the arrays; every process that calls this gets the same ones."""
        rng = np.random.default_rng([self.hidden, self.cases, GATES[self.cell]])
        rows, seen = GATES[self.cell] * self.hidden, self.hidden * self.directions

        def normal(*shape: int, scale: float = 1.0) -> Array:
            return scale * rng.standard_normal(shape)

        def layer(inputs: int) -> Layer:
            return Layer(
                recurrent=normal(self.cases, rows, self.hidden, scale=self.hidden**-0.5),
                input=normal(self.cases, rows, inputs, scale=inputs**-0.5),
                bias=normal(self.cases, rows, scale=0.1),
                recurrent_bias=normal(self.cases, self.hidden, scale=0.1 if self.cell == "gru" else 0.0),
            )

        return Arrays(
            layers=tuple(
                tuple(layer(seen if below else self.features) for _ in range(self.directions))
                for below in range(self.layers)
            ),
            readout=normal(self.cases, self.outputs, seen, scale=self.hidden**-0.5),
            readout_bias=normal(self.cases, self.outputs, scale=0.1),
            inputs=normal(self.length, self.cases, self.features, self.batch),
            targets=normal(len(self.looks), self.cases, self.outputs, self.batch),
        )


PROBLEMS: tuple[Problem, ...] = (
    Problem("elman", 32, 64),
    Problem("elman", 64, 64),
    Problem("elman", 128, 64),
    Problem("elman", 256, 16),
    Problem("lstm", 32, 32),
    Problem("lstm", 64, 32),
    Problem("lstm", 128, 32),
    Problem("gru", 64, 32),
    Problem("gru", 128, 32),
    Problem("elman", 64, 16, layers=3),
    Problem("lstm", 64, 16, layers=3),
    Problem("gru", 64, 16, layers=3),
    Problem("lstm", 64, 16, directions=2),
    Problem("gru", 64, 16, directions=2),
    Problem("elman", 64, 1, credit=True),
)
