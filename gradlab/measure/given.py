"""What clip rules may look at besides the gradient: weights, and the gradients of single samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.backward import Lane, backpropagate
from gradlab.learning.clipping.off import Off
from gradlab.learning.layers import Layers
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.workspace import Workspace
from gradlab.network.cells import AbstractCell

if TYPE_CHECKING:
    from gradlab.measure.material import Material

Array = NDArray[Any]
_OFF = Off()


def weights_of(material: Material, lane: Lane, layers: Layers) -> tuple[Array, ...]:
    """Return the parameters in the blocks of the gradient, (case, rows, columns).

    Layer by layer and direction by direction ``[W U b]``, then the elementwise parameters if the cell
    has any; ``[V b]``; last the embedding table. ``W`` of a cell that ties its weights is the matrix of
    the parameters, not the one that multiplies; with an embedding ``U`` is what reads its vectors.
    """
    cell = material.network.cell
    blocks: list[Array] = []
    for layer, directions in enumerate(material.weights):
        for direction, own in enumerate(directions):
            affine = own.affine
            if type(cell).tie is not AbstractCell.tie:
                affine = _untied(affine, [case[layer][direction] for case in material.drawn])
            if layer == 0 and material.embeddings:
                inward = np.stack([u[direction] for _, u in material.embeddings])
                first = affine.shape[2] - 1 - material.embeddings[0][0].shape[1]
                affine = np.concatenate([affine[:, :, :first], inward, affine[:, :, -1:]], axis=2)
            blocks.append(affine)
            if cell.diagonals:
                blocks.append(own.diagonal.swapaxes(0, 1).reshape(len(affine), -1, 1))
    feedback = layers.networks.feedback
    if lane.readout is not None:
        blocks.append(lane.readout)
    elif feedback is not None:
        blocks.append(feedback.readout)
    if material.embeddings:
        blocks.append(np.stack([table for table, _ in material.embeddings]))
    return tuple(blocks)


def _untied(affine: Array, drawn: Any) -> Array:
    """Return ``[W U b]`` with the matrices drawn, by case and row block, in place of those that multiply."""
    own = affine.copy()
    for case, matrices in enumerate(drawn):
        for block, one in enumerate(matrices):
            n, m = one.matrix.shape
            own[case, block * n : (block + 1) * n, :m] = one.matrix
    return own


def sample_gradients(
    layers: Layers, lane: Lane, workspace: Workspace, change: Callable[[ScaledGradient], ScaledGradient]
) -> ScaledGradient:
    """Return the gradient of every sample's own loss, those of the first case first.

    Parameters
    ----------
    layers : Layers
        A forward pass that has been run.
    lane : Lane
        Where the loss looks.
    workspace : Workspace
        Where the sums live: the result stands in it.
    change : callable
        What makes of gradients by all entries those by the parameters there are.
    """
    own = replace(lane, clip=_OFF, views=(_OFF,))
    back = backpropagate(layers, [own], (), gradients=True, samples=True, workspace=workspace)
    return change(back.gradients[0][0])
