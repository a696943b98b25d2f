"""The parameters of a network, drawn from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.network.settings import NetworkSettings
from gradlab.network.spectra import Drawn

Array = NDArray[Any]


@dataclass(frozen=True)
class Parameters:
    """The recurrent part of one network.

    Parameters
    ----------
    affine : array of shape (rows, hidden + features + 1)
        ``[W U b]``: recurrent weights, input weights, bias; rows are the cell's row blocks.
    drawn : tuple of Drawn
        The recurrent matrix of each row block with its radius, norm and departure from normality.
    """

    affine: Array
    drawn: tuple[Drawn, ...]

    @classmethod
    def draw(
        cls, settings: NetworkSettings, *, features: int, length: int, seed: int, replicate: int
    ) -> Parameters:
        """Draw a network.

        Recurrent weights depend on (seed, replicate, row block, family, hidden) and are then
        scaled; input weights, biases and readout each have a stream of their own.
        """
        hidden, blocks, dtype = settings.hidden, settings.cell.row_blocks, settings.dtype
        families = settings.spectra * len(blocks) if len(settings.spectra) == 1 else settings.spectra
        drawn = tuple(
            family.draw(hidden, seed, replicate, part=block)
            for family, block in zip(families, blocks, strict=True)
        )
        rows = hidden * len(blocks)
        affine = np.empty((rows, hidden + features + 1), dtype=dtype)
        affine[:, :hidden] = np.concatenate([d.matrix for d in drawn])
        affine[:, hidden:-1] = settings.input.draw((rows, features), seed, replicate, "input weights")
        offset = settings.cell.bias_offset(
            hidden, length, streams.stream(seed, "cell biases", hidden, replicate)
        )
        affine[:, -1] = settings.bias.draw((rows, 1), seed, replicate, "biases")[:, 0] + offset
        return cls(affine, drawn)


def draw_readout(settings: NetworkSettings, *, outputs: int, seed: int, replicate: int) -> Array:
    """Draw the readout ``[V b]``, shape (outputs, hidden + 1); its bias is zero."""
    readout = np.zeros((outputs, settings.hidden + 1), dtype=settings.dtype)
    readout[:, :-1] = settings.readout.draw((outputs, settings.hidden), seed, replicate, "readout weights")
    return readout
