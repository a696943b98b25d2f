"""What the schema says of one variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.measure.records import Dims

TEXT = np.dtypes.StringDType()


@dataclass(frozen=True)
class Variable:
    """One variable of the dataset.

    Parameters
    ----------
    name, long_name, units, description : str
        What it is called, in a word and on an axis label, its unit, and what exactly it is.
    dtype : {"float64", "int64", "int8", "text"}
    over : tuple of str
        The dimensions after the case dimensions. `OPTIONAL` ones are there only where the networks of
        the sweep have more than one of them.
    flags : mapping of str to int, optional
        What the integers mean (CF's ``flag_meanings`` and ``flag_values``).
    """

    name: str
    long_name: str
    units: str
    description: str
    over: Dims = ()
    dtype: Literal["float64", "int64", "int8", "text"] = "float64"
    fill: float | int | str = float("nan")
    flags: Mapping[str, int] | None = None

    @property
    def numpy_dtype(self) -> Any:
        """The NumPy type of the array."""
        return TEXT if self.dtype == "text" else np.dtype(self.dtype)

    @property
    def attributes(self) -> dict[str, Any]:
        """The variable's attributes in the Dataset and in the archive."""
        attributes: dict[str, Any] = {
            "long_name": self.long_name,
            "units": self.units,
            "description": self.description,
        }
        if self.flags is not None:
            attributes["flag_values"] = list(self.flags.values())
            attributes["flag_meanings"] = " ".join(self.flags)
        return attributes

    def empty(self, shape: Sequence[int]) -> NDArray[Any]:
        """Return an array of `shape` that says: not run."""
        return np.full(tuple(shape), self.fill, dtype=self.numpy_dtype)
