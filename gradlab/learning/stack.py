"""What is simulated: one layer of networks of equal shape, stacked, in one direction of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell
from gradlab.network.readout import AbstractOutput, sums

Array = NDArray[Any]
Inputs = Callable[[int, int], Array]


@dataclass(frozen=True)
class Feedback:
    """A readout whose output takes the place of the old state in the recurrence.

    Parameters
    ----------
    readout : array of shape (case, outputs, hidden + 1)
        ``[V b]``.
    output : AbstractOutput
        Its activation.
    """

    readout: Array
    output: AbstractOutput

    def before(self, state: Array) -> Array:
        """Return ``V h + b``, shape (case, outputs, batch)."""
        return sums(self.readout, state)

    def value(self, state: Array) -> Array:
        """Return the output, shape (case, outputs, batch)."""
        return self.output.value(self.before(state))


@dataclass(frozen=True)
class Stack:
    """Networks of equal shape, stacked.

    Parameters
    ----------
    cell, activation : AbstractCell, AbstractActivation
        The elementwise algebra that all of them share.
    affine : array of shape (case, rows, fed back + features + 1)
        Recurrent weights, input weights and bias side by side, ``[W U b]``.
    inputs : callable
        ``inputs(start, stop)`` gives the inputs of those time steps, shape
        (time, case, features, batch).
    length, hidden, batch : int
        Time steps, hidden units, samples.
    diagonal : array of shape (diagonals, case, hidden, 1)
        The cell's elementwise parameters.
    feedback : Feedback, optional
        For cells whose recurrent weights see the output instead of the state.
    initial : float
        Every hidden unit before the first time step.
    start : sequence of arrays of shape (case, hidden, batch), optional
        All state parts before the first time step, in place of `initial`. The last one is what the
        recurrent weights see there, (case, outputs, batch), where that is the output.
    moderate : bool
        Whether the inputs are known to be of moderate size, so that nobody has to look.
    """

    cell: AbstractCell
    activation: AbstractActivation
    affine: Array
    inputs: Inputs
    length: int
    hidden: int
    batch: int
    diagonal: Array = field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    feedback: Feedback | None = None
    initial: float = 0.0
    start: Sequence[Array] | None = None
    moderate: bool = False

    @property
    def fed_back(self) -> int:
        """How many rows the recurrent weights multiply: hidden units, or outputs."""
        return self.hidden if self.feedback is None else int(self.feedback.readout.shape[1])

    @property
    def recurrent(self) -> int:
        """How many row blocks, the first ones, have recurrent weights."""
        return len(self.cell.recurrent_blocks)
