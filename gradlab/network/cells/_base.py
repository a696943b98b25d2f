"""The contract of a cell: the elementwise part of a recurrent network, and nothing else.

The engine computes ``z = [W U b] [h; x; 1]`` for a stack of cases and hands `z` to the cell. States
are ``(case, hidden, batch)``; what has several blocks of `hidden` rows has the block in front, so
that every block is one contiguous array: ``(block, case, hidden, batch)``. Backward, lanes stand
before the case: ``(lane, case, hidden, batch)`` and ``(block, lane, case, hidden, batch)``.

Most cells are that and no more. What some need besides, each says in a claim: blocks of `z` that see
only the state or only the inputs (`recurrent`, `fed`); one number a unit that multiplies elementwise
(`diagonals`); a state that is passed on past the matrix (`direct`); matrices of which only some
entries, or some combinations, are parameters (`mask`, `effective`, `tie`); an output instead of a
state that is fed back (`feeds_back`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import Problem
from gradlab.core.registry import Registry
from gradlab.network.activations import AbstractActivation
from gradlab.network.spectra import AbstractSpectrum

Array = NDArray[Any]


class AbstractCell(ABC):
    """The elementwise algebra of one kind of recurrent network.

    Claims: `row_blocks` names the blocks of `hidden` rows of `z`, in order; `state_parts` names
    what is carried from one time step to the next, the hidden state first (only it is multiplied
    by recurrent weights); `local_parts` is how many blocks of `hidden` rows forward keeps for
    backward, the first ``len(row_blocks)`` of them in place of `z`; `gated` says that it has a
    memory protected by gates, and `memory` which state part that is.
    """

    name: ClassVar[str]
    row_blocks: ClassVar[tuple[str, ...]]
    state_parts: ClassVar[tuple[str, ...]]
    local_parts: ClassVar[int]
    gated: ClassVar[bool]
    memory: ClassVar[int | None] = None
    #: How many row blocks, the first ones, have recurrent weights; None: all.
    recurrent: ClassVar[int | None] = None
    #: Which row blocks have input weights; None: all.
    fed: ClassVar[tuple[bool, ...] | None] = None
    #: Names of parameters with one number a unit: ``(case, hidden, 1)`` each.
    diagonals: ClassVar[tuple[str, ...]] = ()
    #: Whether the old state reaches the new one elementwise, beside the recurrent weights.
    direct: ClassVar[bool] = False
    #: What the recurrent weights multiply: the hidden state, or the readout's output.
    feeds_back: ClassVar[Literal["state", "output"]] = "state"

    @property
    def recurrent_blocks(self) -> tuple[str, ...]:
        """The row blocks that have recurrent weights."""
        return self.row_blocks[: self.recurrent]

    @property
    def drawn_blocks(self) -> tuple[str, ...]:
        """The row blocks that a matrix is drawn for: those with recurrent weights.

        For a cell without any, it is the first one: its matrix stands for the cell's eigenvalues.
        """
        return self.recurrent_blocks or self.row_blocks[:1]

    @property
    def fed_blocks(self) -> tuple[bool, ...]:
        """Whether each row block has input weights."""
        return self.fed or (True,) * len(self.row_blocks)

    @property
    def depends_on_length(self) -> bool:
        """Whether the parameters depend on the length of the sequence."""
        return False

    @property
    def cycle(self) -> int:
        """After how many time steps it does the same again: a clock that a sequence must be in step with."""
        return 1

    def check_size(self, hidden: int) -> None:  # noqa: B027  # most cells come in every size
        """Raise UserMistake if there is no such cell of `hidden` units."""

    def unfit(self, spectra: Sequence[AbstractSpectrum]) -> list[Problem]:
        """Return what is wrong with the families of the recurrent matrices for this cell."""
        return []

    def bias_offset(self, hidden: int, length: int, stream: np.random.RandomState) -> Array:
        """Return what this cell adds to the drawn bias, shape (rows,)."""
        return np.zeros(len(self.row_blocks) * hidden)

    def mask(self, hidden: int) -> Array | None:
        """Return which recurrent weights there are, boolean (hidden, hidden); None: all.

        The matrix drawn has zeros elsewhere before it is scaled, and the gradient afterwards.
        """
        return None

    def effective(self, matrix: Array) -> Array:
        """Return what multiplies the state, made of the matrix drawn; shape (hidden, hidden)."""
        return matrix

    def tie(self, gradient: Array) -> Array:
        """Return the gradient by the matrix drawn, given that by the `effective` one.

        Both of shape (..., hidden, hidden); the transpose of the linear part of `effective`.
        """
        return gradient

    def partners(self, hidden: int) -> Array:
        """Return the groups of units that see each other's old states elementwise, integer (groups, size).

        Within a time step a pre-activation moves the state of its own unit alone. What old states do
        past the matrix stays within such a group; in most cells a unit is alone in its own.
        """
        return np.arange(hidden)[:, None]

    def draw_diagonals(self, drawn: Array | None, hidden: int, stream: np.random.RandomState) -> Array:
        """Return the elementwise parameters, shape (diagonals, hidden).

        Parameters
        ----------
        drawn : array of shape (hidden, hidden) or None
            The matrix of the spectrum family, for a cell without recurrent row blocks.
        hidden : int
        stream : RandomState
        """
        return np.zeros((len(self.diagonals), hidden))

    def input_scale(self, diagonals: Array) -> Array | None:
        """Return what multiplies the rows of the drawn input weights, shape (rows,); None for ones."""
        return None

    def bounded(self, activation: AbstractActivation) -> bool:
        """Whether every state stays in range whatever the (finite, moderate) weights are.

        In most cells it does where the activation is bounded: a state is an activation, a mean of
        activations, or a memory that grows by at most one bound a step.
        """
        return activation.bounded

    @abstractmethod
    def forward(
        self,
        activation: AbstractActivation,
        t: int,
        diagonal: Array,
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
        t : int
            The time step, from 0.
        diagonal : array of shape (diagonals, case, hidden, 1)
            The elementwise parameters.
        local : array of shape (local_parts, case, hidden, batch)
            Its first blocks hold `z`; afterwards all of it holds the local derivatives that
            `complete` and `backward` need.
        old, new : sequences of arrays of shape (case, hidden, batch)
            The state parts before the step, and where to write them.
        saturation : array of shape (case,) or None
            If given, receives the mean over all pre-activations of the derivative of the
            activation that each one meets.
        """

    def complete(  # noqa: B027  # nothing to add is common
        self, diagonal: Array, local: Array, adjoint: Sequence[Array]
    ) -> None:
        """Add, in place, what one state part passes to another within the same time step.

        Afterwards ``adjoint[p]`` is the total derivative of the loss by state part `p`.
        """

    @abstractmethod
    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """Write the adjoint of `z` and hand the state parts back one time step.

        Parameters
        ----------
        t : int
            The time step, from 0.
        diagonal : array of shape (diagonals, case, hidden, 1)
            The elementwise parameters.
        local : array of shape (local_parts, case, hidden, batch)
            What `forward` kept.
        adjoint : sequence of arrays of shape (lane, case, hidden, batch)
            Total adjoints of the new state parts. On return ``adjoint[1:]`` are those of the
            *old* parts; ``adjoint[0]`` is what the old hidden state receives elementwise where the
            cell is `direct`, to which the engine adds ``W^T dz``, and anything where it is not.
        dz : array of shape (block, lane, case, hidden, batch)
            Receives the adjoint of the pre-activations.
        """

    def diagonal_gradient(self, local: Array, dz: Array, out: Array) -> None:
        """Write each sample's gradient by the elementwise parameters at this time step.

        Parameters
        ----------
        local : array of shape (local_parts, case, hidden, batch)
            What `forward` kept.
        dz : array of shape (block, lane, case, hidden, batch)
            What `backward` wrote.
        out : array of shape (diagonals, lane, case, hidden, batch)
        """
        raise NotImplementedError(f"{self.name} has no diagonals")

    def carry(self, local: Array) -> Array:
        """Return what the `memory` is multiplied with on its way back, (case, hidden, batch).

        The elementwise factor of the path that goes through the memory alone; gated cells only.
        """
        raise NotImplementedError(f"{self.name} is not gated")


registry: Registry[AbstractCell] = Registry("cell", "gradlab.network.cells")
