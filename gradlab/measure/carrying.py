"""States that are carried over: an update goes on where the last one ended, in states and in sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.workspace import Workspace
from gradlab.measure.training import Trainee
from gradlab.measure.updates import Batch, batch_of
from gradlab.network.cells import AbstractCell
from gradlab.network.settings import NetworkSettings
from gradlab.tasks._examples import Examples

Array = NDArray[Any]


def first_states(cases: Sequence[Trainee]) -> list[list[Array]]:
    """Return by layer what networks are carried over from before the first update; see `Stack.start`.

    It is never looked at, for every sample begins anew at the first update.
    """
    network, task = cases[0].network, cases[0].task
    rows = [network.hidden] * len(network.cell.state_parts)
    rows += [task.n_outputs] if _feeds_output(network.cell) else []
    shapes = [(len(cases), n, task.batch) for n in rows]
    return [[np.zeros(shape, network.dtype) for shape in shapes] for _ in range(network.layers)]


def named(states: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """Return states by the names that they have in the state of a training."""
    return {
        f"carried {layer} {part}": values
        for layer, parts in enumerate(states)
        for part, values in enumerate(parts)
    }


def state_bytes(network: NetworkSettings, batch: int) -> int:
    """Return the bytes of what is carried over of one case."""
    parts = len(network.cell.state_parts) + _feeds_output(network.cell)
    return int(network.layers * parts * network.hidden * batch * np.dtype(network.dtype).itemsize)


def _feeds_output(cell: AbstractCell) -> bool:
    return cell.feeds_back == "output"


@dataclass
class Carried:
    """The states that some cases go on from.

    Parameters
    ----------
    states : list of lists of arrays
        By layer; see `Stack.start`.
    """

    states: list[list[Array]]

    @classmethod
    def of(cls, state: Mapping[str, Array], rows: NDArray[np.int64]) -> Carried | None:
        """Return what some cases of a training's state go on from; None where nothing is carried over."""
        layers: list[list[Array]] = []
        while f"carried {len(layers)} 0" in state:
            name = f"carried {len(layers)}"
            parts = sum(one.startswith(f"{name} ") for one in state)
            layers.append([state[f"{name} {part}"][rows] for part in range(parts)])
        return cls(layers) if layers else None

    def store(self, state: Mapping[str, Array], rows: NDArray[np.int64]) -> None:
        """Bring a training's state up to date."""
        for name, values in named(self.states).items():
            state[name][rows] = values

    def draw(self, cases: Sequence[Trainee], number: int, workspace: Workspace) -> Batch:
        """Return the examples of an update with the states that they go on from."""
        known: dict[Any, tuple[Examples, NDArray[np.bool_]]] = {}
        for case in cases:
            if case.task not in known:
                known[case.task] = case.task.passage(number)
        each = [known[case.task] for case in cases]
        anew = np.stack([one for _, one in each])[:, None]
        initial, network = cases[0].network.initial_state, cases[0].network
        start = [
            [np.where(anew, initial if part == 0 else 0.0, state) for part, state in enumerate(layer)]
            for layer in self.states
        ]
        start = [[state.astype(network.dtype, copy=False) for state in layer] for layer in start]
        return replace(batch_of(cases, [one for one, _ in each], "training", workspace), start=start)
