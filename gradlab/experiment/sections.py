"""The sections of a spec, and the catalogues that understand them: the only place that knows both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gradlab import tasks
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import known, together
from gradlab.core.registry import Registry, settings_of
from gradlab.core.streams import canonical
from gradlab.experiment.tables import Table, without_none
from gradlab.learning import clipping, learners, optimisers, schedules
from gradlab.measure.plane import LandscapeSettings
from gradlab.measure.training_settings import DEFAULTS as TRAINING
from gradlab.measure.training_settings import TrainingSettings
from gradlab.network import activations, cells, initialisers, spectra
from gradlab.network.settings import DEFAULTS, NetworkSettings

FALLBACK: Mapping[str, Table] = {
    "network": {},
    "task": {"name": "noise"},
    "clip": {"name": "off"},
    "learner": {"name": "bptt"},
    "training": {},
    "landscape": {},
}

#: Every section that a measure may read.
SECTIONS = tuple(FALLBACK)

#: Catalogue that understands the value of a key, for the keys that have one.
CATALOGUES: Mapping[str, Registry[Any]] = {
    "task": tasks.registry,
    "clip": clipping.registry,
    "learner": learners.registry,
    "network.cell": cells.registry,
    "network.activation": activations.registry,
    "network.spectrum": spectra.registry,
    "network.input": initialisers.registry,
    "network.bias": initialisers.registry,
    "network.readout": initialisers.registry,
    "training.optimiser": optimisers.registry,
    "training.schedule": schedules.registry,
}

#: What understands a section that is a table of settings and no entry of a catalogue.
TABLES: Mapping[str, Any] = {"landscape": LandscapeSettings, "training": TrainingSettings}

#: Settings that sections have had from some release on, with what they were before: so told apart, keys of
#: cases stay what they are.
_LATER: Mapping[str, Mapping[str, Any]] = {
    "network": {"layers": 1, "bidirectional": False, "output": "identity", "initial_state": 0.0},
    "training": {"carry_state": False},
}

_NAMES: Mapping[str, Mapping[str, str]] = {
    section: {
        key: default if isinstance(default, str) else default["name"]
        for key, default in defaults.items()
        if f"{section}.{key}" in CATALOGUES
    }
    for section, defaults in (("network", DEFAULTS), ("training", TRAINING))
}


def names_in(section: str) -> Mapping[str, str]:
    """Return which entry stands at a setting of the section that the spec leaves out."""
    return _NAMES.get(section, {})


def build(section: str, table: Any, memo: dict[Any, Any] | None = None) -> Any:
    """Return the validated settings of a section.

    Parameters
    ----------
    section : str
        Which one.
    table : dict
        Its plain table; a bare name stands for the table with that name alone.
    memo : dict, optional
        Entries built before, kept by the caller between calls so that each is built once.

    Raises
    ------
    UserMistake
        With every problem of the table.
    """
    if section in CATALOGUES:
        return CATALOGUES[section].build(table, section)
    known(table)
    if not isinstance(table, Mapping):
        raise UserMistake(Problem(section, "a table of settings", shown(table)))
    if section in TABLES:
        return TABLES[section].build(table, section)
    if memo is not None:
        table = {key: _remembered(key, value, memo) for key, value in {**DEFAULTS, **table}.items()}
    return NetworkSettings.build(table, "network")


def _remembered(key: str, value: Any, memo: dict[Any, Any]) -> Any:
    """Return the entry that a setting of the network describes, or the setting where it is not fit."""
    catalogue = CATALOGUES.get(f"network.{key}")
    if catalogue is None:
        return value
    mark = (key, value) if isinstance(value, str) else (key, canonical(value))
    if mark not in memo:
        try:
            memo[mark] = catalogue.build(value, f"network.{key}")
        except UserMistake:
            memo[mark] = value
    return memo[mark]


def holds_arrays(network: NetworkSettings) -> bool:
    """Return whether the network was given input weights, biases or readout weights of a fixed shape."""

    def held(key: str) -> bool:
        try:
            return getattr(network, key).held_shape is not None
        except UserMistake:  # a gap
            return False

    return any(map(held, ("input", "bias", "readout")))


def check_arrays(network: NetworkSettings, task: Any) -> None:
    """Raise UserMistake for arrays that a network was given and that do not fit it or its task."""

    def check(key: str, shape: Callable[[], tuple[int, int]]) -> None:
        law = getattr(network, key)
        if law.held_shape is not None:
            law.check_shape(shape(), f"network.{key}")

    def rows() -> int:
        return network.hidden * len(network.cell.row_blocks)

    def states() -> int:
        return network.hidden * network.directions

    def width() -> int:
        features: int = network.embedding or task.features
        return features

    def fed() -> int:
        return network.hidden * sum(network.cell.fed_blocks)

    together(
        lambda: check("input", lambda: (fed(), width())),
        lambda: check("input", lambda: (fed(), states() if network.layers > 1 else width())),
        lambda: check("bias", lambda: (rows(), 1)),
        lambda: check("readout", lambda: (task.n_outputs, states())),
    )


def check_learner(learner: Any, clip: Any) -> None:
    """Raise UserMistake for a learner beside a clip rule that it does not fit."""
    if clip.scope == "adjoint" and not learner.has_adjoints:
        expected = f"a rule on the gradient, or 'off', with the learner {learner.name!r}"
        hint = "Rules on adjoints belong to the recursion of full back-propagation, the learner 'bptt'."
        raise UserMistake(Problem("clip", expected, clip.name, hint))
    if "samples" in clip.needs and not learner.has_adjoints:
        expected = f"a rule that needs no gradients of single samples with the learner {learner.name!r}"
        raise UserMistake(Problem("clip", expected, clip.name, "Only the learner 'bptt' makes those."))


def to_table(section: str, settings: Any) -> Table:
    """Return the plain table that builds the settings again; what is absent is left out."""
    table: Table = settings_of(settings) if section in CATALOGUES else settings.to_table()
    return dict(without_none(table))


def identity(section: str, settings: Any) -> Any:
    """Return what determines the numbers: the settings, with files by content instead of by name."""
    table = settings.identity() if hasattr(settings, "identity") else to_table(section, settings)
    later = _LATER.get(section)
    if later is None:
        return table
    return {key: value for key, value in table.items() if key not in later or value != later[key]}


@dataclasses.dataclass(frozen=True)
class Described:
    """The value of a key as its catalogue understands it.

    Parameters
    ----------
    name : str
        Name of the entry.
    settings, defaults : dict
        All its settings, and what those have that may be left out.
    """

    name: str
    settings: Table
    defaults: Table


def describe(key: str, value: Any) -> Described | None:
    """Return `value` (a name or table) as the catalogue of `key` understands it, None where it does not."""
    catalogue = CATALOGUES.get(key)
    if catalogue is None:
        return None
    try:
        table = settings_of(catalogue.build(value, key))
    except UserMistake:
        return None
    name = table.pop("name")
    fields = dataclasses.fields(catalogue.get(name))
    defaults = {f.name: f.default for f in fields if f.init and f.default is not dataclasses.MISSING}
    return Described(name, table, defaults)
