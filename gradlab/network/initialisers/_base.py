"""The contract of an initialiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.registry import Registry, settings_of
from gradlab.core.streams import stream

Array = NDArray[np.float64]
Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class AbstractInitialiser(ABC):
    """A law of input weights, biases or readout weights.

    Notes
    -----
    Claims (checked by one suite for every entry): `scale` names the setting that multiplies the
    numbers and on which the random stream does not depend, so that an axis over it is paired (None:
    no such setting); `deterministic` says that there is nothing random.
    """

    name: ClassVar[str]
    scale: ClassVar[str | None] = None
    deterministic: ClassVar[bool] = False
    checks: ClassVar[Mapping[str, Check]] = {}  # of the entry's fields

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for key, check in self.checks.items():
            with gathering(problems):
                object.__setattr__(self, key, check(key, getattr(self, key)))
        if problems:
            raise UserMistake(problems)

    @property
    def held_shape(self) -> tuple[int, ...] | None:
        """Shape of the numbers an entry holds; None where it can make any."""
        return None

    def check_shape(self, shape: tuple[int, int], where: str = "") -> None:
        """Raise UserMistake unless the entry can make an array of `shape`."""
        held = self.held_shape
        if held is not None and held != tuple(shape):
            hint = "Rows are the units they go to (gate by gate), columns where they come from."
            expected = f"numbers of shape {tuple(shape)} (rows to, columns from)"
            raise UserMistake(Problem(where or self.name, expected, f"shape {held}", hint))

    @abstractmethod
    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return the numbers for an array of `shape`, (rows, columns) = (to, from)."""

    def identity(self) -> dict[str, Any]:
        """Return the plain table that determines the numbers: what content keys are made of."""
        return settings_of(self)

    def draw(self, shape: tuple[int, int], seed: int, replicate: int, role: str) -> Array:
        """Return the numbers of a replicate.

        Parameters
        ----------
        shape : tuple of two ints
            Rows (to) and columns (from).
        seed, replicate : int
            Root seed of the spec, and which replicate.
        role : str
            What the numbers are for ("input weights", "biases", ...): each role has a stream of its
            own.

        Returns
        -------
        array of shape `shape`, float64
            The caller's own.

        Raises
        ------
        UserMistake
            If given numbers do not have this shape.
        """
        self.check_shape(shape)
        settings = {key: value for key, value in self.identity().items() if key != self.scale}
        return self.law(shape, stream(seed, role, settings, list(shape), replicate))


registry: Registry[AbstractInitialiser] = Registry("initialiser", "gradlab.network.initialisers")
