"""Updates by the extended Kalman filter: what all outputs of a batch tell of the weights, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.learning.backward import Lane
from gradlab.learning.clipping.off import Off
from gradlab.learning.learners.kalman import Kalman, kalman_update, unit_groups
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.measure.given import sample_gradients
from gradlab.measure.updates import Array, Batch, Pass, Seen, settled
from gradlab.network.readout import OUTPUTS, AbstractOutput, sums
from gradlab.network.settings import NetworkSettings

_OFF = Off()


def groups_of(learner: Kalman, network: NetworkSettings, blocks: Sequence[Array]) -> list[Array]:
    """Return the places, in the vector of all parameters, of the weights of each group."""
    shapes = [(int(block.shape[1]), int(block.shape[2])) for block in blocks]
    if learner.groups == "global":
        return [np.arange(sum(rows * columns for rows, columns in shapes))]
    return unit_groups(network.cell, network.hidden, network.layers * network.directions, shapes)


def first_covariances(learner: Kalman, network: NetworkSettings, blocks: Sequence[Array]) -> list[Array]:
    """Return the covariances before the first update, each (case, weights, weights), in float64."""
    return [
        np.tile(learner.initial_covariance * np.eye(len(group)), (len(blocks[0]), 1, 1))
        for group in groups_of(learner, network, blocks)
    ]


@dataclass
class Filter:
    """The filter of some cases that are trained together.

    Parameters
    ----------
    learner : Kalman
    covariances : list of arrays of shape (case, weights, weights)
        By group; changed in place.
    """

    learner: Kalman
    covariances: list[Array]

    def update(self, work: Pass, batch: Batch, seen: Seen) -> None:
        """Move the parameters of a pass by what a batch tells; cases that are gone stay.

        A case whose derivatives or covariances leave the range gets parameters that are not finite.
        """
        blocks = work.parameters.blocks
        groups = groups_of(self.learner, work.cases[0].network, blocks)
        jacobian, error = observations(work, batch, seen)
        for c in np.flatnonzero(~seen.gone).tolist():
            vector = np.concatenate([block[c].reshape(-1) for block in blocks]).astype(np.float64)
            vector = self._moved(c, vector, groups, jacobian[c], error[c])
            start = 0
            for block in blocks:
                stop = start + block[c].size
                block[c] = vector[start:stop].reshape(block[c].shape)
                start = stop

    def _moved(self, c: int, vector: Array, groups: list[Array], jacobian: Array, error: Array) -> Array:
        """Return the parameters of a case after one observation."""
        learner = self.learner
        if not (np.isfinite(jacobian).all() and np.isfinite(error).all()):
            return np.full_like(vector, np.nan)
        try:
            weights, covariances = kalman_update(
                [vector[group] for group in groups],
                [covariance[c] for covariance in self.covariances],
                [jacobian[group] for group in groups],
                error,
                process_noise=learner.process_noise,
                measurement_noise=learner.measurement_noise,
            )
        except np.linalg.LinAlgError:  # rounding has left a covariance that is none
            return np.full_like(vector, np.nan)
        for group, own, kept, left in zip(groups, weights, self.covariances, covariances, strict=True):
            vector[group] = own
            kept[c] = left
        return vector


def observations(work: Pass, batch: Batch, seen: Seen) -> tuple[Array, Array]:
    """Return the derivatives of all outputs by the parameters, and target minus output, in float64.

    What is observed are the outputs of every sample at every time step looked at; an output whose loss
    has the factor w counts as one with the noise R / w.

    Returns
    -------
    jacobian : array of shape (case, weights, observations)
    error : array of shape (case, observations)
    """
    network, task = work.cases[0].network, work.cases[0].task
    output, readout = OUTPUTS[network.output], work.parameters.readout
    cases, samples = len(work.cases), batch.samples
    gone = np.repeat(seen.gone, samples)
    workspace = work.workspace.part("observations")

    def by_parameters(gradient: ScaledGradient) -> ScaledGradient:
        for mantissa in gradient.mantissas:
            mantissa[gone] = 0.0
        return work.parameters.gradient(gradient).map(settled)

    columns, errors = [], []
    for look, t in enumerate(batch.looks):
        for o in range(task.n_outputs):
            unit = _Unit(readout, output, o)
            lane = Lane((t,), unit, readout, _OFF, (_OFF,))
            gradient = sample_gradients(seen.layers, lane, workspace, by_parameters).values()
            flat = [block.reshape(cases, samples, -1) for block in gradient]
            columns.append(np.concatenate(flat, axis=2).astype(np.float64))
        errors.append((batch.targets[look] - unit.value).astype(np.float64))
    factor = np.ones((len(batch.looks), cases, samples)) if batch.weight is None else batch.weight
    root = np.sqrt(factor)[:, None].repeat(task.n_outputs, axis=1)  # (look, output, case, sample)
    jacobian = np.stack(columns).reshape(*root.shape, -1) * root[..., None]
    error = np.stack(errors).transpose(0, 2, 1, 3) * root
    error = np.where(root == 0, 0.0, error)
    return (
        jacobian.transpose(2, 4, 0, 1, 3).reshape(cases, -1, root.size // cases),
        error.transpose(2, 0, 1, 3).reshape(cases, -1),
    )


class _Unit:
    """Looks at one output of the readout: its slope is one, that by the others zero.

    Attributes
    ----------
    value : array of shape (case, outputs, batch)
        All outputs at the time step looked at.
    """

    value: Array

    def __init__(self, readout: Array, output: AbstractOutput, which: int):
        self._readout, self._output, self._which = readout, output, which

    def __call__(self, times: Sequence[int], state: Array) -> tuple[Array, Array]:
        before = sums(self._readout, state)
        (self.value,) = self._output.value(before)
        unit = np.zeros_like(before)
        unit[..., self._which, :] = 1.0
        return np.zeros((*before.shape[:2], before.shape[-1])), self._output.pull(before, unit)
