"""The parameters of a network, drawn from its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.network.settings import NetworkSettings
from gradlab.network.spectra import Drawn
from gradlab.network.spectra._measure import properties

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerParameters:
    """The recurrent part of one layer in one direction.

    Parameters
    ----------
    affine : array of shape (rows, fed back + features + 1)
        ``[W U b]`` as it multiplies: recurrent weights, input weights, bias; rows are the cell's row
        blocks; zero where a block has no such weights.
    diagonal : array of shape (diagonals, hidden)
        The cell's elementwise parameters.
    drawn : tuple of Drawn
        The matrix drawn for each row block with recurrent weights, with radius, norm and departure
        from normality of what it makes the state be multiplied with. One matrix stands for the
        eigenvalues of a cell without recurrent row blocks.
    """

    affine: Array
    diagonal: Array
    drawn: tuple[Drawn, ...]


@dataclass(frozen=True)
class Parameters:
    """The parameters of one network, its readout apart.

    Parameters
    ----------
    layers : tuple of tuples of LayerParameters
        By layer and direction. With an embedding, the input weights of the lowest layer are ``U E``.
    fed_back : int
        Columns of the recurrent weights: hidden units, or outputs.
    embedding : array of shape (embedding, features), or None
        ``E``, whose columns stand for the input symbols.
    embedded : tuple of arrays of shape (rows, embedding)
        With an embedding, ``U`` of the lowest layer, by direction.
    """

    layers: tuple[tuple[LayerParameters, ...], ...]
    fed_back: int
    embedding: Array | None = None
    embedded: tuple[Array, ...] = ()

    @classmethod
    def draw(
        cls,
        settings: NetworkSettings,
        *,
        features: int,
        length: int,
        seed: int,
        replicate: int,
        outputs: int | None = None,
    ) -> Parameters:
        """Draw a network.

        Recurrent weights depend on (seed, replicate, row block, layer, direction, family, hidden) and
        are then scaled; input weights, biases, readout and embedding each have a stream of their own.
        `outputs` is what a cell that feeds its output back needs to know.
        """
        draw = _Draw(settings, length, seed, replicate, outputs)
        embedding, embedded = None, []
        if settings.embedding is not None:
            stream = streams.stream(seed, "embedding", settings.embedding, features, replicate)
            embedding = stream.standard_normal((settings.embedding, features)).astype(settings.dtype)
            features = settings.embedding
        layers = []
        for layer in range(settings.layers):
            width = features if layer == 0 else settings.directions * settings.hidden
            layers.append(
                tuple(draw.layer(layer, direction, width) for direction in range(settings.directions))
            )
        if embedding is not None:
            columns = slice(draw.fed_back, -1)
            embedded = [one.affine[:, columns].copy() for one in layers[0]]
            layers[0] = tuple(_through(one, columns, embedding) for one in layers[0])
        return cls(tuple(layers), draw.fed_back, embedding, tuple(embedded))


def _through(one: LayerParameters, columns: slice, embedding: Array) -> LayerParameters:
    """Return a layer's parameters with the input weights ``U`` replaced by ``U E``."""
    affine = one.affine
    parts = [affine[:, : columns.start], affine[:, columns] @ embedding, affine[:, -1:]]
    return replace(one, affine=np.concatenate(parts, axis=1))


