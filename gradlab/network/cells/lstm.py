"""The long short-term memory with forget gates (Hochreiter and Schmidhuber 1997; Gers 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.scratch import scratch
from gradlab.network.activations import AbstractActivation
from gradlab.network.activations.logistic import Logistic
from gradlab.network.cells._base import AbstractCell, Array, registry
from gradlab.network.cells._gates import gate_biases

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
    memory: ClassVar[int | None] = 1

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
        return gate_biases(self.forget_bias, self.chrono, hidden, length, stream)

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
        gates, candidate, output = local[:2], local[2], local[3]
        s_input, forget = opened = local[4:]
        output_slope = local[4]  # takes the place of s(i)
        state, memory = new
        g, s_output, phi_c = (
            scratch(name, memory.shape, memory.dtype) for name in ("g", "output gate", "squashed")
        )
        _logistic.evaluate(gates, opened, gates)
        activation.evaluate(candidate, g, candidate)
        _logistic.evaluate(output, s_output, output)
        if saturation is not None:
            each = local[:4].reshape(4, len(saturation), -1).mean(axis=-1)
            np.mean(each, axis=0, out=saturation)
        np.multiply(s_input, g, out=memory)
        np.multiply(forget, old[1], out=state)
        np.add(memory, state, out=memory)
        np.multiply(candidate, s_input, out=candidate)
        activation.evaluate(memory, phi_c, output_slope)
        np.multiply(s_output, phi_c, out=state)
        for factor, by in ((gates[0], g), (gates[1], old[1]), (output, phi_c), (output_slope, s_output)):
            np.multiply(factor, by, out=factor)

    def complete(self, diagonal: Array, local: Array, adjoint: Sequence[Array]) -> None:
        """``dc += s(o) phi'(c) dh``."""
        dh, dc = adjoint
        through_output = np.multiply(local[4], dh, out=scratch("through output", dh.shape, dh.dtype))
        np.add(dc, through_output, out=dc)

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz`` of the four blocks, then ``dc' = s(f) dc``."""
        dh, dc = adjoint
        np.multiply(local[:3, None], dc, out=dz[:3])
        np.multiply(local[3], dh, out=dz[3])
        np.multiply(local[5], dc, out=dc)

    def carry(self, local: Array) -> Array:
        """Return ``s(f)``."""
        return np.asarray(local[5])
