"""Numbers written out in the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gradlab.core.checks import number, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.network.initialisers._base import AbstractInitialiser, Array, Check, registry

EXPECTED = "a list of rows, each a list of as many numbers"


def _rows(where: str, value: Any) -> tuple[tuple[float, ...], ...]:
    """Return a nested list as checked, frozen rows."""
    if not isinstance(value, list | tuple) or not value:
        raise UserMistake(Problem(where, EXPECTED, shown(value)))
    rows: list[tuple[float, ...]] = []
    for r, row in enumerate(value):
        if not isinstance(row, list | tuple) or not row:
            raise UserMistake(Problem(f"{where}[{r}]", EXPECTED, shown(row), "One row for each unit."))
        rows.append(tuple(number(f"{where}[{r}][{c}]", item) for c, item in enumerate(row)))
        if len(row) != len(rows[0]):
            raise UserMistake(
                Problem(f"{where}[{r}]", f"{len(rows[0])} numbers, as in the first row", str(len(row)))
            )
    return tuple(rows)


@registry.register
@dataclass(frozen=True)
class Given(AbstractInitialiser):
    """The numbers themselves, for worked examples.

    Parameters
    ----------
    values : list of lists of numbers
        A row for each unit they go to, gate by gate; biases are rows of one number.

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long short-term memory: memory cells with chosen weights.
    """

    values: tuple[Any, ...]

    name: ClassVar[str] = "given"
    deterministic: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {"values": _rows}

    @property
    def held_shape(self) -> tuple[int, ...]:
        """Rows and numbers in a row."""
        return len(self.values), len(self.values[0])

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> Array:
        """Return the numbers."""
        return np.array(self.values, dtype=np.float64)
