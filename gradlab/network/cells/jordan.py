"""The Jordan network (Jordan 1986): one layer of units that see the network's last output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.network.activations import AbstractActivation
from gradlab.network.cells._base import AbstractCell, Array, registry


@registry.register
@dataclass(frozen=True)
class Jordan(AbstractCell):
    """Recurrence through the readout.

    Notation
        ``y'`` the readout's last output, after its activation ``psi``; before the first time step it
        is 0. ``h`` new state, ``phi`` activation, ``d`` an adjoint.

    Equations
        forward   ``z = W y' + U x + b``, ``h = phi(z)``, and in the readout ``y = psi(V h + b_o)``
        backward  ``dz = phi'(z) dh``, ``dy' = W^T dz``, which the readout hands to ``dh'``

    Kept for backward: ``phi'(z)``. What differs from the Elman cell, only the readout knows.

    References
    ----------
    Jordan (1986), Serial order: a parallel distributed processing approach.
    """

    name: ClassVar[str] = "jordan"
    row_blocks: ClassVar[tuple[str, ...]] = ("state",)
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    feeds_back: ClassVar[Literal["state", "output"]] = "output"

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
        """``h = phi(z)``; keeps ``phi'(z)`` in place of `z`."""
        activation.evaluate(local[0], new[0], local[0])
        if saturation is not None:
            np.mean(local[0].reshape(len(saturation), -1), axis=-1, out=saturation)

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz = phi'(z) dh``."""
        np.multiply(local[0], adjoint[0], out=dz[0])
