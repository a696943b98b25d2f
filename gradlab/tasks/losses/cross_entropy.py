"""Softmax with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.tasks.losses._base import AbstractLoss, Array, registry


@registry.register
@dataclass(frozen=True)
class CrossEntropy(AbstractLoss):
    """``log sum exp(o) - o_y`` in nats; slope ``softmax(o) - onehot(y)``.

    The slope of the target's own class is formed as minus the sum of the other classes'
    probabilities, which keeps its relative precision when the target is nearly certain.
    """

    name: ClassVar[str] = "cross_entropy"
    uses_readout: ClassVar[bool] = True
    takes_logits: ClassVar[bool] = True
    target_kind: ClassVar[str] = "classes"

    def evaluate(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return loss and slope; see the base class."""
        index = target[..., None, :]
        top = output.max(axis=-2, keepdims=True)
        weights = np.exp(output - top)
        total = weights.sum(axis=-2, keepdims=True)
        own = np.take_along_axis(output, index, axis=-2) - top
        others = weights.copy()
        np.put_along_axis(others, index, 0.0, axis=-2)
        rest = others.sum(axis=-2, keepdims=True)
        slope = others / total
        np.put_along_axis(slope, index, -rest / total, axis=-2)
        # log(total) - own = log1p(rest / weight of the target), where that weight is not tiny
        loss = np.where(own > -1.0, np.log1p(rest * np.exp(np.minimum(-own, 1.0))), np.log(total) - own)
        return loss[..., 0, :], slope
