"""Matrices with prescribed singular values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry
from gradlab.network.spectra._random import haar


@registry.register
@dataclass(frozen=True)
class Singular(AbstractSpectrum):
    """``W = P S Q^T`` with Haar orthogonal P and Q and singular values evenly spaced around 1.

    Without a scaling they lie between 1 - spread and 1 + spread.

    Parameters
    ----------
    spread : float, optional
        Half the width of the interval of singular values, from 0 (orthogonal) to 1. Default 0.5.

    References
    ----------
    Vorontsov, Trabelsi, Kadoury and Pal (2017), On orthogonality and learning recurrent networks
    with long term dependencies.
    """

    spread: float = 0.5

    name: ClassVar[str] = "singular"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm")
    why: ClassVar[str] = "It is made from singular values, not from entries; unscaled they lie around 1."
    unscaled: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {"spread": partial(number, at_least=0.0, at_most=1.0)}

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return the singular values between two random bases; a single one is 1."""
        left, right = haar(size, stream), haar(size, stream)
        values = np.linspace(1.0 - self.spread, 1.0 + self.spread, size) if size > 1 else np.ones(1)
        return np.asarray((left * values) @ right.T)
