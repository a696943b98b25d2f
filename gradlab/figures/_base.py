"""The contract of a figure, and the call that draws all that a dataset allows."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self, TypeAlias

import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import Registry
from gradlab.figures import style
from gradlab.figures.axes import axis_of
from gradlab.figures.needs import require
from gradlab.figures.updates import at_last_update

Matrices: TypeAlias = Mapping[str, ArrayLike]
_SETTINGS = {"length": "task.length", "clip": "clip"}
"""The settings along axes that figures need."""


class AbstractFigure(ABC):
    """A figure of a dataset; the fields of an entry are its options.

    Claims: `summary` says in one line what it shows; `axes` and `variables` are what a dataset must
    have for it; `along_update` says that it shows what runs along the updates of a training, where
    others are given a training as it was at its last update; `needs_matrices` says that the recurrent
    matrices, which no dataset holds, must be given as well.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ()
    variables: ClassVar[tuple[str, ...]] = ()
    along_update: ClassVar[bool] = False
    needs_matrices: ClassVar[bool] = False

    def plot(self, ds: xr.Dataset, matrices: Matrices | None = None) -> Figure:
        """Return the figure of a dataset.

        Parameters
        ----------
        ds : xarray.Dataset
            Records named, dimensioned and labelled as an archive has them, of any selection: axes
            that the figure does not show are cut at one label, which the figure then names.
        matrices : mapping of str to array_like, shape (to, from), optional
            The recurrent matrices by label, for a figure that `needs_matrices`.

        Raises
        ------
        UserMistake
            Where the dataset lacks an axis or a variable, or the matrices are missing or unfit;
            every lack is named, with what there is.
        """
        ds, self = self._by_usual_names(ds)
        require(ds, self.name, axes=self.axes, variables=self.variables)
        if self.needs_matrices and not matrices:
            raise UserMistake(
                Problem(
                    f"figure {self.name!r}",
                    "the recurrent matrices, by label",
                    "none",
                    "No dataset holds them: draw them again from the spec and give them as `matrices`.",
                )
            )
        with style.applied():
            return self._draw(ds if self.along_update else at_last_update(ds), matrices or {})

    def _by_usual_names(self, ds: xr.Dataset) -> tuple[xr.Dataset, Self]:
        """Return the dataset and the options with the axes that the figure needs by the names it knows."""
        for name in self.axes:
            found = axis_of(ds, _SETTINGS[name])
            if found is not None and found != name and name not in ds.dims:
                ds = ds.rename({found: name})
                options = {field: name for field, value in vars(self).items() if value == found}
                self = dataclasses.replace(self, **options)  # type: ignore[type-var]  # entries are dataclasses
        return ds, self

    @abstractmethod
    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        """Return the figure; the needs are met and the style is on."""


registry: Registry[AbstractFigure] = Registry("figure", "gradlab.figures")


def draw_all(ds: xr.Dataset, matrices: Matrices | None = None) -> dict[str, Figure | UserMistake]:
    """Return every figure of the catalogue that a dataset allows.

    Parameters
    ----------
    ds : xarray.Dataset
        As for `AbstractFigure.plot`.
    matrices : mapping of str to array_like, shape (to, from), optional
        The recurrent matrices by label.

    Returns
    -------
    dict of str to Figure or UserMistake
        By name; where the needs of a figure are not met, the mistake that says which.
    """
    figures: dict[str, Figure | UserMistake] = {}
    for entry in registry:
        try:
            figures[entry.name] = registry.build(entry.name).plot(ds, matrices)
        except UserMistake as mistake:
            figures[entry.name] = mistake
    return figures
