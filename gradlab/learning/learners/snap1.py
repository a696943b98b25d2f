"""The sparse approximation of real-time recurrent learning that is as cheap as back-propagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
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


@registry.register
@dataclass(frozen=True)
class Snap1(AbstractLearner):
    """Real-time recurrent learning in which a parameter only ever moves its own unit.

    Notation
        ``s`` all state parts, ``theta`` all parameters, ``S = ds/dtheta``, ``J`` the derivative of the
        new state by the old one, ``I`` that by the parameters within the time step, ``M`` the mask that
        keeps of ``S`` the state parts of a unit by the unit's own parameters.

    Equations
        ``S_t = M (J_t S_{t-1} + I_t)``; gradient ``sum_t dL_t/ds_t S_t``

    Only those entries of ``J`` matter that lead from a unit to itself, so the cost of a time step is
    that of the parameters, as for back-propagation. The mask keeps what is not zero after one time
    step, together with the other state parts of the unit (the memory by the parameters of the output
    gate, say). It is exact where units see nobody but themselves. The units of a cell that see each
    other past the matrix (`AbstractCell.partners`) count as one: so it is exact for complex numbers that
    turn, too.

    References
    ----------
    Menick, Elsen, Evci, Osindero, Simonyan and Graves (2020), A practical sparse approximation for
    real time recurrent learning; SnAp-n with n = 1.
    """

    name: ClassVar[str] = "snap1"
    online: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    cells: ClassVar[str] = "all that feed their state back, of one layer in one direction of time"

    def check_network(self, network: NetworkSettings, where: str) -> None:
        """Refuse several layers and directions, and outputs that are fed back."""
        refuse_many_layers(self, network, where)
        if network.cell.feeds_back == "output":
            hint = "A parameter of a readout that is fed back moves every unit within one time step."
            raise UserMistake(
                Problem(
                    where,
                    f"a cell that feeds its state back for {self.name!r}",
                    f"the cell {network.cell.name!r}",
                    hint,
                )
            )

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes of the entries kept, of what they become and of the immediate derivatives."""
        parts, blocks = len(network.cell.state_parts), len(network.cell.row_blocks)
        members = network.cell.partners(network.hidden).shape[1]
        unit_adjoints = 4 * parts * members * network.hidden * (blocks + parts)
        each = (2 * parts * members + 2 * parts + 2) * parameter_count(network, task) + unit_adjoints
        return int(task.batch * np.dtype(network.dtype).itemsize * each)

    def make(self, work: Work) -> Made:
        """Return the gradient, gathered forward in time."""
        walk = Walk(work)
        kept, total, looks = _Kept(walk), Sum(work, walk.entries), frozenset(work.lane.looks)
        for t, local in walk:
            kept.step(local)
            if t in looks:
                adjoint, size, losses = arriving(work, t)
                total.add(t, *kept.gradient(adjoint, size), losses)
        return total.made()


class _Kept:
    """The entries of ``S`` that are kept, ``value * 2 ** exponent``.

    Value is (part, member, case, batch, hidden, each): ``[p, k, ..., j, :]`` is the state part `p` of the
    k-th partner of unit `j` by the parameters of unit `j`.
    """

    def __init__(self, walk: Walk):
        self.walk = walk
        members = walk.partners.shape[1]
        shape = (walk.parts, members, *walk.shape, walk.entries.each)
        self.value, self._next = np.zeros(shape, walk.dtype), np.zeros(shape, walk.dtype)
        self._term = np.empty(shape[2:], walk.dtype)
        self.exponent = np.zeros(walk.shape[:2], dtype=np.int64)
        # W[k-th partner, l-th partner] of every unit: (block, case, member, member, hidden).
        inside = walk.recurrent[:, :, walk.group[:, :, None], walk.group[:, None, :]]
        self._weights = np.ascontiguousarray(inside.transpose(0, 1, 3, 4, 2))
        self._own = walk.member == np.arange(members)[:, None]

    def step(self, local: Local) -> None:
        """Go on by one time step."""
        walk, parts = self.walk, self.walk.parts
        members = walk.partners.shape[1]
        for p in range(parts):
            for k in range(members):
                out = self._next[p, k]
                out[...] = 0.0
                for q in range(parts):
                    for other in range(members):
                        factor = self._jacobian(local, p, k, q, other)
                        if factor is not None:
                            np.multiply(factor[..., None], self.value[q, other], out=self._term)
                            np.add(out, self._term, out=out)
        power = local.immediate_exponent[:, None]
        fresh = np.maximum.reduce([log2_peaks(part) for part in local.immediate]) + power
        carried = self.exponent + local.exponent[:, None]
        moved = np.maximum.reduce([log2_peaks(one) for part in self._next for one in part]) + carried
        exponent = settle(self.exponent, moved, fresh, walk.dtype)
        scale = np.broadcast_to(carried - exponent, (parts, members, *exponent.shape))
        self.value, self._next = shifted(self._next, scale), self.value
        immediate = shifted(local.immediate, np.broadcast_to(power - exponent, (parts, *exponent.shape)))
        for k in range(members):
            if members == 1:
                self.value[:, 0] += immediate
            else:
                self.value[:, k] += np.where(self._own[k][:, None], immediate, 0.0)
        self.exponent = exponent

    def _jacobian(self, local: Local, p: int, k: int, q: int, other: int) -> Array | None:
        """Return, for every unit, part `p` of a partner by the old part `q` of another; None for zero."""
        walk, group = self.walk, self.walk.group
        alone = group.shape[1] == 1
        total: Array | None = None
        if q > 0 or walk.stack.cell.direct:
            past = local.by_old[p, k, q]
            total = past if alone else past[..., group[:, other]]
        if q == 0:
            for by_z, weights in zip(local.by_z[p], self._weights, strict=False):
                by_z = by_z if alone else by_z[..., group[:, k]]
                term = by_z * weights[:, k, other][:, None, :]
                total = term if total is None else total + term
        return total

    def gradient(self, adjoint: Array, size: Array) -> tuple[Array, Array]:
        """Return ``dL/ds S`` summed over samples, (case, parameters), and its powers of two.

        `adjoint` is (case, batch, hidden), by the hidden state; `size`, (case, batch), its powers of two.
        """
        shares = 0.0
        for k, value in enumerate(self.value[0]):
            shares = shares + adjoint[..., self.walk.group[:, k], None] * value
        flat = np.asarray(shares).reshape(*self.walk.shape[:2], -1)
        return over_samples(flat, size + self.exponent)
