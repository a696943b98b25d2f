"""Mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.tasks.losses._base import AbstractLoss, Array, registry


@registry.register
@dataclass(frozen=True)
class Mse(AbstractLoss):
    """Mean over the outputs of ``(o - y)^2``; slope ``2 (o - y) / outputs``."""

    name: ClassVar[str] = "mse"
    uses_readout: ClassVar[bool] = True
    target_kind: ClassVar[str] = "values"

    def evaluate(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return loss and slope; see the base class."""
        difference = output - target
        return (difference * difference).mean(axis=-2), difference * (2.0 / output.shape[-2])
