"""The gated recurrent unit (Cho and others 2014), in PyTorch's convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.scratch import scratch
from gradlab.network.activations import AbstractActivation
from gradlab.network.activations.logistic import Logistic
from gradlab.network.cells._base import AbstractCell, Array, registry

_logistic = Logistic()


@registry.register
@dataclass(frozen=True)
class Gru(AbstractCell):
    """The state itself is the memory: an update gate keeps it, a reset gate hides it.

    Notation
        ``h'``, ``h`` old and new state; ``s`` the logistic function; ``phi`` the activation (tanh
        by default) of the candidate ``g``; ``z_r z_u a q`` the blocks of `z`; ``r = s(z_r)`` the
        reset gate, ``u = s(z_u)`` the update gate (1 keeps); ``d`` an adjoint.

    Equations
        forward   ``z_r, z_u = W h' + U x + b``, ``a = W_g h' + b_hg`` (no inputs),
                  ``q = U_g x + b_g`` (no state);
                  ``g = phi(q + r a)``, ``h = (1-u) g + u h'``
        backward  ``dz_r = a s'(z_r) (1-u) phi' dh``, ``dz_u = (h' - g) s'(z_u) dh``,
                  ``da = r (1-u) phi' dh``, ``dq = (1-u) phi' dh`` with ``phi'`` at ``q + r a``;
                  ``dh' = u dh + W^T dz``

    Kept for backward: the four factors of ``dz``, then ``u``.

    Notes
    -----
    The reset gate multiplies the product ``W_g h'``, as in PyTorch, not the state before the product
    as in the paper. Saturation is the mean over the two gates and the candidate: ``a`` and ``q`` are
    two parts of one pre-activation.

    References
    ----------
    Cho and others (2014), Learning phrase representations using RNN encoder-decoder for statistical
    machine translation. PyTorch's ``nn.GRU``.
    """

    name: ClassVar[str] = "gru"
    row_blocks: ClassVar[tuple[str, ...]] = (
        "reset_gate",
        "update_gate",
        "candidate_recurrent",
        "candidate",
    )
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 5
    gated: ClassVar[bool] = True
    memory: ClassVar[int | None] = 0
    recurrent: ClassVar[int | None] = 3
    fed: ClassVar[tuple[bool, ...] | None] = (True, True, False, True)
    direct: ClassVar[bool] = True

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
        """Take one step; see the equations of the class."""
        reset, update, product, candidate, u = local
        state, before = new[0], old[0]
        r, g, rest = (scratch(name, state.shape, state.dtype) for name in ("reset", "g", "rest"))
        _logistic.evaluate(reset, r, reset)
        _logistic.gate(update, u, rest, update)
        np.multiply(r, product, out=g)
        np.add(candidate, g, out=candidate)
        activation.evaluate(candidate, g, candidate)
        if saturation is not None:
            each = [part.reshape(len(saturation), -1).mean(axis=-1) for part in (reset, update, candidate)]
            np.mean(each, axis=0, out=saturation)
        np.multiply(rest, g, out=state)
        np.subtract(before, g, out=g)
        np.multiply(update, g, out=update)
        np.multiply(u, before, out=g)
        np.add(state, g, out=state)
        np.multiply(candidate, rest, out=candidate)
        np.multiply(product, reset, out=reset)
        np.multiply(reset, candidate, out=reset)
        np.multiply(r, candidate, out=product)

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz`` of the four blocks, then ``u dh``."""
        dh = adjoint[0]
        np.multiply(local[:4, None], dh, out=dz[:4])
        np.multiply(local[4], dh, out=dh)

    def carry(self, local: Array) -> Array:
        """Return ``u``."""
        return np.asarray(local[4])
