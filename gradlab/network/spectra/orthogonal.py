"""Random orthogonal matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry
from gradlab.network.spectra._random import haar


@registry.register
@dataclass(frozen=True)
class Orthogonal(AbstractSpectrum):
    """Uniform over the orthogonal group (Haar): each eigenvalue has modulus `radius`, as each singular value.

    Radius, norm and gain are the same number.

    References
    ----------
    Mezzadri (2007), How to generate random matrices from the classical compact groups. Saxe,
    McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks.
    """

    name: ClassVar[str] = "orthogonal"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "All three are the same number for a multiple of an orthogonal matrix."
    normal: ClassVar[bool] = True
    law_radius: ClassVar[float | None] = 1.0

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return a Haar orthogonal matrix."""
        return haar(size, stream)
