"""Truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.checks import integer
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.learning.backward import backpropagate
from gradlab.learning.clipping.off import Off
from gradlab.learning.learners._base import AbstractLearner, Array, Made, Work, registry
from gradlab.learning.workspace import Workspace

if TYPE_CHECKING:
    from gradlab.network.cells import AbstractCell
    from gradlab.network.settings import NetworkSettings

_OFF = Off()
GROUP_BYTES = 1600 << 10  # of adjoints and sums of the chunks that go back together


@registry.register
@dataclass(frozen=True)
class Truncated(AbstractLearner):
    """Go back a fixed number of time steps, every so often.

    Notation
        ``L_t`` loss of time step ``t``, ``s_t`` state after it, ``k1`` `every`, ``k2`` `window`.

    Equations
        After the time steps ``e = k1 - 1, 2 k1 - 1, ...`` and after the last one where the loss looks,
        the losses ``L_t`` with ``e - k1 < t <= e`` that have not been counted yet are propagated back
        over the time steps ``e, e - 1, ..., e - k2 + 1``; what would go on to ``s_{e - k2}`` is left
        out. The gradient is the sum over all ``e``.

    In a deep network the adjoints of every layer end at the same time step.

    Parameters
    ----------
    window : int
        How many time steps are gone back over, at least `every`: with fewer some losses would not be
        counted. From the length of the sequence on the gradient is that of full back-propagation.
    every : int
        How many time steps lie between one time and the next.

    References
    ----------
    Williams and Peng (1990), An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories: BPTT(h; h') with h the window and h' every. Sutskever (2013), Training
    recurrent neural networks, section 2.8.6, for the names k1 and k2.
    """

    name: ClassVar[str] = "truncated"
    online: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    cells: ClassVar[str] = "all, in one direction of time"

    window: int
    every: int = 1

    def __post_init__(self) -> None:
        together(
            lambda: integer("window", self.window, at_least=1),
            lambda: integer("every", self.every, at_least=1),
        )
        if self.every > self.window:
            hint = "The losses of all time steps since the last time must lie within the window."
            raise UserMistake(Problem("every", f"at most the window, {self.window}", str(self.every), hint))

    def check_network(self, network: NetworkSettings, where: str) -> None:
        """Refuse bidirectional networks: their second direction begins at the end of the sequence."""
        if network.bidirectional:
            hint = "The reverse direction has seen the end of the sequence before the first loss."
            raise UserMistake(
                Problem(where, "a learner for both directions of time, such as 'bptt'", self.name, hint)
            )

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes of the chunks that go back together."""
        cell, n, size = network.cell, network.hidden, np.dtype(network.dtype).itemsize
        widest = n + max(task.features, n if network.layers > 1 else 0) + 1
        one = network.layers * _chunk_bytes(cell, n, task.batch, widest, size)
        if network.layers > 1:
            one += network.layers * _handed_bytes(n, task.batch, task.lags, size)
        sums = 2 * network.layers * len(cell.row_blocks) * n * widest * size
        return int(max(one, min(GROUP_BYTES, one * self._most())) + sums)

    def make(self, work: Work) -> Made:
        """Return the sum over chunks of time steps, a few of which go back together.

        How many those are changes no bit: every chunk is a lane with sums of its own.
        """
        chunks = self.chunks(work.lane.looks)
        group = max(1, min(self._most(), GROUP_BYTES // _bytes_at_work(work)))
        workspace, total = Workspace(), None
        for first in range(0, len(chunks), group):
            lanes = [
                replace(work.lane, looks=looks, earliest=earliest, clip=_OFF, views=(_OFF,))
                for looks, earliest in chunks[first : first + group]
            ]
            back = backpropagate(work.layers, lanes, (), gradients=True, workspace=workspace)
            for (gradient,) in back.gradients:
                # The sums stand in buffers that the next group takes again.
                total = gradient.map(_copied) if total is None else total.plus(gradient)
        assert total is not None, "a loss looks somewhere"
        return Made(total)

    def chunks(self, looks: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return, latest first, the looks of every chunk and the last time step it goes back to."""
        ends: dict[int, list[int]] = {}
        for t in looks:
            end = min((t // self.every + 1) * self.every, looks[-1] + 1)
            ends.setdefault(end, []).append(t)
        return [(tuple(own), max(end - self.window, 0)) for end, own in sorted(ends.items(), reverse=True)]

    def _most(self) -> int:
        """Return how many chunks may go back together: about as many as overlap anyway."""
        return -(-self.window // self.every)


def _bytes_at_work(work: Work) -> int:
    """Return the bytes of one chunk of all cases."""
    networks, size = work.layers.networks, work.layers.networks.dtype.itemsize
    layers = [directions[0].affine.shape[2] for directions in networks.weights]
    one = sum(_chunk_bytes(networks.cell, networks.hidden, networks.batch, width, size) for width in layers)
    if len(layers) > 1:
        steps = work.layers.top[0].segment
        one += len(layers) * _handed_bytes(networks.hidden, networks.batch, steps, size)
    return int(networks.cases * one)


def _chunk_bytes(cell: AbstractCell, hidden: int, batch: int, width: int, size: int) -> int:
    """Return the bytes of the adjoints and the sums of a layer of one chunk of one case."""
    blocks, parts = len(cell.row_blocks), len(cell.state_parts)
    return hidden * size * (batch * (parts + 1 + 2 * blocks) + blocks * width)


def _handed_bytes(hidden: int, batch: int, steps: int, size: int) -> int:
    """Return the bytes of what one layer of one case hands down to the next over a stretch of tape."""
    return steps * batch * (hidden * size + 8)


def _copied(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
    return mantissa.copy(), exponent.copy()
