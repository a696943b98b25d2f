"""A chain of units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class DelayLine(AbstractSpectrum):
    """Each unit passes its state to the next: ``W_{k+1,k} = norm``, all else 0.

    Nilpotent: every eigenvalue is 0, and still a gradient travels size - 1 time steps at full
    strength before it is gone. The extreme case of what a radius does not tell.

    References
    ----------
    Ganguli, Huh and Sompolinsky (2008), Memory traces in dynamical systems.
    """

    name: ClassVar[str] = "delay_line"
    scalings: ClassVar[tuple[str, ...]] = ("norm",)
    why: ClassVar[str] = (
        "A delay line is nilpotent: its radius is 0 at every scale, and its entries are not random."
    )
    exact_radius: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True

    def absent(self, size: int) -> tuple[str, ...]:
        """Return the radius, and for a single unit, which has nobody to pass its state to, the norm."""
        return ("radius", "norm") if size == 1 else ("radius",)

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return ones below the diagonal."""
        return np.eye(size, k=-1)
