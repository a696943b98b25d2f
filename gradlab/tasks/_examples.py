"""What a network is trained or judged on: inputs, targets, and where the loss looks at each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CHUNK = 100  # samples of the evaluation set that are judged at once; part of what the numbers are


@dataclass(frozen=True, eq=False)
class Examples:
    """A batch of sequences. Those shorter than others are padded at their end, with zeros.

    Attributes
    ----------
    inputs : array of shape (time, features, batch)
    targets : array
        (time, outputs, batch) values, or (time, batch) integer classes; 0 where the loss does not look.
    weight : array of shape (time, batch), or None
        Factor of each sample's loss at each time step; None: 1 wherever the task looks. A sample of
        weight 0 at a time step is not looked at there.
    """

    inputs: Array
    targets: Array
    weight: Array | None = None

    def frozen(self) -> Examples:
        """Return the same examples, made so that nobody writes into them."""
        for array in (self.inputs, self.targets, self.weight):
            if array is not None:
                array.setflags(write=False)
        return self

    def looked_at(self, looks: Sequence[int] | range) -> tuple[Array, Array]:
        """Return targets at the time steps `looks`, and which samples (look, batch) count there."""
        rows = np.array(looks, dtype=np.int64)
        targets = self.targets[rows]
        if self.weight is None:
            return targets, np.ones((len(rows), targets.shape[-1]), dtype=bool)
        return targets, self.weight[rows] > 0
