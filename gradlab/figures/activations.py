"""Value and derivative of activations."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradlab.figures import panels, style, ticks
from gradlab.figures._base import AbstractFigure, Matrices, registry
from gradlab.figures.selection import entry_name
from gradlab.network.activations import AbstractActivation
from gradlab.network.activations import registry as catalogue

_REACH = 4.0
_VALUE: dict[str, Any] = {"color": style.QUALITATIVE[0], "linestyle": "-", "label": "value"}
_DERIVATIVE: dict[str, Any] = {
    "color": style.QUALITATIVE[1],
    "linestyle": (0, (4, 1.5)),
    "label": "derivative",
}


@registry.register
@dataclass(frozen=True)
class Activations(AbstractFigure):
    """Value and derivative of the activations that a dataset is about, or of the whole catalogue."""

    name: ClassVar[str] = "activations"
    summary: ClassVar[str] = "value and derivative of each activation"

    def _draw(self, ds: xr.Dataset, matrices: Matrices) -> Figure:
        shown = {label: from_label(label) for label in _labels(ds) or catalogue.names()}
        page = panels.grid(list(shown), 1.2 if len(shown) > 1 else 2.0, share_x=True)
        z = np.linspace(-_REACH, _REACH, 801)
        for ax, activation in zip(page.axes, shown.values(), strict=True):
            ax.axhline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
            ax.axvline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
            ax.plot(z, activation.value(z), **_VALUE)
            ax.plot(z, activation.derivative(z), **_DERIVATIVE)
            ax.margins(x=0.0)
            ticks.plain(ax.xaxis, 5)
            ticks.plain(ax.yaxis, 4)
        panels.name_axes(page, "pre-activation (dimensionless)", "value, derivative (dimensionless)")
        panels.legend(page.figure, [Line2D([], [], **_VALUE), Line2D([], [], **_DERIVATIVE)])
        return page.figure


def _labels(ds: xr.Dataset) -> list[str]:
    """Return the labels of a dataset's activations; none where it does not tell them."""
    labels = [str(ds.attrs["activation"])] if "activation" in ds.attrs else []
    for name in ds.coords:
        values = [str(value) for value in ds[name].values.reshape(-1)]
        _, setting, key = str(ds[name].attrs.get("description")).partition("the setting network.activation")
        if name == "activation" or (setting and not key):
            labels = values
        elif setting and len(labels) == 1:  # one that all cases share, but for this
            labels = [f"{entry_name(labels[0])}({key.removeprefix('.')}={value})" for value in values]
    return list(dict.fromkeys(labels))


def from_label(label: str) -> AbstractActivation:
    """Return the activation that a label such as ``leaky_relu(0.1)`` or ``elu(alpha=2.0)`` stands for.

    Raises
    ------
    UserMistake
        Where no activation of the catalogue has this name and these settings.
    """
    name = entry_name(label)
    entry = catalogue.get(name, "activation")
    fields = [field.name for field in dataclasses.fields(entry)]
    inside = label[len(name) :].strip().removeprefix("(").removesuffix(")")
    table: dict[str, object] = {"name": name}
    for place, part in enumerate(text.strip() for text in inside.split(",") if text.strip()):
        key, equals, value = part.rpartition("=")
        key = key.strip() if equals else (fields[place] if place < len(fields) else f"setting {place}")
        try:
            table[key] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            table[key] = value.strip()
    return catalogue.build(table, "activation")
