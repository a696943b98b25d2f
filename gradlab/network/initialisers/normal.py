"""Independent normal numbers."""

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
class Normal(AbstractInitialiser):
    """Independent normal numbers with standard deviation gain/sqrt(columns).

    A unit then receives a signal of variance gain^2 from inputs of variance 1, however many there
    are.

    Parameters
    ----------
    gain : float, optional
        Standard deviation times sqrt(columns), at least 0. Default 1.

    References
    ----------
    LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp, section 4.6.
    """

    gain: float = 1.0

    name: ClassVar[str] = "normal"
    scale: ClassVar[str | None] = "gain"
    checks: ClassVar[Mapping[str, Check]] = {"gain": partial(number, at_least=0.0)}

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return normal numbers of variance gain^2/columns."""
        return np.asarray(stream.standard_normal(shape) * (self.gain / np.sqrt(shape[1])))
