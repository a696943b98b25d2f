"""The Elman cell (Elman 1990): one layer of units that see their own last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.activations import AbstractActivation
from gradlab.network.cells._base import AbstractCell, Array, registry


@registry.register
@dataclass(frozen=True)
class Elman(AbstractCell):
    """Plain recurrence.

    Notation
        ``h'`` old state, ``h`` new state, ``phi`` activation, ``d`` an adjoint.

    Equations
        forward   ``z = W h' + U x + b``, ``h = phi(z)``
        backward  ``dz = phi'(z) dh``, ``dh' = W^T dz``

    Kept for backward: ``phi'(z)``.
    """

    name: ClassVar[str] = "elman"
    row_blocks: ClassVar[tuple[str, ...]] = ("state",)
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 1
    gated: ClassVar[bool] = False

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
