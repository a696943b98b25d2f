"""The extended Kalman filter: weights as the state of a system that the targets observe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.checks import number, one_of
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.learning.learners._base import AbstractLearner, Array, registry

if TYPE_CHECKING:
    from gradlab.network.cells import AbstractCell
    from gradlab.network.settings import NetworkSettings


@registry.register
@dataclass(frozen=True)
class Kalman(AbstractLearner):
    """Estimate the weights from errors and the derivatives of the outputs; `kalman_update` is one update.

    It makes no gradient: each update moves the weights by a gain that follows from all observations so
    far. So it trains, and a probe, which measures one gradient, has no use for it.

    In a training each update is one observation: the outputs of all samples of the batch at all time
    steps where the loss looks, with their derivatives at the weights before it (the multi-stream form).
    The derivatives are exact, by back-propagation through time, one pass for each output and time step.
    A sample whose loss has the factor w is seen with the noise ``R / w``; with the factor 0, not at all.
    Optimiser, learning rate and schedule mean nothing here: the gain takes their place. Weights and
    covariances are moved in float64. A case ends as diverged where rounding leaves a covariance that is
    no longer one. What is recorded of gradients is that of full back-propagation.

    Notation
        ``w_i`` weights of group i, ``P_i`` their covariance, ``H_i = dy/dw_i`` (weights, outputs),
        ``y`` output, ``d`` target, ``R`` covariance of the measurement noise, ``Q`` of the process noise.

    Equations
        ``A = (R + sum_i H_i^T P_i H_i)^-1``, ``K_i = P_i H_i A``;
        ``w_i += K_i (d - y)``, ``P_i += Q - K_i H_i^T P_i``

    Parameters
    ----------
    groups : {"global", "unit"}
        Weights between which covariances are kept: all, or (decoupled) those into the same unit.
    process_noise, measurement_noise : float
        Variance that every weight gains with each update, and that of every output.
    initial_covariance : float
        Variance of every weight before the first update.

    References
    ----------
    Puskorius and Feldkamp (1994), Neurocontrol of nonlinear dynamical systems with Kalman filter trained
    recurrent networks: the global and the decoupled filter. Feldkamp and Puskorius (1994),
    Training controllers for robustness: multi-stream DEKF.
    """

    name: ClassVar[str] = "kalman"
    online: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    for_training: ClassVar[bool] = True
    cells: ClassVar[str] = "all whose readout is not a softmax; for training only"

    groups: str = "global"
    process_noise: float = 0.0
    measurement_noise: float = 1.0
    initial_covariance: float = 1.0

    def __post_init__(self) -> None:
        together(
            lambda: one_of("groups", self.groups, ("global", "unit"), "which covariances are kept"),
            lambda: number("process_noise", self.process_noise, at_least=0.0),
            lambda: number("measurement_noise", self.measurement_noise, above=0.0),
            lambda: number("initial_covariance", self.initial_covariance, above=0.0),
        )

    def check_network(self, network: NetworkSettings, where: str) -> None:
        """Refuse readouts whose errors are no differences with noise of constant variance."""
        if network.output == "softmax":
            hint = "The filter takes outputs for targets with normal noise; probabilities are not that."
            expected = "a readout of identity, logistic or relu for 'kalman'"
            raise UserMistake(Problem(where, expected, "output = 'softmax'", hint))

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes of the covariances, of the derivatives, and of a gain."""
        states = network.hidden * network.directions
        inputs = [network.embedding or task.features] + [states] * (network.layers - 1)
        cell = network.cell
        rows = [
            len(cell.recurrent_blocks) * network.hidden + sum(cell.fed_blocks) * width + len(cell.row_blocks)
            for width in inputs
        ]
        units = [row + len(cell.diagonals) for row in rows for _ in range(states)]
        units += [states + 1] * task.n_outputs
        units += [task.features] * (network.embedding or 0)
        groups = [sum(units)] if self.groups == "global" else units
        seen = task.n_outputs * len(task.looks()) * task.batch
        # Covariances, those in the state and the next ones; derivatives, once more while they are gathered,
        # what the covariances make of them, and a gain.
        return int(8 * (3 * sum(count**2 for count in groups) + 5 * seen * sum(units) + 3 * seen**2))


def kalman_update(
    weights: Sequence[Array],
    covariances: Sequence[Array],
    jacobians: Sequence[Array],
    error: Array,
    *,
    process_noise: float,
    measurement_noise: float | Array,
) -> tuple[list[Array], list[Array]]:
    """Return weights and covariances after one observation.

    Parameters
    ----------
    weights : sequence of arrays of shape (weights,)
        By group; weights of different groups count as independent.
    covariances : sequence of arrays of shape (weights, weights)
        Of each group; symmetric.
    jacobians : sequence of arrays of shape (weights, outputs)
        Derivatives of the outputs by the weights of each group.
    error : array of shape (outputs,)
        Target minus output.
    process_noise : float
        Variance added to every weight.
    measurement_noise : float or array of shape (outputs, outputs)
        Variance of every output, or the covariance of all.

    Notes
    -----
    With ``L L^T = A^-1`` the covariance loses ``G G^T``, ``G = P H L^-T``: it stays symmetric to the last
    bit, and no inverse is formed.
    """
    noise = np.asarray(measurement_noise, dtype=error.dtype)
    innovation = np.eye(len(error), dtype=error.dtype) * noise if noise.ndim == 0 else noise.copy()
    spread = [np.matmul(p, h) for p, h in zip(covariances, jacobians, strict=True)]
    for h, ph in zip(jacobians, spread, strict=True):
        innovation = innovation + np.matmul(h.T, ph)
    root = np.linalg.cholesky(innovation)
    whitened = np.linalg.solve(root, error)
    moved, left = [], []
    for w, p, ph in zip(weights, covariances, spread, strict=True):
        gain = np.linalg.solve(root, ph.T).T
        moved.append(w + np.matmul(gain, whitened))
        covariance = p - np.matmul(gain, gain.T)
        covariance[np.diag_indices(len(w))] += process_noise
        left.append(covariance)
    return moved, left


def unit_groups(
    cell: AbstractCell, hidden: int, stacks: int, shapes: Sequence[tuple[int, int]]
) -> list[Array]:
    """Return which entries of the parameter vector belong to each unit of a network.

    Parameters
    ----------
    cell : AbstractCell
    hidden : int
        Units of a layer in one direction of time.
    stacks : int
        Layers times directions.
    shapes : sequence of (int, int)
        Rows and columns of the parameter blocks, which stand in the vector one after another and row by
        row, as gradients have them: for each layer and direction ``[W U b]`` and, where the cell has
        any, the elementwise parameters; the readout ``[V b]``; the embedding table if there is one.

    Returns
    -------
    list of integer arrays
        One for each hidden unit, layer by layer; then one for each output, and for each row of the table.
    """
    starts = np.concatenate([[0], np.cumsum([rows * columns for rows, columns in shapes])])
    places = [
        start + np.arange(rows * columns).reshape(rows, columns)
        for start, (rows, columns) in zip(starts.tolist(), shapes, strict=False)
    ]
    own = 1 + bool(cell.diagonals)  # blocks of one layer and direction
    groups: list[Array] = []
    for first in range(0, own * stacks, own):
        parts = [block.reshape(-1, hidden, block.shape[1]) for block in places[first : first + own]]
        groups += [np.concatenate([part[:, i].reshape(-1) for part in parts]) for i in range(hidden)]
    return [*groups, *(row for block in places[own * stacks :] for row in block)]
