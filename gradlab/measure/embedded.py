"""Gradients of networks that read their inputs through an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.scaled_gradient import ScaledGradient

Array = NDArray[Any]


def embedded(gradient: ScaledGradient, table: Array, inward: Sequence[Array], step: int) -> ScaledGradient:
    """Return the gradient by the parameters there are, given that by the product ``U E`` in place of ``U``.

    ``dU = dG E^T`` and ``dE = sum over directions of U^T dG``, where ``dG`` is that by ``U E``; ``dE`` is
    put last.

    Parameters
    ----------
    gradient : ScaledGradient
        Its first blocks are those of the lowest layer, direction by direction.
    table : array of shape (case, embedding, features)
        ``E``.
    inward : sequence of arrays of shape (case, rows, embedding)
        ``U`` by direction.
    step : int
        How many blocks a layer in one direction has; ``[W U b]`` is the first.
    """
    blocks = list(gradient.blocks())
    of_table: ScaledGradient | None = None
    for direction, u in enumerate(inward):
        whole, exponent = blocks[direction * step]
        m = whole.shape[2] - table.shape[2] - 1
        by_product = whole[:, :, m:-1]
        share = ScaledGradient((np.matmul(u.transpose(0, 2, 1), by_product),), (exponent,))
        of_table = share if of_table is None else of_table.plus(share)
        own = np.matmul(by_product, table.transpose(0, 2, 1))
        blocks[direction * step] = np.concatenate([whole[:, :, :m], own, whole[:, :, -1:]], axis=2), exponent
    assert of_table is not None, "a network reads in one direction at least"
    return ScaledGradient.of([*blocks, *of_table.blocks()])
