"""Sparse normal entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gradlab.core.checks import integer
from gradlab.network.spectra._base import AbstractSpectrum, Check, Matrix, registry


@registry.register
@dataclass(frozen=True)
class Sparse(AbstractSpectrum):
    """Each unit receives from `connections` units, chosen at random, with independent normal weights.

    The weights have standard deviation gain/sqrt(connections), so that the entries, the zeros
    included, have gain/sqrt(size). A unit may be among those that it receives from.

    Parameters
    ----------
    connections : int, optional
        Nonzero entries in each row, at least 1 and at most the size. Default 15.

    References
    ----------
    Jaeger (2001), The echo state approach to analysing and training recurrent neural networks.
    Sutskever, Martens, Dahl and Hinton (2013), On the importance of initialization and momentum in
    deep learning.
    """

    connections: int = 15

    name: ClassVar[str] = "sparse"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm", "gain")
    why: ClassVar[str] = "All three fix the one scale of the nonzero entries."
    law_radius: ClassVar[float | None] = 1.0
    checks: ClassVar[Mapping[str, Check]] = {"connections": partial(integer, at_least=1)}

    def check_size(self, size: int) -> None:
        """Raise UserMistake if a row has fewer entries than connections."""
        integer("connections", self.connections, at_most=size, hint=f"There are {size} hidden units.")

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return rows with `connections` normal entries of variance 1/connections."""
        chosen = np.argsort(stream.uniform(size=(size, size)), axis=1, kind="stable")[:, : self.connections]
        result = np.zeros((size, size))
        values = stream.standard_normal((size, self.connections)) / np.sqrt(self.connections)
        np.put_along_axis(result, chosen, values, axis=1)
        return result
