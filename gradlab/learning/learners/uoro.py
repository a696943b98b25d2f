"""Unbiased online recurrent optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core import streams
from gradlab.core.checks import integer
from gradlab.learning.learners._base import (
    AbstractLearner,
    Array,
    Made,
    Work,
    refuse_many_layers,
    registry,
)
from gradlab.learning.online import Local, Walk, parameter_count, shifted
from gradlab.learning.shares import Sum, arriving, log2_norms, over_samples

if TYPE_CHECKING:
    from gradlab.network.settings import NetworkSettings


@registry.register
@dataclass(frozen=True)
class Uoro(AbstractLearner):
    """Real-time recurrent learning with the sensitivities replaced by a random matrix of rank one.

    Notation
        ``s`` all state parts, ``theta`` all parameters, ``S = ds/dtheta``, ``J`` the derivative of the
        new state by the old one, ``I`` that by the parameters within the time step, ``v`` a vector of
        independent random signs, ``a`` (states) and ``b`` (parameters) the factors.

    Equations
        ``a_t = r0 J_t a_{t-1} + r1 v_t``, ``b_t = b_{t-1} / r0 + I_t^T v_t / r1``;
        ``r0 = sqrt(|b_{t-1}| / |J_t a_{t-1}|)``, ``r1 = sqrt(|I_t^T v_t| / |v_t|)``;
        gradient ``sum_t (dL_t/ds_t a_t) b_t``

    The mean of ``a b^T`` over the signs is ``S``, so that of the gradient is the exact one; ``r0`` and
    ``r1`` keep its variance small. Where a term is zero, it is left out together with its factor.
    The parameters are the entries of what is multiplied: of ``A - A^T`` and of ``U E`` where a cell ties
    its weights or reads through an embedding. Every sample has factors and signs of its own. Their power
    of two is common to ``a`` and ``b``, which ``r0`` and ``r1`` make equally long.

    Parameters
    ----------
    draws : int
        How many independent gradients are made along the same trajectory. The first one is *the*
        gradient; all together show its bias and its spread.

    References
    ----------
    Tallec and Ollivier (2018), Unbiased online recurrent optimization; algorithm 1.
    """

    name: ClassVar[str] = "uoro"
    online: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    cells: ClassVar[str] = "all, of one layer in one direction of time"

    draws: int = 8

    def __post_init__(self) -> None:
        integer("draws", self.draws, at_least=1)

    def check_network(self, network: NetworkSettings, where: str) -> None:
        """Refuse several layers and directions."""
        refuse_many_layers(self, network, where)

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes of the factors, of the gradients drawn and of the immediate derivatives."""
        parts, blocks = len(network.cell.state_parts), len(network.cell.row_blocks)
        members = network.cell.partners(network.hidden).shape[1]
        count, states = parameter_count(network, task), parts * network.hidden
        each = self.draws * (count + states * (1 + streams.CHUNK // 8)) + (2 * parts + 4) * count
        each += 4 * states * members * (blocks + parts)
        kept = 3 * self.draws * (count + task.n_outputs * (network.hidden + 1))
        return int(np.dtype(network.dtype).itemsize * (task.batch * each + kept))

    def make(self, work: Work) -> Made:
        """Return the gradients drawn, gathered forward in time."""
        walk = Walk(work)
        drawn = [(_Factors(walk, number), Sum(work, walk.entries)) for number in range(self.draws)]
        looks = frozenset(work.lane.looks)
        for t, local in walk:
            by_readout = local.by_readout() if walk.entries.outputs else None
            for factors, _ in drawn:
                factors.step(t, local, by_readout)
            if t in looks:
                adjoint, size, losses = arriving(work, t)
                for factors, total in drawn:
                    total.add(t, *factors.gradient(adjoint, size), losses)
        made = [total.made() for _, total in drawn]
        return Made(made[0].gradient, tuple(one.gradient for one in made), made[0].online)


class _Factors:
    """``a b^T``, of every sample: ``states * 2 ** exponent`` and ``parameters * 2 ** exponent``.

    States is (case, batch, states), part after part; parameters is (case, batch, parameters).
    """

    def __init__(self, walk: Walk, number: int):
        self.walk, self._number = walk, number
        cases, batch, n = walk.shape
        self.states = np.zeros((cases, batch, walk.parts * n), walk.dtype)
        self.parameters = np.zeros((cases, batch, walk.entries.size), walk.dtype)
        self.exponent = np.zeros((cases, batch), dtype=np.int64)
        self._chunk = np.empty(0)

    def step(self, t: int, local: Local, by_readout: Array | None) -> None:
        """Go on by one time step."""
        signs = self._signs(t)
        carried = push(self.walk, local, self.states)
        fresh = self._fresh(local, by_readout, signs)
        carried_power = self.exponent + local.exponent[:, None]
        fresh_power = np.broadcast_to(local.immediate_exponent[:, None], carried_power.shape)
        sizes = (
            log2_norms(carried) + carried_power,
            log2_norms(self.parameters) + self.exponent,
            log2_norms(signs),
            log2_norms(fresh) + fresh_power,
        )
        old, new = _Balance(sizes[0], sizes[1]), _Balance(sizes[2], sizes[3])
        top = np.maximum(old.size, new.size)
        exponent = np.where(np.isfinite(top), np.floor(np.where(np.isfinite(top), top, 0.0)), 0.0)
        whole = exponent.astype(np.int64)
        self.states = old.left(carried, carried_power - whole) + new.left(signs, -whole)
        self.parameters = old.right(self.parameters, self.exponent - whole)
        self.parameters += new.right(fresh, fresh_power - whole)
        self.exponent = whole

    def _signs(self, t: int) -> Array:
        """Return the random signs of a time step, (case, batch, states)."""
        start = t - t % streams.CHUNK
        if t == start:
            self._chunk = self._draw_signs(start)
        return self._chunk[:, t - start].astype(self.walk.dtype)

    def _draw_signs(self, start: int) -> Array:
        """Return the random signs of `streams.CHUNK` time steps, (case, time, batch, states)."""
        _, batch, n = self.walk.shape
        states, stop = self.walk.parts * n, start + streams.CHUNK

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            return (2 * stream.randint(2, size=(steps, batch, states)) - 1).astype(np.int8)

        role, keys = "uoro signs", self.walk.work.keys
        each = [
            streams.in_time(draw, start, stop, seed, role, self._number, batch, states, replicate)
            for seed, replicate in keys
        ]
        return np.stack(each)

    def _fresh(self, local: Local, by_readout: Array | None, signs: Array) -> Array:
        """Return ``I^T v``, (case, batch, parameters)."""
        walk, (cases, batch, n) = self.walk, self.walk.shape
        total = np.empty((cases, batch, walk.entries.size), walk.dtype)
        by_unit = total[..., : walk.entries.own].reshape(cases, batch, n, walk.entries.each)
        np.multiply(local.immediate[0], signs[..., :n, None], out=by_unit)
        for p in range(1, walk.parts):
            by_unit += local.immediate[p] * signs[..., p * n : (p + 1) * n, None]
        rest = total[..., walk.entries.own :]
        if by_readout is None:
            rest[...] = 0.0
        else:
            flat = by_readout.reshape(cases, batch, n, -1)
            np.matmul(signs[:, :, None, :n], flat, out=rest[:, :, None])
        return total

    def gradient(self, adjoint: Array, size: Array) -> tuple[Array, Array]:
        """Return ``(dL/ds a) b`` summed over samples, (case, parameters), and its powers of two.

        `adjoint` is (case, batch, hidden), by the hidden state; `size`, (case, batch), its powers of two.
        """
        n = self.walk.shape[2]
        along = np.vecdot(adjoint, self.states[..., :n])
        return over_samples(along[..., None] * self.parameters, size + 2 * self.exponent)


class _Balance:
    """The factor ``r`` by which one vector grows and another shrinks so that both get the same length.

    Parameters
    ----------
    left, right : arrays of shape (case, batch)
        log2 of their lengths; where one is zero both are left out.

    Attributes
    ----------
    size : array of shape (case, batch)
        log2 of the length of both then, -inf where they are left out.
    """

    def __init__(self, left: Array, right: Array):
        alive = np.isfinite(left) & np.isfinite(right)
        log2 = np.where(alive, 0.5 * (np.where(alive, right, 0.0) - np.where(alive, left, 0.0)), 0.0)
        power = np.floor(log2)
        factor = np.exp2(log2 - power)
        self._power = power.astype(np.int64)
        self._left, self._right = np.where(alive, factor, 0.0), np.where(alive, 1.0 / factor, 0.0)
        self.size = np.where(alive, 0.5 * (np.where(alive, left, 0.0) + np.where(alive, right, 0.0)), -np.inf)

    def left(self, vector: Array, power: Array) -> Array:
        """Return ``r vector * 2 ** power``."""
        return shifted(vector * self._left.astype(vector.dtype)[..., None], power + self._power)

    def right(self, vector: Array, power: Array) -> Array:
        """Return ``vector / r * 2 ** power``."""
        return shifted(vector * self._right.astype(vector.dtype)[..., None], power - self._power)


def push(walk: Walk, local: Local, states: Array) -> Array:
    """Return ``J s`` without its power of two `local.exponent`; both (case, batch, states)."""
    n = walk.shape[2]
    old = [states[..., q * n : (q + 1) * n] for q in range(walk.parts)]
    out = np.zeros_like(states)
    through = None
    if len(walk.recurrent):
        through = _through_weights(walk, local, np.ascontiguousarray(old[0]))
    for p in range(walk.parts):
        own = out[..., p * n : (p + 1) * n]
        if through is not None:
            own += (local.by_z[p][: len(through)] * through).sum(axis=0)
        for q in range(0 if walk.stack.cell.direct else 1, walk.parts):
            for k, members in enumerate(walk.partners.T):
                moved = local.by_old[p, k, q] * old[q]
                own[..., members] += moved[..., walk.partners].sum(axis=-1)
    return out


def _through_weights(walk: Walk, local: Local, state: Array) -> Array:
    """Return what the old hidden state does to the pre-activations, (block, case, batch, hidden)."""
    if walk.stack.feedback is None:
        return np.asarray(np.matmul(state, walk.recurrent.transpose(0, 1, 3, 2)))
    if local.by_output is None:
        return np.zeros((1, *state.shape), state.dtype)
    outputs = np.matmul(state, walk.stack.feedback.readout[:, :, :-1].transpose(0, 2, 1))
    return np.asarray(np.matmul(local.by_output, outputs[..., None])[..., 0])
