"""Real-time recurrent learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.products import product
from gradlab.core.scaled import DEAD, window
from gradlab.learning.learners._base import (
    AbstractLearner,
    Array,
    Made,
    Work,
    refuse_many_layers,
    registry,
)
from gradlab.learning.online import Local, Walk, parameter_count, shifted
from gradlab.learning.shares import Sum, arriving, log2_peaks, over_samples, settle

if TYPE_CHECKING:
    from gradlab.network.settings import NetworkSettings

LOOK = 16  # time steps between looks at how large sensitivities are


@registry.register
@dataclass(frozen=True)
class Rtrl(AbstractLearner):
    """Carry the derivative of the state by every parameter forward in time: exact, and never back.

    Notation
        ``s`` all state parts of the network, ``theta`` all parameters, ``S = ds/dtheta`` the
        sensitivities, ``J`` the derivative of the new state by the old one, ``I`` that by the
        parameters within the time step, ``dL/ds`` the derivative of the loss of this time step alone.

    Equations
        ``S_t = J_t S_{t-1} + I_t``, ``S_{-1} = 0``; gradient ``sum_t dL_t/ds_t S_t``

    In a network that feeds its output back the parameters of the readout act through the state too.
    The product ``J S`` costs ``states^2 * parameters`` a sample and time step; ``I`` moves the rows of
    a unit by that unit's own parameters and costs next to nothing. Every sample's ``S`` has a power of
    two of its own.

    References
    ----------
    Williams and Zipser (1989), A learning algorithm for continually running fully recurrent neural
    networks.
    """

    name: ClassVar[str] = "rtrl"
    online: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    cells: ClassVar[str] = "all, of one layer in one direction of time"

    def check_network(self, network: NetworkSettings, where: str) -> None:
        """Refuse several layers and directions."""
        refuse_many_layers(self, network, where)

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes of the sensitivities, before and after a time step."""
        states = network.hidden * len(network.cell.state_parts)
        size = np.dtype(network.dtype).itemsize
        blocks = len(network.cell.row_blocks)
        unit_adjoints = 4 * network.hidden * len(network.cell.state_parts) * (blocks + 2)
        each = 2 * states * parameter_count(network, task) + 2 * states**2 + unit_adjoints
        return int(task.batch * size * each)

    def make(self, work: Work) -> Made:
        """Return the gradient, gathered forward in time."""
        walk = Walk(work)
        sensitivities, total = _Sensitivities(walk), Sum(work, walk.entries)
        looks = frozenset(work.lane.looks)
        for t, local in walk:
            sensitivities.step(t, local)
            if t in looks:
                adjoint, size, losses = arriving(work, t)
                total.add(t, *sensitivities.gradient(adjoint, size), losses)
        return total.made()


class _Sensitivities:
    """``S`` of every sample, ``value * 2 ** exponent``; value (case, batch, states, parameters)."""

    def __init__(self, walk: Walk):
        self.walk = walk
        cases, batch, n = walk.shape
        states, size = walk.parts * n, walk.entries.size
        self.value, self._next = np.zeros((2, cases, batch, states, size), walk.dtype)
        self.exponent = np.zeros((cases, batch), dtype=np.int64)
        self._jacobian = np.zeros((cases, batch, walk.parts, n, walk.parts, n), walk.dtype)
        self._size = np.full((cases, batch), DEAD, dtype=np.int64)  # a bound on log2 of the largest entry

    def step(self, t: int, local: Local) -> None:
        """Go on by time step `t`."""
        walk = self.walk
        immediate, power = local.immediate, local.immediate_exponent[:, None]
        fresh = np.maximum.reduce([log2_peaks(part) for part in immediate]) + power
        moved, carried = self._size, self.exponent
        if t > 0:
            moved, carried = self._multiply(t, local)
        through_output = local.by_readout() if walk.entries.outputs else None
        if through_output is not None:
            fresh = np.maximum(fresh, log2_peaks(through_output) + power)
        exponent = settle(self.exponent, moved, fresh, walk.dtype)
        if (carried != exponent).any():
            self._next = shifted(self._next, carried - exponent)
        self.value, self._next = self._next, self.value
        # Only what a unit's own parameters do to that unit: the diagonal over (unit, unit of the parameter).
        cases, batch, n = walk.shape
        own = self.value[..., : walk.entries.own].reshape(cases, batch, walk.parts, n, n, -1)
        diagonal = np.einsum("cbpiik->pcbik", own)
        diagonal += shifted(immediate, np.broadcast_to(power - exponent, (walk.parts, cases, batch)))
        if through_output is not None:
            rest = self.value[:, :, :n, walk.entries.own :].reshape(through_output.shape)
            rest += shifted(through_output, power - exponent)
        self.exponent, self._size = exponent, np.maximum(moved, fresh) + 1

    def _multiply(self, t: int, local: Local) -> tuple[Array, Array]:
        """Write ``J S`` into the next value; return a bound on log2 of its size, and its powers of two.

        The largest entry is looked for where the bound comes near the end of the range, and now and then.
        """
        jacobian, power = self._jacobian_of(local)
        product(jacobian, self.value, self._next)
        size = self._size + power + np.frexp(np.abs(jacobian).sum(axis=-1).max(axis=-1))[1]
        power = power + self.exponent
        far = np.abs(size - self.exponent) > window(self.walk.dtype).adjoint
        if t % LOOK == 0 or far.any():
            exact = log2_peaks(self._next) + power
            size = exact if t % LOOK == 0 else np.where(far, exact, size)
        return size, power

    def _jacobian_of(self, local: Local) -> tuple[Array, Array]:
        """Return ``J`` of every sample, (case, batch, states, states), and its powers of two."""
        walk, jacobian = self.walk, self._jacobian
        cell, partners = walk.stack.cell, walk.partners
        through = local.through_weights(walk.recurrent, walk.stack.feedback)
        for p in range(walk.parts):
            for block, weights in enumerate(through):
                by_z = local.by_z[p, block][..., None]
                if block == 0:
                    np.multiply(by_z, weights, out=jacobian[:, :, p, :, 0])
                else:
                    jacobian[:, :, p, :, 0] += by_z * weights
            for q in range(0 if cell.direct else 1, walk.parts):
                for k in range(partners.shape[1]):
                    for other in partners.T:
                        at = jacobian[:, :, p, :, q]
                        past = local.by_old[p, k, q][:, :, other]
                        if q == 0 and len(through):
                            at[:, :, partners[:, k], other] += past
                        else:
                            at[:, :, partners[:, k], other] = past
        cases, batch, n = walk.shape
        states = walk.parts * n
        whole = jacobian.reshape(cases, batch, states, states)
        power = log2_peaks(whole)
        power[np.abs(power) < window(walk.dtype).product] = 0
        power[power <= DEAD // 2] = 0
        return shifted(whole, -power), power + local.exponent[:, None]

    def gradient(self, adjoint: Array, size: Array) -> tuple[Array, Array]:
        """Return ``dL/ds S`` summed over samples, (case, parameters), and its powers of two.

        `adjoint` is (case, batch, hidden), by the hidden state; `size`, (case, batch), its powers of two.
        """
        n = self.walk.shape[2]
        shares = np.matmul(adjoint[:, :, None, :], self.value[:, :, :n])[:, :, 0]
        return over_samples(shares, size + self.exponent)
