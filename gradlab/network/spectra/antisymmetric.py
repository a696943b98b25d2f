"""Random antisymmetric matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Antisymmetric(AbstractSpectrum):
    """``W^T = -W``: off-diagonal standard deviation gain/sqrt(size), purely imaginary eigenvalues.

    For large sizes they follow the semicircle between -2i gain and 2i gain. A single unit has only
    the zero matrix, which cannot be scaled up.

    References
    ----------
    Chang, Chen, Haber and Chi (2019), AntisymmetricRNN: a dynamical system view on recurrent neural
    networks.
    """

    name: ClassVar[str] = "antisymmetric"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "Radius and norm are the same number here, and about twice the gain."
    normal: ClassVar[bool] = True
    law_radius: ClassVar[float | None] = 2.0

    def absent(self, size: int) -> tuple[str, ...]:
        """Return both for a single unit, which has the zero matrix only."""
        return ("radius", "norm") if size == 1 else ()

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return ``(G - G^T)/sqrt(2 size)`` with G standard normal."""
        g = stream.standard_normal((size, size))
        return np.asarray((g - g.T) / np.sqrt(2.0 * size))
