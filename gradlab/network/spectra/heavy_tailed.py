"""Independent entries with heavy tails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry


@registry.register
@dataclass(frozen=True)
class HeavyTailed(AbstractSpectrum):
    """``W_ij`` independent, from Student's t distribution with `nu` degrees of freedom.

    With nu > 2 the entries have standard deviation gain/sqrt(size). With nu at most 2 there is none:
    then gain/sqrt(size) is the scale parameter of the distribution.

    Parameters
    ----------
    nu : float, optional
        Degrees of freedom, at least 0.5; the tails fall like ``|w|^-(nu + 1)``. Default 3.

    References
    ----------
    Bordenave, Caputo and Chafai (2011), Spectrum of non-Hermitian heavy tailed random matrices.
    Wardak and Gong (2022), Extended Anderson criticality in heavy-tailed neural networks.
    """

    nu: float = 3.0

    name: ClassVar[str] = "heavy_tailed"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "All three fix the one scale of independent entries."
    checks: ClassVar[Mapping[str, Check]] = {"nu": partial(number, at_least=0.5)}

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return independent entries of variance 1/size, or of scale 1/sqrt(size) where nu <= 2."""
        deviation = np.sqrt(self.nu / (self.nu - 2.0)) if self.nu > 2.0 else 1.0
        return np.asarray(stream.standard_t(self.nu, size=(size, size)) / (deviation * np.sqrt(size)))
