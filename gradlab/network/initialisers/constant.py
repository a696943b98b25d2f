"""One number everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.initialisers._base import AbstractInitialiser, Array, Check, registry


@registry.register
@dataclass(frozen=True)
class Constant(AbstractInitialiser):
    """The same number everywhere.

    Parameters
    ----------
    value : float
        The number.

    References
    ----------
    Jozefowicz, Zaremba and Sutskever (2015), An empirical exploration of recurrent network
    architectures: constant biases.
    """

    value: float

    name: ClassVar[str] = "constant"
    scale: ClassVar[str | None] = "value"
    deterministic: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {"value": number}

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return the number everywhere."""
        return np.full(shape, self.value)
