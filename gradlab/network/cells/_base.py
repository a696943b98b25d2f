"""The contract of a cell: the elementwise part of a recurrent network, and nothing else.

The engine computes ``z = [W U b] [h; x; 1]`` for a stack of cases and hands `z` to the cell. States
are ``(case, hidden, batch)``; what has several blocks of `hidden` rows has the block in front, so
that every block is one contiguous array: ``(block, case, hidden, batch)``. Backward, lanes stand
before the case: ``(lane, case, hidden, batch)`` and ``(block, lane, case, hidden, batch)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.registry import Registry
from gradlab.network.activations import AbstractActivation

Array = NDArray[Any]


class AbstractCell(ABC):
    """The elementwise algebra of one kind of recurrent network.

    Claims: `row_blocks` names the blocks of `hidden` rows of `z`, in order; `state_parts` names
    what is carried from one time step to the next, the hidden state first (only it is multiplied
    by recurrent weights); `local_parts` is how many blocks of `hidden` rows forward keeps for
    backward, the first ``len(row_blocks)`` of them in place of `z`; `gated` says that it has a
    memory protected by gates.
    """

    name: ClassVar[str]
    row_blocks: ClassVar[tuple[str, ...]]
    state_parts: ClassVar[tuple[str, ...]]
    local_parts: ClassVar[int]
    gated: ClassVar[bool]

    @property
    def depends_on_length(self) -> bool:
        """Whether the parameters depend on the length of the sequence."""
        return False

    def bias_offset(self, hidden: int, length: int, stream: np.random.RandomState) -> Array:
        """Return what this cell adds to the drawn bias, shape (rows,)."""
        return np.zeros(len(self.row_blocks) * hidden)

    @abstractmethod
    def bounded(self, activation: AbstractActivation) -> bool:
        """Whether every state stays in range whatever the (finite, moderate) weights are."""

    @abstractmethod
    def forward(
        self,
        activation: AbstractActivation,
        local: Array,
        old: Sequence[Array],
        new: Sequence[Array],
        saturation: Array | None,
    ) -> None:
        """Take one time step.

        Parameters
        ----------
        activation : AbstractActivation
            The network's activation.
        local : array of shape (local_parts, case, hidden, batch)
            Its first blocks hold `z`; afterwards all of it holds the local derivatives that
            `complete` and `backward` need.
        old, new : sequences of arrays of shape (case, hidden, batch)
            The state parts before the step, and where to write them.
        saturation : array of shape (case,) or None
            If given, receives the mean over all pre-activations of the derivative of the
            activation that each one meets.
        """

    def complete(self, local: Array, adjoint: Sequence[Array]) -> None:  # noqa: B027  # nothing to add is common
        """Add, in place, what one state part passes to another within the same time step.

        Afterwards ``adjoint[p]`` is the total derivative of the loss by state part `p`.
        """

    @abstractmethod
    def backward(self, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """Write the adjoint of `z` and hand the other state parts back one time step.

        Parameters
        ----------
        local : array of shape (local_parts, case, hidden, batch)
            What `forward` kept.
        adjoint : sequence of arrays of shape (lane, case, hidden, batch)
            Total adjoints of the new state parts. On return ``adjoint[1:]`` are those of the
            *old* parts; ``adjoint[0]`` is left for the engine, which writes ``W^T dz`` there.
        dz : array of shape (block, lane, case, hidden, batch)
            Receives the adjoint of the pre-activations.
        """


registry: Registry[AbstractCell] = Registry("cell", "gradlab.network.cells")
