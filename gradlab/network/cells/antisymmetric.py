"""The antisymmetric network (Chang and others 2019): small steps of a dynamical system without growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells._base import AbstractCell, Array, registry


@registry.register
@dataclass(frozen=True)
class Antisymmetric(AbstractCell):
    """One step of Euler's method for ``dh/dt = phi((A - A^T - gamma I) h + U x + b)``.

    The eigenvalues of ``A - A^T`` are imaginary: the continuous system neither grows nor decays. A
    step of length ``eps`` multiplies the modulus of ``1 + i eps w`` into each mode, a growth of
    ``eps^2 w^2 / 2``, against which stands the diffusion ``gamma``.

    Notation
        ``h'`` old state, ``h`` new state, ``phi`` activation, ``A`` the matrix drawn, ``W`` what
        multiplies the state, ``G`` the gradient by ``W``, ``d`` an adjoint.

    Equations
        forward   ``W = A - A^T - gamma I``, ``z = W h' + U x + b``, ``h = h' + eps phi(z)``
        backward  ``dz = eps phi'(z) dh``, ``dh' = dh + W^T dz``, ``dA = G - G^T``

    Kept for backward: ``eps phi'(z)``.

    Parameters
    ----------
    step : float
        Length ``eps`` of Euler's step, above 0.
    diffusion : float
        ``gamma``, at least 0.

    References
    ----------
    Chang, Chen, Haber and Chi (2019), AntisymmetricRNN: a dynamical system view on recurrent neural
    networks; equation 11. The defaults are of the order of those in its experiments.
    """

    name: ClassVar[str] = "antisymmetric"
    row_blocks: ClassVar[tuple[str, ...]] = ("state",)
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    direct: ClassVar[bool] = True

    step: float = 0.01
    diffusion: float = 0.01

    def __post_init__(self) -> None:
        together(
            lambda: number("step", self.step, above=0.0),
            lambda: number("diffusion", self.diffusion, at_least=0.0),
        )

    def effective(self, matrix: Array) -> Array:
        """Return ``A - A^T - gamma I``."""
        return np.asarray(matrix - matrix.T - self.diffusion * np.eye(len(matrix), dtype=matrix.dtype))

    def tie(self, gradient: Array) -> Array:
        """Return ``G - G^T``."""
        return np.asarray(gradient - np.swapaxes(gradient, -1, -2))

    def bounded(self, activation: AbstractActivation) -> bool:
        """Never: every step may add to the state."""
        return False

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
        """``h = h' + eps phi(z)``; keeps ``eps phi'(z)`` in place of `z`."""
        z, state = local[0], new[0]
        activation.evaluate(z, state, z)
        if saturation is not None:
            np.mean(z.reshape(len(saturation), -1), axis=-1, out=saturation)
        np.multiply(state, self.step, out=state)
        np.add(old[0], state, out=state)
        np.multiply(z, self.step, out=z)

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz = eps phi'(z) dh``; ``dh`` stands as it is."""
        np.multiply(local[0], adjoint[0], out=dz[0])
