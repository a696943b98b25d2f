"""The long short-term memory with forget gates (Hochreiter and Schmidhuber 1997; Gers 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.activations import AbstractActivation
from gradlab.network.activations.logistic import Logistic
from gradlab.network.cells._base import AbstractCell, Array, registry

_logistic = Logistic()


@registry.register
@dataclass(frozen=True)
class Lstm(AbstractCell):
    """Memory behind an input, a forget and an output gate, in PyTorch's block order.

    Notation
        ``c'``, ``c`` old and new memory; ``s`` the logistic function; ``phi`` the activation
        (tanh by default) of candidate and output; ``i f g o`` the activated blocks of `z`.

    Equations
        forward   ``z = W h' + U x + b`` in blocks i, f, g, o;
                  ``c = s(f) c' + s(i) phi(g)``, ``h = s(o) phi(c)``
        complete  ``dc += s(o) phi'(c) dh``
        backward  ``dz_i = phi(g) s'(i) dc``, ``dz_f = c' s'(f) dc``, ``dz_g = s(i) phi'(g) dc``,
                  ``dz_o = phi(c) s'(o) dh``, ``dc' = s(f) dc``, ``dh' = W^T dz``

    Kept for backward: the four factors of ``dz``, then ``s(o) phi'(c)`` and ``s(f)``.

    Parameters
    ----------
    forget_bias : float
        Added to the drawn bias of the forget gate.
    chrono : bool
        Chrono initialisation (Tallec and Ollivier 2018): forget bias ``log u`` with ``u`` uniform
        in [1, length - 1], input bias its negative; replaces `forget_bias`.
    """

    name: ClassVar[str] = "lstm"
    row_blocks: ClassVar[tuple[str, ...]] = ("input_gate", "forget_gate", "candidate", "output_gate")
    state_parts: ClassVar[tuple[str, ...]] = ("state", "memory")
    local_parts: ClassVar[int] = 6
    gated: ClassVar[bool] = True

    forget_bias: float = 0.0
    chrono: bool = False

    def __post_init__(self) -> None:
        number("forget_bias", self.forget_bias)

    @property
    def depends_on_length(self) -> bool:
        """Only chrono initialisation looks at the length."""
        return self.chrono

    def bias_offset(self, hidden: int, length: int, stream: np.random.RandomState) -> Array:
        """Return the forget bias, or the chrono biases, in block order; shape (4 * hidden,)."""
        offset = np.zeros((4, hidden))
        if self.chrono:
            offset[1] = np.log1p(stream.uniform(size=hidden) * max(length - 2, 0))
            offset[0] = -offset[1]
        else:
            offset[1] = self.forget_bias
        return offset.reshape(-1)

    def bounded(self, activation: AbstractActivation) -> bool:
        """Bounded with a bounded activation: the memory then grows by at most one bound a step."""
        return activation.bounded

    def forward(
        self,
        activation: AbstractActivation,
        local: Array,
        old: Sequence[Array],
        new: Sequence[Array],
        saturation: Array | None,
    ) -> None:
        """Take one step; see the equations of the class."""
        n = new[0].shape[1]
        gates, candidate, output = local[:, : 2 * n], local[:, 2 * n : 3 * n], local[:, 3 * n : 4 * n]
        output_slope, forget = local[:, 4 * n : 5 * n], local[:, 5 * n :]
        memory = new[1]
        shape = memory.shape
        s_gates = np.empty((shape[0], 2 * n, shape[2]), dtype=local.dtype)
        g, s_output, phi_c = (np.empty(shape, dtype=local.dtype) for _ in range(3))
        _logistic.evaluate(gates, s_gates, gates)
        activation.evaluate(candidate, g, candidate)
        _logistic.evaluate(output, s_output, output)
        if saturation is not None:
            np.mean(local[:, : 4 * n], axis=(1, 2), out=saturation)
        s_input, s_forget = s_gates[:, :n], s_gates[:, n:]
        np.multiply(s_input, g, out=memory)
        np.copyto(forget, s_forget)
        np.multiply(s_forget, old[1], out=s_forget)
        np.add(memory, s_forget, out=memory)
        activation.evaluate(memory, phi_c, output_slope)
        np.multiply(s_output, phi_c, out=new[0])
        gates[:, :n] *= g
        gates[:, n:] *= old[1]
        candidate *= s_input
        output *= phi_c
        output_slope *= s_output

    def complete(self, local: Array, adjoint: Sequence[Array]) -> None:
        """``dc += s(o) phi'(c) dh``."""
        n = adjoint[0].shape[-2]
        adjoint[1][...] += local[:, 4 * n : 5 * n] * adjoint[0]

    def backward(self, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz`` of the four blocks, then ``dc' = s(f) dc``."""
        dh, dc = adjoint
        n = dh.shape[-2]
        blocks = (*dz.shape[:-2], 4, n, dz.shape[-1])
        factors = local[:, : 3 * n].reshape(local.shape[0], 3, n, -1)
        np.multiply(factors, dc[..., None, :, :], out=dz.reshape(blocks)[..., :3, :, :])
        np.multiply(local[:, 3 * n : 4 * n], dh, out=dz[..., 3 * n :, :])
        np.multiply(dc, local[:, 5 * n :], out=dc)
