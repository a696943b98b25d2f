"""One input at the first time step, then nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Impulse(AbstractTask):
    """Every feature has one value at the first time step and is zero afterwards.

    Parameters
    ----------
    value : float
        The value at the first time step.
    """

    name: ClassVar[str] = "impulse"

    value: float = 1.0

    def __post_init__(self) -> None:
        together(lambda: number("value", self.value), super().__post_init__)

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the impulse, or zeros after the first time step."""
        result = np.zeros((stop - start, self.features, self.batch))
        if start == 0:
            result[:1] = self.value
        return result
