"""How a loss looks at the states of stacked networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    targets_at: Callable[[Sequence[int]], Array],
    weights_at: Callable[[Sequence[int]], Array] | None = None,
) -> Look:
    """Return the loss of every sample, and its slope by what the readout gives, as a function of the state.

    Parameters
    ----------
    loss : AbstractLoss
    output : AbstractOutput
        The activation of the readout.
    readout : array of shape (case, outputs, directions * hidden + 1), or None
        ``[V b]``; None where the loss sees the state itself.
    targets_at, weights_at : callables
        Of neighbouring time steps, ascending: targets, (time, case, outputs, batch) or (time, case, batch),
        and the factors of the losses, (time, case, batch); None: ones. Where a factor is 0 the loss does not
        look, whatever it would see.
    """

    def plain(times: Sequence[int], state: Array) -> tuple[Array, Array]:
        target = targets_at(times)
        if loss.target_kind != "classes":
            target = target.astype(state.dtype, copy=False)
        if readout is None:
            return loss.evaluate(state, target)
        before = sums(readout, state)
        if loss.takes_logits or output.name == "identity":
            return loss.evaluate(before, target)
        value, slope = loss.evaluate(output.value(before), target)
        return value, output.pull(before, slope)

    if weights_at is None:
        return plain

    def weighted(times: Sequence[int], state: Array) -> tuple[Array, Array]:
        value, slope = plain(times, state)
        weight = weights_at(times).astype(state.dtype, copy=False)
        seen = weight != 0
        value = np.where(seen, value * weight, 0.0)
        return value, np.where(seen[:, :, None], slope * weight[:, :, None], 0.0)

    return weighted
