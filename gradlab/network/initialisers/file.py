"""Numbers from the user's own file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import settings_of
from gradlab.network.initialisers._base import AbstractInitialiser, Array, registry
from gradlab.network.npy import read_matrix


@registry.register
@dataclass(frozen=True)
class File(AbstractInitialiser):
    """A matrix read from a .npy file, never unpickled.

    What counts is what the file holds, not where it lies: content keys are made from its digest.

    Parameters
    ----------
    path : str
        The .npy file, of the shape of the weights: (rows to, columns from).

    References
    ----------
    NumPy enhancement proposal 1, A simple file format for NumPy arrays.
    """

    path: str
    sha256: str = field(init=False, default="")
    shape: tuple[int, ...] = field(init=False, default=())

    name: ClassVar[str] = "file"
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        matrix, sha256 = read_matrix("path", self.path)
        object.__setattr__(self, "shape", matrix.shape)
        object.__setattr__(self, "sha256", sha256)

    @property
    def held_shape(self) -> tuple[int, ...]:
        """Shape of the matrix in the file."""
        return self.shape

    def identity(self) -> dict[str, Any]:
        """Return the digest of the file's bytes in place of its path."""
        table = settings_of(self)
        del table["path"]
        return {**table, "sha256": self.sha256}

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return what the file holds."""
        matrix, sha256 = read_matrix("path", self.path)
        if sha256 != self.sha256:
            expected = "the file as it was when the settings were read"
            raise UserMistake(Problem("path", expected, f"other bytes in {self.path!r}"))
        return matrix
