"""All entries equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Constant(AbstractSpectrum):
    """``W_ij = value``: one mode that sums all units, and nothing else.

    The radius and the norm are size times the value.

    Parameters
    ----------
    value : float, optional
        Every entry, as a third way of scaling beside `radius` and `norm`; at least 0.

    References
    ----------
    Lee, Introduction to recurrent neural networks (lecture): the worked example with all weights 1.
    """

    value: float | None = None

    name: ClassVar[str] = "constant"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "value")
    why: ClassVar[str] = "Equal entries have no standard deviation; give the entry itself as value."
    normal: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return ones."""
        return np.ones((size, size))
