"""One case as plain arrays, in PyTorch's names, layout and gate order, for any other tool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.clipping import AbstractClip
from gradlab.learning.layers import Layers, Networks
from gradlab.learning.stack import Feedback
from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import parameters_of, stacked
from gradlab.network.parameters import Parameters, draw_readout, named
from gradlab.network.readout import OUTPUTS
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Case:
    """Everything needed to compute a case again elsewhere.

    Attributes
    ----------
    parameters : dict of arrays
        ``weight_ih_l0`` (rows, features), ``weight_hh_l0`` (rows, hidden), ``bias_ih_l0`` and
        ``bias_hh_l0`` (rows,), alike for further layers and the reverse direction; with a readout
        also ``weight_ho`` (outputs, directions * hidden) and ``bias_o`` (outputs,). Rows are the cell's
        row blocks; the LSTM's are i, f, g, o. For where the one bias of a block stands, and for what
        else a cell or an embedding has, see `gradlab.network.parameters.named`.
    inputs : array of shape (length, batch, features)
    targets : array of shape (looks, batch, outputs), or (looks, batch) classes
        One for each time step where the loss looks; for the loss ``unit`` the unit vectors, of
        shape (looks, batch, directions * hidden).
    looks : array of shape (looks,)
        Those time steps, from 0.
    network, task, clip : NetworkSettings, AbstractTask, AbstractClip
        The settings.
    seed, replicate : int
        The keys of the random streams.
    drawn : Parameters
        The parameters as the engine takes them.
    weight : array of shape (looks, batch), or None
        Factors of each sample's loss at the time steps where it looks, for tasks that look at their samples
        at different ones; None: ones.
    """

    parameters: dict[str, Array]
    inputs: Array
    targets: Array
    looks: NDArray[np.int64]
    network: NetworkSettings
    task: AbstractTask
    clip: AbstractClip
    seed: int
    replicate: int
    drawn: Parameters = field(repr=False)
    weight: Array | None = None

    def forward(self) -> dict[str, Array]:
        """Run the network forward.

        Returns
        -------
        dict of arrays
            Of the top layer, both directions side by side: ``states`` of shape (length, batch,
            directions * hidden); ``memories`` alike for cells that have one; with a readout
            ``outputs`` of shape (length, batch, outputs), after the readout's activation.
        """
        inputs = self.inputs.transpose(0, 2, 1)[:, None]
        length, batch = len(inputs), inputs.shape[-1]
        p = self.parameters
        feedback = output = None
        if "weight_ho" in p:
            readout = np.concatenate([p["weight_ho"], p["bias_o"][:, None]], axis=1)[None]
            output = Feedback(readout, OUTPUTS[self.network.output])
            feedback = output if self.network.cell.feeds_back == "output" else None
        networks = Networks(
            self.network.cell,
            self.network.activation,
            stacked([self.drawn]),
            lambda start, stop: np.asarray(inputs[start:stop]),
            length,
            self.network.hidden,
            batch,
            feedback,
            self.network.initial_state,
        )
        out: dict[str, Array] = {}
        with np.errstate(all="ignore"):
            layers = Layers(
                networks,
                segment=length,
                keep_states=True,
                looks=set(),
                saturation=False,
                workspace=Workspace(),
                keep_carried=True,
            )
            layers.run()
            out["states"] = np.stack([layers.state(t)[0].T for t in range(length)])
            if len(self.network.cell.state_parts) > 1:
                out["memories"] = np.stack([_memory(layers, t) for t in range(length)])
            if output is not None:
                states = out["states"].transpose(0, 2, 1)
                out["outputs"] = output.value(states).transpose(0, 2, 1)
        return out


def _memory(layers: Layers, t: int) -> Array:
    """Return the memory of the only case after time step `t`, (batch, directions * hidden)."""
    own = [layers.networks.length - 1 - t if direction else t for direction in range(len(layers.top))]
    each = [one.carried(at)[0][0].T for one, at in zip(layers.top, own, strict=True)]
    return np.concatenate(each, axis=-1)


def draw_case(
    network: NetworkSettings, task: AbstractTask, clip: AbstractClip, seed: int, replicate: int
) -> Case:
    """Draw a case.

    Parameters
    ----------
    network, task, clip : NetworkSettings, AbstractTask, AbstractClip
        The settings of the case.
    seed, replicate : int
        The keys of its random streams.
    """
    dtype = network.dtype
    drawn = parameters_of(network, task, seed, replicate)
    parameters = named(network, drawn)
    loss = task.loss_entry
    if loss.uses_readout or network.cell.feeds_back == "output":
        readout = draw_readout(network, outputs=task.n_outputs, seed=seed, replicate=replicate)
        parameters |= {"weight_ho": readout[:, :-1].copy(), "bias_o": readout[:, -1].copy()}
    looks = np.array(list(task.looks()), dtype=np.int64)
    factors = [task.weight(t, t + 1, seed, replicate) for t in looks.tolist()]
    known = [one[0] for one in factors if one is not None]
    targets = np.stack(
        [
            task.targets(t, t + 1, seed, replicate, network.hidden * network.directions)[0]
            for t in looks.tolist()
        ]
    )
    if loss.target_kind != "classes":
        targets = targets.transpose(0, 2, 1).astype(dtype)
    inputs = task.inputs(0, task.steps, seed, replicate).transpose(0, 2, 1).astype(dtype)
    weight = np.stack(known) if known else None
    return Case(parameters, inputs, targets, looks, network, task, clip, seed, replicate, drawn, weight)
