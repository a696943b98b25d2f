"""Random symmetric matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Symmetric(AbstractSpectrum):
    """The Gaussian orthogonal ensemble: off-diagonal standard deviation gain/sqrt(size), real eigenvalues.

    For large sizes the eigenvalues follow Wigner's semicircle between -2 gain and 2 gain.

    References
    ----------
    Wigner (1958), On the distribution of the roots of certain symmetric matrices. Mehta (2004),
    Random matrices.
    """

    name: ClassVar[str] = "symmetric"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "Radius and norm are the same number here, and about twice the gain."
    normal: ClassVar[bool] = True
    law_radius: ClassVar[float | None] = 2.0

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return ``(G + G^T)/sqrt(2 size)`` with G standard normal."""
        g = stream.standard_normal((size, size))
        return np.asarray((g + g.T) / np.sqrt(2.0 * size))
