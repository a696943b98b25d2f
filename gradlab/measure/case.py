"""One case as plain arrays, in PyTorch's names, layout and gate order, for any other tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.clipping import AbstractClip
from gradlab.learning.trajectory import Stack, Trajectory
from gradlab.learning.workspace import Workspace
from gradlab.network.parameters import Parameters, draw_readout
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
        ``bias_hh_l0`` (rows,); with a readout also ``weight_ho`` (outputs, hidden) and ``bias_o``
        (outputs,). Rows are the cell's row blocks; the LSTM's are i, f, g, o. The network has one
        bias: it stands in ``bias_ih_l0``, and ``bias_hh_l0`` is zero.
    inputs : array of shape (length, batch, features)
    targets : array of shape (looks, batch, outputs), or (looks, batch) classes
        One for each time step where the loss looks; for the loss ``unit`` the unit vectors, of
        shape (looks, batch, hidden).
    looks : array of shape (looks,)
        Those time steps, from 0.
    network, task, clip : NetworkSettings, AbstractTask, AbstractClip
        The settings.
    seed, replicate : int
        The keys of the random streams.
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

    def forward(self) -> dict[str, Array]:
        """Run the network forward.

        Returns
        -------
        dict of arrays
            ``states`` of shape (length, batch, hidden); ``memories`` alike for gated cells; with a
            readout ``outputs`` of shape (length, batch, outputs).
        """
        p, n = self.parameters, self.network.hidden
        bias = (p["bias_ih_l0"] + p["bias_hh_l0"])[:, None]
        affine = np.concatenate([p["weight_hh_l0"], p["weight_ih_l0"], bias], axis=1)[None]
        inputs = self.inputs.transpose(0, 2, 1)[:, None]
        length, batch = len(inputs), inputs.shape[-1]

        def stretch(start: int, stop: int) -> Array:
            return np.asarray(inputs[start:stop])

        stack = Stack(self.network.cell, self.network.activation, affine, stretch, length, n, batch)
        out: dict[str, Array] = {}
        with np.errstate(all="ignore"):
            trajectory = Trajectory(
                stack,
                segment=length,
                keep_states=True,
                looks=set(),
                saturation=False,
                workspace=Workspace(),
                keep_carried=True,
            )
            trajectory.run()
            states = np.stack([trajectory.state(t)[0].T for t in range(length)])
            out["states"] = states
            if len(self.network.cell.state_parts) > 1:
                out["memories"] = np.stack([trajectory.carried(t)[0][0].T for t in range(length)])
        if "weight_ho" in p:
            out["outputs"] = states @ p["weight_ho"].T + p["bias_o"]
        return out


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
    n, dtype = network.hidden, network.dtype
    drawn = Parameters.draw(
        network, features=task.features, length=task.length, seed=seed, replicate=replicate
    )
    bias = drawn.affine[:, -1].copy()
    parameters = {
        "weight_ih_l0": drawn.affine[:, n:-1].copy(),
        "weight_hh_l0": drawn.affine[:, :n].copy(),
        "bias_ih_l0": bias,
        "bias_hh_l0": np.zeros_like(bias),
    }
    loss = task.loss_entry
    if loss.uses_readout:
        readout = draw_readout(network, outputs=task.n_outputs, seed=seed, replicate=replicate)
        parameters |= {"weight_ho": readout[:, :n].copy(), "bias_o": readout[:, n].copy()}
    looks = np.array(list(task.looks()), dtype=np.int64)
    targets = np.stack([task.targets(t, t + 1, seed, replicate, n)[0] for t in looks.tolist()])
    if loss.target_kind != "classes":
        targets = targets.transpose(0, 2, 1).astype(dtype)
    inputs = task.inputs(0, task.length, seed, replicate).transpose(0, 2, 1).astype(dtype)
    return Case(parameters, inputs, targets, looks, network, task, clip, seed, replicate)
