"""Multiples of the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Identity(AbstractSpectrum):
    """``W = radius I``: every unit keeps its own past and nothing is mixed.

    References
    ----------
    Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of rectified linear
    units.
    """

    name: ClassVar[str] = "identity"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm")
    why: ClassVar[str] = (
        "Its entries have no standard deviation to speak of; radius and norm are the same number."
    )
    normal: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return the identity."""
        return np.eye(size)
