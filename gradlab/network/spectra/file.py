"""A matrix of the user's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import settings_of
from gradlab.network.npy import read_matrix
from gradlab.network.spectra._base import AbstractSpectrum, Matrix, registry, zeros


@registry.register
@dataclass(frozen=True)
class File(AbstractSpectrum):
    """A square matrix read from a .npy file, never unpickled; it stands as it is unless it is scaled.

    What counts is what the file holds, not where it lies: content keys are made from its digest.

    Parameters
    ----------
    path : str
        The .npy file, of shape (hidden, hidden).

    References
    ----------
    NumPy enhancement proposal 1, A simple file format for NumPy arrays.
    """

    path: str
    sha256: str = field(init=False, default="")
    size: int = field(init=False, default=0)

    name: ClassVar[str] = "file"
    scalings: ClassVar[tuple[str, ...]] = ("radius", "norm")
    why: ClassVar[str] = "Nothing is known of the law of its entries; without a scaling it stands as it is."
    deterministic: ClassVar[bool] = True
    unscaled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        matrix, sha256 = read_matrix("path", self.path)
        if matrix.shape[0] != matrix.shape[1]:
            raise UserMistake(Problem("path", "a square matrix", f"one of shape {matrix.shape}"))
        object.__setattr__(self, "sha256", sha256)
        object.__setattr__(self, "size", matrix.shape[0])

    def check_size(self, size: int) -> None:
        """Raise UserMistake unless the matrix has as many rows as there are hidden units."""
        if size != self.size:
            hint = f"Set network.hidden = {self.size}, or give another file."
            got = f"one of shape ({self.size}, {self.size})"
            raise UserMistake(
                Problem("path", f"a matrix of shape ({size}, {size}), as hidden says", got, hint)
            )

    def absent(self, size: int) -> tuple[str, ...]:
        """Return what the matrix that the file holds has none of."""
        return zeros(self._held(size)[1])

    def identity(self) -> dict[str, Any]:
        """Return the settings with the digest of the file's bytes in place of its path."""
        table = settings_of(self)
        del table["path"]
        return {**table, "sha256": self.sha256}

    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return what the file holds."""
        matrix, sha256 = read_matrix("path", self.path)
        if sha256 != self.sha256:
            raise UserMistake(
                Problem(
                    "path", "the file as it was when the settings were read", f"other bytes in {self.path!r}"
                )
            )
        return matrix
