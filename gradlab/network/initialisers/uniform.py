"""Independent uniform numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.initialisers._base import AbstractInitialiser, Array, Check, registry


@registry.register
@dataclass(frozen=True)
class Uniform(AbstractInitialiser):
    """Independent numbers, uniform between -bound and bound.

    Parameters
    ----------
    bound : float
        At least 0. The standard deviation is bound/sqrt(3).

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.
    """

    bound: float

    name: ClassVar[str] = "uniform"
    scale: ClassVar[str | None] = "bound"
    checks: ClassVar[Mapping[str, Check]] = {"bound": partial(number, at_least=0.0)}

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return uniform numbers between -bound and bound."""
        return np.asarray(stream.uniform(-1.0, 1.0, shape) * self.bound)