@dataclass(frozen=True)
class _Draw:
    """Draws the layers of one network."""

    settings: NetworkSettings
    length: int
    seed: int
    replicate: int
    outputs: int | None

    @property
    def fed_back(self) -> int:
        if self.settings.cell.feeds_back == "state":
            return self.settings.hidden
        assert self.outputs is not None
        return self.outputs

    @np.errstate(over="ignore")  # what is beyond float32 is infinite, and a state that it makes is marked
    def layer(self, layer: int, direction: int, features: int) -> LayerParameters:
        """Draw one layer in one direction."""
        settings, cell, n = self.settings, self.settings.cell, self.settings.hidden
        # The lowest layer's streams are those of a network of one layer: a second one changes no number.
        place = ("" if layer == 0 else f" of layer {layer}") + (" in reverse" if direction else "")
        drawn = self._matrices(place)
        first, rows, m = len(cell.recurrent_blocks), n * len(cell.row_blocks), self.fed_back
        stream = streams.stream(self.seed, f"cell parameters{place}", n, self.replicate)
        given = None if first else drawn[0].matrix
        diagonal = np.asarray(cell.draw_diagonals(given, n, stream), dtype=settings.dtype)
        affine = np.zeros((rows, m + features + 1), dtype=settings.dtype)
        for block, one in enumerate(drawn[:first]):
            affine[block * n : (block + 1) * n, :m] = cell.effective(one.matrix)[:n, :m]
        fed = np.repeat(cell.fed_blocks, n)
        weights = settings.input.draw(
            (int(fed.sum()), features), self.seed, self.replicate, f"input weights{place}"
        )
        scale = cell.input_scale(diagonal)
        affine[fed, m:-1] = weights if scale is None else weights * scale[:, None]
        biases = settings.bias.draw((rows, 1), self.seed, self.replicate, f"biases{place}")[:, 0]
        offsets = streams.stream(self.seed, f"cell biases{place}", n, self.replicate)
        affine[:, -1] = biases + cell.bias_offset(n, self.length, offsets)
        return LayerParameters(affine, diagonal, tuple(_measured(one, cell.effective) for one in drawn))

    def _matrices(self, place: str) -> list[Drawn]:
        """Draw the matrix of every recurrent row block; one for a cell that has none."""
        settings, blocks = self.settings, self.settings.cell.drawn_blocks
        families = settings.spectra * len(blocks) if len(settings.spectra) == 1 else settings.spectra
        mask = settings.cell.mask(settings.hidden)
        size = max(settings.hidden, self.fed_back)  # not square where an output is fed back: cut out of one
        return [
            family.draw(size, self.seed, self.replicate, part=block + place, mask=mask)
            for family, block in zip(families, blocks, strict=True)
        ]


def _measured(drawn: Drawn, effective: Any) -> Drawn:
    """Return a matrix drawn with the properties of what it makes the state be multiplied with."""
    matrix = effective(drawn.matrix)
    if matrix is drawn.matrix:
        return drawn
    known = properties(matrix)
    return Drawn(drawn.matrix, known.radius, known.norm, known.henrici_departure)


@np.errstate(over="ignore")
def draw_readout(settings: NetworkSettings, *, outputs: int, seed: int, replicate: int) -> Array:
    """Draw the readout ``[V b]``, shape (outputs, directions * hidden + 1); its bias is zero."""
    width = settings.directions * settings.hidden
    readout = np.zeros((outputs, width + 1), dtype=settings.dtype)
    readout[:, :-1] = settings.readout.draw((outputs, width), seed, replicate, "readout weights")
    return readout


def named(settings: NetworkSettings, parameters: Parameters) -> dict[str, Array]:
    """Return the parameters in PyTorch's names and layout.

    Rows of ``weight_ih`` are the row blocks with input weights, rows of ``weight_hh`` those with
    recurrent weights. A block has one bias: it stands in ``bias_ih``, or in ``bias_hh`` where the block
    has no input weights; the rest of ``bias_hh`` is zero. ``weight_hh`` of a cell that ties its weights
    is the matrix drawn. With an embedding ``weight_ih_l0`` is ``U`` and ``weight_embedding`` is ``E``.
    """
    cell, n = settings.cell, settings.hidden
    blocks, first, m = len(cell.row_blocks), len(cell.recurrent_blocks), parameters.fed_back
    fed = np.array(cell.fed_blocks)
    out: dict[str, Array] = {}
    for layer, directions in enumerate(parameters.layers):
        for direction, one in enumerate(directions):
            place = f"l{layer}" + ("_reverse" if direction else "")
            rows = one.affine.reshape(blocks, n, -1)
            weights = rows[fed, :, m:-1].reshape(int(fed.sum()) * n, -1)
            if layer == 0 and parameters.embedding is not None:
                weights = parameters.embedded[direction][np.repeat(fed, n)]
            out[f"weight_ih_{place}"] = weights.copy()
            if first:
                matrices = [d.matrix[:n, :m] for d in one.drawn]
                out[f"weight_hh_{place}"] = np.concatenate(matrices).astype(settings.dtype)
            bias = rows[:, :, -1]
            out[f"bias_ih_{place}"] = bias[fed].reshape(-1)
            if first:
                own = np.where(fed[:first, None], 0.0, bias[:first]).astype(settings.dtype)
                out[f"bias_hh_{place}"] = own.reshape(-1)
            for name, values in zip(cell.diagonals, one.diagonal, strict=True):
                out[f"{name}_{place}"] = values.copy()
    if parameters.embedding is not None:
        out["weight_embedding"] = parameters.embedding
    return out
