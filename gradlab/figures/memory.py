"""Adjoint norms of an LSTM's memory against lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gradlab.core.errors import Problem, UserMistake
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.axes import having
from gradlab.figures.profile import Profile
from gradlab.figures.selection import label_axes

_RECORD = "log10_memory_gradient_norm"


@registry.register
@dataclass(frozen=True)
class Memory(AbstractFigure):
    """The norm of the memory's adjoint on its way back, as `profile` shows that of the state.

    Through the memory alone an adjoint passes the forget gates and no recurrent weight.

    Parameters
    ----------
    curve, panel : str, optional
        The axes whose values become curves and panels.
    """

    name: ClassVar[str] = "memory"
    summary: ClassVar[str] = "log10 adjoint norm of an LSTM's memory against lag"

    curve: str = ""
    panel: str = ""

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        # Most cells have none: that is no lack of the dataset, and no record to be added to it.
        if _RECORD not in ds or bool(np.isnan(ds[_RECORD].values).all()):
            raise UserMistake(
                Problem(f"figure {self.name!r}", f"the record {_RECORD} of cells that have a memory", "none")
            )
        for axis in label_axes(ds):
            if axis in ds.coords and axis in ds[_RECORD].dims:
                ds, _ = having(ds, axis, _RECORD)
        return Profile(self.curve, self.panel, _RECORD).plot(ds, matrices)
