"""The settings of a network that was read from a file, as its archive keeps them in the place of a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.archive.variables import OF_LAST_RUN
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.streams import digest
from gradlab.experiment.labels import shared_label
from gradlab.learning import clipping
from gradlab.learning.taps import PATHS
from gradlab.network import activations, cells

_APART = ("title", "question", "record")  # they change no number


def is_of_file(table: Mapping[str, Any]) -> bool:
    """Whether an archive's settings are those of a network that was read, and not drawn."""
    network = table.get("network")
    return isinstance(network, dict) and isinstance(network.get("weights"), dict)


def settings_key(table: Mapping[str, Any]) -> str:
    """Return the key of the settings; not of where the files lie."""
    return digest(_by_content({key: value for key, value in table.items() if key not in _APART}))


def _by_content(table: Any) -> Any:
    """Return settings without the places of files, whose digests stand beside them."""
    if not isinstance(table, dict):
        return table
    return {k: _by_content(v) for k, v in table.items() if not (k == "file" and "sha256" in table)}


def attributes_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the dataset, as those of a run.

    Raises
    ------
    UserMistake
        If the settings are not those of a network that was read.
    """
    network = table["network"]
    if missing := [key for key in OF_LAST_RUN if key not in table]:
        raise UserMistake(Problem(missing[0], "a setting of a network that was read", "nothing"))
    activation = activations.registry.build(network.get("activation"), "network.activation")
    return {
        **{key: table[key] for key in OF_LAST_RUN},
        "cell": cells.registry.build(network.get("cell"), "network.cell").name,
        "activation": shared_label("network.activation", [activation]),
        "clip": shared_label("clip", [clipping.registry.build(table.get("clip"), "clip")]),
    }


def labels_of(table: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Sequence[Any]]:
    """Return what stands along the dimensions that an archive of such a network has, by their sizes.

    Raises
    ------
    UserMistake
        As `attributes_of` does.
    """
    cell = cells.registry.build(table["network"].get("cell"), "network.cell")
    named: dict[str, Sequence[Any]] = {
        "path": PATHS,
        "direction": ("forward", "reverse"),
        "gate": cell.recurrent_blocks,
    }
    return {dim: named.get(dim, range(size)) for dim, size in sizes.items()}
