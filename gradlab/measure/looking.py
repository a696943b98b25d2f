"""How a loss looks at the states of stacked networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.sources import Look
from gradlab.network.readout import AbstractOutput, sums
from gradlab.tasks.losses import AbstractLoss

Array = NDArray[Any]


def look_at(
    loss: AbstractLoss,
    output: AbstractOutput,
    readout: Array | None,
    target_at: Callable[[int], Array],
    weight_at: Callable[[int], Array] | None = None,
) -> Look:
    """Return the loss of every sample, and its slope by what the readout gives, as a function of the state.

    Parameters
    ----------
    loss : AbstractLoss
    output : AbstractOutput
        The activation of the readout.
    readout : array of shape (case, outputs, directions * hidden + 1), or None
        ``[V b]``; None where the loss sees the state itself.
    target_at, weight_at : callables
        Of the time step: targets, (case, outputs, batch) or (case, batch), and the factors of the losses,
        (case, batch); None: ones. Where a factor is 0 the loss does not look, whatever it would see.
    """

    def plain(t: int, state: Array) -> tuple[Array, Array]:
        target = target_at(t)
        if loss.target_kind != "classes":
            target = target.astype(state.dtype, copy=False)
        if readout is None:
            return loss.evaluate(state, target)
        before = sums(readout, state)
        if loss.takes_logits or output.name == "identity":
            return loss.evaluate(before, target)
        value, slope = loss.evaluate(output.value(before), target)
        return value, output.pull(before, slope)

    if weight_at is None:
        return plain

    def weighted(t: int, state: Array) -> tuple[Array, Array]:
        value, slope = plain(t, state)
        weight = weight_at(t).astype(state.dtype, copy=False)
        seen = weight != 0
        value = np.where(seen, value * weight, 0.0)
        return value, np.where(seen[:, None], slope * weight[:, None], 0.0)

    return weighted
