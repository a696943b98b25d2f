"""Matrices far from normal, with prescribed eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry
from gradlab.network.spectra._random import all_zero, block_diagonal, check_count, eigenvalue_setting, haar


@registry.register
@dataclass(frozen=True)
class Nonnormal(AbstractSpectrum):
    """``W = Q T Q^T`` with a Haar orthogonal Q and T a real Schur form.

    The eigenvalues stand on the diagonal of T, and `feed_forward` above them: it drives a hidden
    chain that lets gradients grow for a while even where every eigenvalue says that they vanish. It
    is relative: a scaling scales the whole matrix.

    Parameters
    ----------
    eigenvalues : {"ring", "disc"} or list of numbers and [re, im] pairs
        As for "normal".
    feed_forward : float, optional
        Entries above the diagonal have standard deviation feed_forward/sqrt(size), against
        eigenvalues of about 1. At least 0 (a normal matrix). Default 1.

    References
    ----------
    Ganguli, Huh and Sompolinsky (2008), Memory traces in dynamical systems. Kerg et al. (2019),
    Non-normal recurrent neural network (nnRNN).
    """

    eigenvalues: str | tuple[Any, ...] = "ring"
    feed_forward: float = 1.0

    name: ClassVar[str] = "nonnormal"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm")
    why: ClassVar[str] = (
        "It is made from eigenvalues and what stands above them, not from independent entries."
    )
    unscaled: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {
        "eigenvalues": eigenvalue_setting,
        "feed_forward": partial(number, at_least=0.0),
    }

    def check_size(self, size: int) -> None:
        """Raise UserMistake unless listed eigenvalues are `size` many."""
        check_count(self.eigenvalues, size)

    def absent(self, size: int) -> tuple[str, ...]:
        """Return the radius if all listed eigenvalues are zero, and the norm if nothing is above them."""
        if not all_zero(self.eigenvalues):
            return ()
        return ("radius", "norm") if size == 1 or self.feed_forward == 0.0 else ("radius",)

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return the Schur form in a random basis."""
        basis = haar(size, stream)
        form = block_diagonal(self.eigenvalues, size, stream)
        above = np.triu(stream.standard_normal((size, size)), 1) * (self.feed_forward / np.sqrt(size))
        pairs = np.flatnonzero(np.diagonal(form, -1))
        above[pairs, pairs + 1] = 0.0
        return np.asarray(basis @ (form + above) @ basis.T)
