"""The copying memory problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.tasks._base import Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._recall import AbstractRecall

SHOWN, KINDS = 10, 8


@registry.register
@dataclass(frozen=True, kw_only=True)
class CopyMemory(AbstractRecall):
    """Ten symbols of eight kinds, T - 1 blanks, a marker and ten blanks to tell them again in.

    The loss is the mean over all T + 20 steps; who knows nothing of the symbols loses
    ``10 log(8) / (T + 20)``. The metric counts wrong ones among the ten.

    Parameters
    ----------
    length : int
        The protocol's T.

    References
    ----------
    Arjovsky, Shah & Bengio (2016), Unitary evolution recurrent neural networks.
    """

    name: ClassVar[str] = "copy_memory"

    @property
    def steps(self) -> int:
        """T + 20."""
        return self.length + 2 * SHOWN

    def shown(self) -> tuple[int, int]:
        """Return ten symbols of eight kinds."""
        return SHOWN, KINDS

    def marker(self) -> int:
        """Return the step before the answer."""
        return self.steps - SHOWN - 1

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of symbols a guess gets wrong."""
        return {"memoryless": 1 - 1 / KINDS}

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return how many of the ten symbols are wrong; see the base class."""
        wrong = self.wrong(outputs, examples)
        return wrong.sum(axis=(0, 2), dtype=np.float64), wrong.shape[0] * wrong.shape[-1]
