"""An archive's arrays by name, read without the libraries that label them: those take longer to load.

Just enough of `xarray.Dataset` for what looks at a probe's numbers in words; where more is wanted,
`gradlab.archive.reading.open_archive` gives the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.files import Files, files_of
from gradlab.archive.forms import Form
from gradlab.archive.reading import forms_of, open_archive, read_array
from gradlab.archive.variables import VARIABLES

if TYPE_CHECKING:
    import xarray as xr

NEED_LABELS = frozenset({"final_metric", "descent_loss"})  # of trainings and landscapes


@dataclass(frozen=True)
class PlainArray:
    """Values along dimensions with names, read when first used.

    Parameters
    ----------
    files : Files
        The archive's.
    forms : dict of str to Form
        Its arrays.
    name : str
        Which of them.
    """

    files: Files
    forms: dict[str, Form]
    name: str

    @property
    def form(self) -> Form:
        """How it is kept."""
        return self.forms[self.name]

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return self.form.dims

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        found: np.dtype[Any] = np.dtype(self.form.dtype)
        return found

    @property
    def attrs(self) -> dict[str, Any]:
        """What is told of it."""
        return self.form.attributes

    @cached_property
    def values(self) -> NDArray[Any]:
        """All values."""
        return read_array(self.files, self.forms, self.name)

    def along(self, *dims: str | EllipsisType) -> NDArray[Any]:
        """Return the values with the dimensions in this order; ``...`` stands for those not named."""
        named = [dim for dim in dims if dim is not ...]
        others = [dim for dim in self.dims if dim not in named]
        order = [own for dim in dims for own in (others if dim is ... else [dim])]
        return self.values.transpose([self.dims.index(str(dim)) for dim in order])


class PlainData:
    """The arrays of an archive.

    Parameters
    ----------
    path : path
        A directory or a packed file.

    Raises
    ------
    UserMistake
        If there is no archive, it is damaged, or it was written by a newer gradlab.
    """

    def __init__(self, path: str | Path):
        files = files_of(path)
        forms = forms_of(files)
        self._arrays = {name: PlainArray(files, forms, name) for name in forms}
        root = json.loads(files.read(f"{directory.DATA}/zarr.json"))  # `forms_of` has looked at it
        #: What is told of all of it.
        self.attrs: dict[str, Any] = {
            k: v for k, v in root.get("attributes", {}).items() if k != "coordinates"
        }
        #: Lengths of the dimensions.
        self.sizes = {name: form.shape[0] for name, form in forms.items() if form.dims == (name,)}
        #: The variables of the schema that are there.
        self.data_vars = {name: array for name, array in self._arrays.items() if name in VARIABLES}

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __getitem__(self, name: str) -> PlainArray:
        return self._arrays[name]


def data_of(path: str | Path) -> PlainData | xr.Dataset:
    """Return what an archive holds, as plainly as `gradlab.archive.summary` can take it.

    Raises
    ------
    UserMistake
        As `PlainData` does.
    """
    data = PlainData(path)
    return open_archive(path) if NEED_LABELS & data.data_vars.keys() else data
