"""The parameters of networks while they are trained, in the blocks of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.layers import Weights
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.measure.embedded import embedded
from gradlab.measure.probe import parameters_of
from gradlab.measure.training import Trainee
from gradlab.network.cells import AbstractCell
from gradlab.network.parameters import draw_readout
from gradlab.network.settings import NetworkSettings

Array = NDArray[Any]


class Trainable:
    """What is changed by updates, and what the engine multiplies with.

    Layer by layer and direction by direction ``[W U b]``, then the elementwise parameters if the cell
    has any; then ``[V b]``; last the embedding table. ``W`` of a cell that ties its weights is the matrix
    drawn, not the one that multiplies; with an embedding ``U`` is what reads its vectors.

    Parameters
    ----------
    network : NetworkSettings
        The structure.
    blocks : list of arrays of shape (case, rows, columns)
        Changed in place by updates.
    """

    def __init__(self, network: NetworkSettings, blocks: list[Array]):
        self.network, self.blocks = network, blocks
        cell = network.cell
        self._tied = type(cell).tie is not AbstractCell.tie
        self._step = 1 + bool(cell.diagonals)
        self._readout = self._step * network.layers * network.directions

    @property
    def readout(self) -> Array:
        """``[V b]``, (case, outputs, directions * hidden + 1)."""
        return self.blocks[self._readout]

    def weights(self) -> list[list[Weights]]:
        """Return what multiplies, by layer and direction: the parameters themselves, where they do."""
        network, found = self.network, []
        for layer in range(network.layers):
            own = []
            for direction in range(network.directions):
                at = (layer * network.directions + direction) * self._step
                affine = self._multiplied(self.blocks[at], layer)
                cases, diagonals = len(affine), len(network.cell.diagonals)
                if diagonals:
                    split = self.blocks[at + 1].reshape(cases, diagonals, network.hidden, 1)
                    own.append(Weights(affine, np.ascontiguousarray(split.swapaxes(0, 1))))
                else:
                    own.append(Weights(affine, np.empty((0, cases, network.hidden, 1), affine.dtype)))
            found.append(own)
        return found

    def _multiplied(self, affine: Array, layer: int) -> Array:
        """Return ``[W U b]`` as it multiplies."""
        network, m = self.network, self._fed_back
        if self._tied:
            affine, n = affine.copy(), network.hidden
            for block in range(len(network.cell.recurrent_blocks)):
                for own in affine[:, block * n : (block + 1) * n, :m]:
                    own[...] = network.cell.effective(own.copy())
        if layer == 0 and network.embedding is not None:
            inward = np.matmul(affine[:, :, m:-1], self.blocks[-1])
            affine = np.concatenate([affine[:, :, :m], inward, affine[:, :, -1:]], axis=2)
        return affine

    @property
    def _fed_back(self) -> int:
        fed_back = self.network.cell.feeds_back == "output"
        return int(self.readout.shape[1]) if fed_back else self.network.hidden

    def gradient(self, product: ScaledGradient) -> ScaledGradient:
        """Return the gradient by the parameters, given that by what multiplies ahead of an embedding.

        A case may have several gradients, one after another.
        """
        if self.network.embedding is None:
            return product
        repeat, m = len(product.mantissas[0]) // len(self.blocks[0]), self._fed_back
        lowest = self.blocks[: self._step * self.network.directions : self._step]
        inward = [np.repeat(block, repeat, axis=0)[:, :, m:-1] for block in lowest]
        return embedded(product, np.repeat(self.blocks[-1], repeat, axis=0), inward, self._step)

    def matrices(self) -> Array:
        """Return what multiplies the state of the top layer, forward: (case, row block, hidden, hidden)."""
        network, n = self.network, self.network.hidden
        at = (network.layers - 1) * network.directions * self._step
        affine = self._multiplied(self.blocks[at], network.layers - 1)
        count = len(network.cell.recurrent_blocks)
        m = self._fed_back
        return affine[:, : count * n, :m].reshape(len(affine), count, n, m)

    def finite(self) -> NDArray[np.bool_]:
        """Return which cases have finite parameters only."""
        sums = [block.reshape(len(block), -1).sum(axis=1) for block in self.blocks]
        if all(np.isfinite(one).all() for one in sums):
            return np.ones(len(self.blocks[0]), dtype=bool)
        return np.asarray(np.logical_and.reduce([np.isfinite(b).all(axis=(1, 2)) for b in self.blocks]))


def draw_blocks(cases: Sequence[Trainee]) -> list[Array]:
    """Return the first parameters of cases of equal shape, in the blocks of `Trainable`."""
    known: dict[Any, list[Array]] = {}
    drawn = []
    for case in cases:
        task = case.task
        key = case.network, task.features, task.length, task.n_outputs, case.seed, case.replicate
        if key not in known:
            known[key] = _draw(case)
        drawn.append(known[key])
    return [np.stack(blocks) for blocks in zip(*drawn, strict=True)]


def _draw(case: Trainee) -> list[Array]:
    network, task = case.network, case.task
    own = parameters_of(network, task, case.seed, case.replicate)
    cell, n, m = network.cell, network.hidden, own.fed_back
    blocks = []
    for layer, directions in enumerate(own.layers):
        for direction, one in enumerate(directions):
            affine = one.affine.copy()
            for block, matrix in enumerate(one.drawn[: len(cell.recurrent_blocks)]):
                affine[block * n : (block + 1) * n, :m] = matrix.matrix[:n, :m]
            if layer == 0 and own.embedding is not None:
                parts = [affine[:, :m], own.embedded[direction], affine[:, -1:]]
                affine = np.concatenate(parts, axis=1)
            blocks.append(affine)
            if cell.diagonals:
                blocks.append(one.diagonal.reshape(-1, 1).astype(network.dtype))
    readout = draw_readout(network, outputs=task.n_outputs, seed=case.seed, replicate=case.replicate)
    blocks.append(readout)
    if own.embedding is not None:
        blocks.append(own.embedding)
    return blocks
