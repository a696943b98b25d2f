"""Normal matrices with prescribed eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry
from gradlab.network.spectra._random import all_zero, block_diagonal, check_count, eigenvalue_setting, haar


@registry.register
@dataclass(frozen=True)
class Normal(AbstractSpectrum):
    """``W = Q D Q^T`` with a Haar orthogonal Q and D real, normal, with the eigenvalues wanted.

    What the eigenvalues say is all there is to say: the norm is the radius.

    Parameters
    ----------
    eigenvalues : {"ring", "disc"} or list of numbers and [re, im] pairs
        Uniform on the unit circle, uniform in the unit disc, or listed. A pair stands for itself and
        its conjugate. Listed eigenvalues may stand without a scaling: as they are.

    References
    ----------
    Horn and Johnson (2013), Matrix analysis, theorem 2.5.8. Henaff, Szlam and LeCun (2016),
    Recurrent orthogonal networks and long-memory tasks.
    """

    eigenvalues: str | tuple[Any, ...] = "ring"

    name: ClassVar[str] = "normal"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm")
    why: ClassVar[str] = "It is made from eigenvalues, not from entries; radius and norm are the same number."
    normal: ClassVar[bool] = True
    unscaled: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {"eigenvalues": eigenvalue_setting}

    def check_size(self, size: int) -> None:
        """Raise UserMistake unless listed eigenvalues are `size` many."""
        check_count(self.eigenvalues, size)

    def absent(self, size: int) -> tuple[str, ...]:
        """Return both if all listed eigenvalues are zero."""
        return ("radius", "norm") if all_zero(self.eigenvalues) else ()

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return the eigenvalues, on the unit circle or disc or as listed, in a random basis."""
        basis = haar(size, stream)
        return np.asarray(basis @ block_diagonal(self.eigenvalues, size, stream) @ basis.T)
