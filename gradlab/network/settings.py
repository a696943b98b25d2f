"""Everything that determines a network's parameters, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.core.checks import integer, nearest, one_of, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import settings_of
from gradlab.network import activations, cells, initialisers, spectra
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell
from gradlab.network.initialisers import AbstractInitialiser
from gradlab.network.spectra import AbstractSpectrum

DEFAULTS: Mapping[str, Any] = {
    "cell": "elman",
    "hidden": 64,
    "activation": "tanh",
    "spectrum": {"name": "ginibre", "radius": 1.0},
    "input": {"name": "normal", "gain": 1.0},
    "bias": {"name": "constant", "value": 0.0},
    "readout": {"name": "normal", "gain": 1.0},
    "dtype": "float64",
}


@dataclass(frozen=True)
class NetworkSettings:
    """The settings of one network.

    Parameters
    ----------
    cell, activation : AbstractCell, AbstractActivation
        What is simulated.
    hidden : int
        Number of hidden units.
    spectra : tuple of AbstractSpectrum
        The family of every recurrent matrix: one for all row blocks of the cell, or one for each.
    input, bias, readout : AbstractInitialiser
        Laws of the input weights, the biases, and the readout weights (its bias is zero).
    dtype : str
        "float64" or "float32": the precision of states, parameters and adjoints.
    """

    cell: AbstractCell
    hidden: int
    activation: AbstractActivation
    spectra: tuple[AbstractSpectrum, ...]
    input: AbstractInitialiser
    bias: AbstractInitialiser
    readout: AbstractInitialiser
    dtype: str

    @classmethod
    def build(cls, table: Mapping[str, Any], where: str = "network") -> NetworkSettings:
        """Return the settings a table of a spec describes, defaults filled in.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        problems = [
            Problem(f"{where}.{key}", "a setting of the network", shown(key), nearest(key, DEFAULTS))
            for key in table
            if key not in DEFAULTS
        ]
        values: dict[str, Any] = {}

        def part(key: str, build: Any) -> None:
            try:
                values[key] = build(table.get(key, DEFAULTS[key]), f"{where}.{key}")
            except UserMistake as mistake:
                problems.extend(mistake.problems)

        part("cell", cells.registry.build)
        part("hidden", lambda value, place: integer(place, value, at_least=1))
        part("activation", activations.registry.build)
        blocks = values["cell"].row_blocks if "cell" in values else ()
        part("spectrum", lambda value, place: _spectra(value, place, blocks))
        for key in ("input", "bias", "readout"):
            part(key, initialisers.registry.build)
        part("dtype", lambda value, place: one_of(place, value, ("float64", "float32")))
        if problems:
            raise UserMistake(problems)
        values["spectra"] = values.pop("spectrum")
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        """Return the plain table that builds these settings again."""
        blocks = self.cell.row_blocks
        spectrum: Any = settings_of(self.spectra[0])
        if len(self.spectra) > 1:
            spectrum = {block: settings_of(s) for block, s in zip(blocks, self.spectra, strict=True)}
        return {
            "cell": settings_of(self.cell),
            "hidden": self.hidden,
            "activation": settings_of(self.activation),
            "spectrum": spectrum,
            "input": settings_of(self.input),
            "bias": settings_of(self.bias),
            "readout": settings_of(self.readout),
            "dtype": self.dtype,
        }

    def identity(self) -> dict[str, Any]:
        """Return what determines the numbers: the table, with files by content instead of by name."""
        return {
            **self.to_table(),
            "spectrum": [s.identity() for s in self.spectra],
            "input": self.input.identity(),
            "bias": self.bias.identity(),
            "readout": self.readout.identity(),
        }


def _spectra(setting: Any, where: str, blocks: tuple[str, ...]) -> tuple[AbstractSpectrum, ...]:
    """Return one spectrum, or one for each row block where the table is keyed by row blocks."""
    if not isinstance(setting, Mapping) or "name" in setting or len(blocks) < 2:
        return (spectra.registry.build(setting, where),)
    problems: list[Problem] = []
    built = []
    for key in setting:
        if key not in blocks:
            problems.append(
                Problem(f"{where}.{key}", "a row block of the cell", shown(key), nearest(key, blocks))
            )
    for block in blocks:
        if block not in setting:
            problems.append(
                Problem(f"{where}.{block}", "a spectrum", "nothing", "Every row block needs one.")
            )
            continue
        try:
            built.append(spectra.registry.build(setting[block], f"{where}.{block}"))
        except UserMistake as mistake:
            problems.extend(mistake.problems)
    if problems:
        raise UserMistake(problems)
    return tuple(built)
