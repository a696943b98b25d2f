"""Transport of a unit vector by the Jacobians alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.tasks.losses._base import AbstractLoss, Array, registry


@registry.register
@dataclass(frozen=True)
class Unit(AbstractLoss):
    """``v . h`` with a random unit vector `v` for each sample; the adjoint where it looks is `v`.

    No readout takes part, so what is measured is the product of the network's Jacobians alone.
    """

    name: ClassVar[str] = "unit"
    uses_readout: ClassVar[bool] = False
    takes_logits: ClassVar[bool] = True
    target_kind: ClassVar[str] = "directions"

    def evaluate(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return loss and slope; see the base class."""
        return (output * target).sum(axis=-2), target
