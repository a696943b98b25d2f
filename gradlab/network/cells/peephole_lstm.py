"""The long short-term memory whose gates also see the memory (Gers and Schmidhuber 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.core.scratch import scratch
from gradlab.network.activations import AbstractActivation
from gradlab.network.activations.logistic import Logistic
from gradlab.network.cells._base import AbstractCell, Array, registry
from gradlab.network.cells._gates import gate_biases

_logistic = Logistic()


@registry.register
@dataclass(frozen=True)
class PeepholeLstm(AbstractCell):
    """The LSTM with one weight a unit from its memory to each of its gates.

    Notation
        ``c'``, ``c`` old and new memory; ``p_i p_f p_o`` the peepholes; ``s`` the logistic function;
        ``phi`` the activation (tanh by default) of candidate and output; ``d`` an adjoint.

    Equations
        forward   ``z = W h' + U x + b`` in blocks i, f, g, o; ``i += p_i c'``, ``f += p_f c'``;
                  ``c = s(f) c' + s(i) phi(g)``; ``o += p_o c``; ``h = s(o) phi(c)``
        complete  ``dc += s(o) phi'(c) dh + p_o dz_o``
        backward  ``dz_i = phi(g) s'(i) dc``, ``dz_f = c' s'(f) dc``, ``dz_g = s(i) phi'(g) dc``,
                  ``dz_o = phi(c) s'(o) dh``, ``dc' = s(f) dc + p_i dz_i + p_f dz_f``, ``dh' = W^T dz``
        diagonal  ``dp_i = c' dz_i``, ``dp_f = c' dz_f``, ``dp_o = c dz_o``

    Kept for backward: the four factors of ``dz``, then ``s(o) phi'(c) + p_o phi(c) s'(o)``, ``s(f)``,
    ``c'`` and ``c``.

    Parameters
    ----------
    forget_bias : float
        Added to the drawn bias of the forget gate.
    chrono : bool
        Chrono initialisation (Tallec and Ollivier 2018): forget bias ``log u`` with ``u`` uniform
        in [1, length - 1], input bias its negative; replaces `forget_bias`.
    peephole : float
        Standard deviation of the normal law of the peepholes. They are small by default (0.1): a
        memory grows with time, and peepholes of order one would let it alone decide over its gates.
        At 0 the forward pass is the LSTM's.

    References
    ----------
    Gers and Schmidhuber (2000), Recurrent nets that time and count. Gers, Schraudolph and
    Schmidhuber (2002), Learning precise timing with LSTM recurrent networks.
    """

    name: ClassVar[str] = "peephole_lstm"
    row_blocks: ClassVar[tuple[str, ...]] = ("input_gate", "forget_gate", "candidate", "output_gate")
    state_parts: ClassVar[tuple[str, ...]] = ("state", "memory")
    local_parts: ClassVar[int] = 8
    gated: ClassVar[bool] = True
    memory: ClassVar[int | None] = 1
    diagonals: ClassVar[tuple[str, ...]] = ("peephole_input", "peephole_forget", "peephole_output")

    forget_bias: float = 0.0
    chrono: bool = False
    peephole: float = 0.1

    def __post_init__(self) -> None:
        together(
            lambda: number("forget_bias", self.forget_bias),
            lambda: number("peephole", self.peephole, at_least=0.0),
        )

    @property
    def depends_on_length(self) -> bool:
        """Only chrono initialisation looks at the length."""
        return self.chrono

    def bias_offset(self, hidden: int, length: int, stream: np.random.RandomState) -> Array:
        """Return the forget bias, or the chrono biases, in block order; shape (4 * hidden,)."""
        return gate_biases(self.forget_bias, self.chrono, hidden, length, stream)

    def draw_diagonals(self, drawn: Array | None, hidden: int, stream: np.random.RandomState) -> Array:
        """Return the peepholes of input, forget and output gate, normal; shape (3, hidden)."""
        return np.asarray(self.peephole * stream.standard_normal((3, hidden)))

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
        opened, before, after = local[4:6], local[6], local[7]
        s_input, forget = opened
        output_slope = local[4]  # takes the place of s(i)
        state, memory = new
        g, s_output, phi_c = (
            scratch(name, memory.shape, memory.dtype) for name in ("g", "output gate", "squashed")
        )
        np.copyto(before, old[1])
        for gate, peephole in zip(gates, diagonal[:2], strict=True):
            np.add(gate, np.multiply(peephole, before, out=state), out=gate)
        _logistic.evaluate(gates, opened, gates)
        activation.evaluate(candidate, g, candidate)
        np.multiply(s_input, g, out=after)
        np.add(after, np.multiply(forget, before, out=state), out=after)
        np.copyto(memory, after)
        np.add(output, np.multiply(diagonal[2], after, out=state), out=output)
        _logistic.evaluate(output, s_output, output)
        if saturation is not None:
            each = local[:4].reshape(4, len(saturation), -1).mean(axis=-1)
            np.mean(each, axis=0, out=saturation)
        np.multiply(candidate, s_input, out=candidate)
        activation.evaluate(memory, phi_c, output_slope)
        np.multiply(s_output, phi_c, out=state)
        for factor, by in ((gates[0], g), (gates[1], before), (output, phi_c), (output_slope, s_output)):
            np.multiply(factor, by, out=factor)
        np.add(output_slope, np.multiply(diagonal[2], output, out=s_output), out=output_slope)

    def complete(self, diagonal: Array, local: Array, adjoint: Sequence[Array]) -> None:
        """``dc += s(o) phi'(c) dh + p_o dz_o``, where ``dz_o`` is a multiple of ``dh``."""
        dh, dc = adjoint
        through_output = np.multiply(local[4], dh, out=scratch("through output", dh.shape, dh.dtype))
        np.add(dc, through_output, out=dc)

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz`` of the four blocks, then ``dc' = s(f) dc + p_i dz_i + p_f dz_f``."""
        dh, dc = adjoint
        np.multiply(local[:3, None], dc, out=dz[:3])
        np.multiply(local[3], dh, out=dz[3])
        np.multiply(local[5], dc, out=dc)
        through_gate = scratch("through output", dc.shape, dc.dtype)
        for gate in range(2):
            np.add(dc, np.multiply(diagonal[gate], dz[gate], out=through_gate), out=dc)

    def diagonal_gradient(self, local: Array, dz: Array, out: Array) -> None:
        """``dp_i = c' dz_i``, ``dp_f = c' dz_f``, ``dp_o = c dz_o``."""
        for peephole, block, memory in ((0, 0, 6), (1, 1, 6), (2, 3, 7)):
            np.multiply(local[memory], dz[block], out=out[peephole])

    def carry(self, local: Array) -> Array:
        """Return ``s(f)``: what goes through a peephole goes through a gate."""
        return np.asarray(local[5])
