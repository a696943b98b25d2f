"""Independent normal entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Ginibre(AbstractSpectrum):
    """``W_ij`` independent normal with standard deviation gain/sqrt(size).

    For large sizes the eigenvalues fill a disc of radius `gain` evenly, and the norm tends to twice
    that: far from normal.

    References
    ----------
    Ginibre (1965), Statistical ensembles of complex, quaternion, and real matrices. Sompolinsky,
    Crisanti and Sommers (1988), Chaos in random neural networks.
    """

    name: ClassVar[str] = "ginibre"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "All three fix the one scale of independent entries."
    law_radius: ClassVar[float | None] = 1.0

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return independent normal entries of variance 1/size."""
        return np.asarray(stream.standard_normal((size, size)) / np.sqrt(size))
