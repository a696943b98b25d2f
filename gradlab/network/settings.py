"""Everything that determines a network's parameters, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.core.checks import integer, number, one_of, shown, size, truth, with_known
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import known, with_gaps
from gradlab.core.registry import settings_of
from gradlab.core.streams import canonical
from gradlab.network import activations, cells, initialisers, spectra
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell
from gradlab.network.initialisers import AbstractInitialiser
from gradlab.network.readout import OUTPUTS
from gradlab.network.spectra import AbstractSpectrum

DEFAULTS: Mapping[str, Any] = {
    "cell": "elman",
    "hidden": 64,
    "activation": "tanh",
    "spectrum": {"name": "ginibre", "radius": 1.0},
    "input": {"name": "normal", "gain": 1.0},
    "bias": {"name": "constant", "value": 0.0},
    "readout": {"name": "normal", "gain": 1.0},
    "output": "identity",
    "layers": 1,
    "bidirectional": False,
    "embedding": None,
    "initial_state": 0.0,
    "dtype": "float64",
}


#: Settings that are laws of weights.
LAWS = ("spectrum", "input", "bias", "readout")


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
    output : str
        Activation of the readout: a name out of `OUTPUTS`.
    layers : int
        How many layers; each reads the states of the one below.
    bidirectional : bool
        Whether every layer has a second set of weights that runs backwards in time.
    embedding : int or None
        Size of the vectors that stand for the inputs, which are then meant as symbols (one-hot): the
        lowest layer reads ``E x`` with a learnt ``E``. None: it reads the inputs themselves.
    initial_state : float
        What every hidden unit is before the first time step; a memory beside the state begins at zero.
    """

    cell: AbstractCell
    hidden: int
    activation: AbstractActivation
    spectra: tuple[AbstractSpectrum, ...]
    input: AbstractInitialiser
    bias: AbstractInitialiser
    readout: AbstractInitialiser
    dtype: str
    output: str = "identity"
    layers: int = 1
    bidirectional: bool = False
    embedding: int | None = None
    initial_state: float = 0.0

    @property
    def directions(self) -> int:
        """One, or two if bidirectional."""
        return 1 + self.bidirectional

    @property
    def depends_on_length(self) -> bool:
        """Whether states depend on how long the sequence is: then lengths share no forward pass."""
        return self.bidirectional or self.cell.depends_on_length

    @classmethod
    def build(cls, table: Mapping[str, Any], where: str = "network") -> NetworkSettings:
        """Return the settings a table of a spec describes, defaults filled in.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        table, problems = with_known(where, table, DEFAULTS, "a setting of the network")
        values: dict[str, Any] = {}

        def part(key: str, build: Any) -> None:
            with gathering(problems):
                values[key] = build(table.get(key, DEFAULTS[key]), f"{where}.{key}")

        part("cell", cells.registry.build)
        part("hidden", lambda value, place: integer(place, value, at_least=1))
        part("activation", activations.registry.build)
        blocks = values["cell"].recurrent_blocks if "cell" in values else ()
        part("spectrum", lambda value, place: _spectra(value, place, blocks))
        for key in ("input", "bias", "readout"):
            part(key, initialisers.registry.build)
        part("dtype", lambda value, place: one_of(place, value, ("float64", "float32")))
        part("output", lambda value, place: one_of(place, value, OUTPUTS, "an activation of the readout"))
        part("layers", lambda value, place: size(place, value))
        part("bidirectional", lambda value, place: truth(place, value))
        part("embedding", lambda v, place: None if v is None else size(place, v))
        part("initial_state", lambda value, place: number(place, value))
        problems += _misfits(values, where)
        if "spectrum" in values:
            values["spectra"] = values.pop("spectrum")
        if problems or len(values) < len(DEFAULTS):
            raise UserMistake(problems, with_gaps(cls, values))
        return cls(**values)

    @classmethod
    def of_structure(
        cls,
        cell: AbstractCell,
        activation: AbstractActivation,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dtype: str,
        output: str,
    ) -> NetworkSettings:
        """Return the settings of a network whose weights come from elsewhere; no laws are meant."""
        none = initialisers.registry.build({"name": "constant", "value": 0.0})
        return cls(cell, hidden, activation, (), none, none, none, dtype, output, layers, bidirectional)

    def to_table(self) -> dict[str, Any]:
        """Return the plain table that builds these settings again."""
        blocks = self.cell.recurrent_blocks
        spectrum: Any = settings_of(self.spectra[0])
        if len(self.spectra) > 1:
            spectrum = {block: settings_of(s) for block, s in zip(blocks, self.spectra, strict=True)}
        return {
            "cell": settings_of(self.cell),
            "hidden": self.hidden,
            "layers": self.layers,
            "bidirectional": self.bidirectional,
            **({} if self.embedding is None else {"embedding": self.embedding}),
            "activation": settings_of(self.activation),
            "spectrum": spectrum,
            "input": settings_of(self.input),
            "bias": settings_of(self.bias),
            "readout": settings_of(self.readout),
            "output": self.output,
            "initial_state": self.initial_state,
            "dtype": self.dtype,
        }

    def structure(self) -> bytes:
        """Return what networks must share to be stacked: all settings but the laws of their weights."""
        return canonical({key: value for key, value in self.to_table().items() if key not in LAWS})

    def identity(self) -> dict[str, Any]:
        """Return what determines the numbers: the table, with files by content instead of by name."""
        return {
            **self.to_table(),
            "spectrum": [s.identity() for s in self.spectra],
            "input": self.input.identity(),
            "bias": self.bias.identity(),
            "readout": self.readout.identity(),
        }


def _misfits(values: Mapping[str, Any], where: str) -> list[Problem]:
    """Return what is wrong with settings that are right each for itself."""
    problems: list[Problem] = []
    for spectrum in values.get("spectrum", ()) if "hidden" in values else ():
        found: list[Problem] = []
        with gathering(found):
            spectrum.check_size(values["hidden"])
        if not found:
            with gathering(found):
                spectrum.check_scaling(values["hidden"])
        problems += [problem.under(f"{where}.spectrum") for problem in found]
    cell = values.get("cell")
    if cell is None:
        return problems
    if "hidden" in values:
        try:
            cell.check_size(values["hidden"])
        except UserMistake as mistake:
            problems += mistake.under(where).problems
    if "spectrum" in values:
        problems += [problem.under(where) for problem in cell.unfit(values["spectrum"])]
    if cell.feeds_back == "output":
        for key, wanted in (("layers", 1), ("bidirectional", False), ("initial_state", 0.0)):
            if values.get(key, wanted) != wanted:
                expected = f"{shown(wanted)} for the cell {cell.name!r}, which feeds its output back"
                problems.append(Problem(f"{where}.{key}", expected, shown(values[key])))
    return problems


def _spectra(setting: Any, where: str, blocks: tuple[str, ...]) -> tuple[AbstractSpectrum, ...]:
    """Return one spectrum, or one for each row block where the table is keyed by row blocks."""
    known(setting)
    if not isinstance(setting, Mapping) or "name" in setting or len(blocks) < 2:
        return (spectra.registry.build(setting, where),)
    setting, problems = with_known(where, setting, blocks, "a row block of the cell")
    built = []
    for block in blocks:
        if block not in setting:
            problems.append(
                Problem(f"{where}.{block}", "a spectrum", "nothing", "Every row block needs one.")
            )
            continue
        with gathering(problems):
            built.append(spectra.registry.build(setting[block], f"{where}.{block}"))
    if problems or len(built) < len(blocks):
        raise UserMistake(problems)
    return tuple(built)
