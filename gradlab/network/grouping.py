"""The parameters of a network by layer and direction, in the names and the row order of PyTorch.

A layer's arrays are called ``weight_ih_l{k}``, ``weight_hh_l{k}``, ``bias_ih_l{k}``, ``bias_hh_l{k}``, with
``_reverse`` behind for the direction that reads the sequence from its end, as ``torch.nn.RNN``, ``LSTM`` and
``GRU`` call them. Which row blocks of a cell the rows of each array are is what the cell claims: `ih` has
the blocks that are fed with inputs, `hh` those with recurrent weights. So the GRU, whose candidate keeps
its recurrent part and its input part in blocks of their own, needs no rule of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import array, nearest
from gradlab.core.errors import Problem, UserMistake
from gradlab.network.cells import AbstractCell

Array = NDArray[Any]
Shape = tuple[int | None, ...]

NAME = re.compile(r"(?P<kind>.+)_l(?P<layer>[0-9]{1,6})(?P<suffix>_reverse)?")
SUFFIXES = ("", "_reverse")
READOUT = ("weight_ho", "bias_o")
BIASES = ("bias_ih", "bias_hh")


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network, read off its parameters.

    Parameters
    ----------
    hidden, features, layers : int
        Hidden units of a direction, size of an input vector, number of layers.
    bidirectional : bool
        Whether every layer has a second direction.
    """

    hidden: int
    features: int
    layers: int
    bidirectional: bool

    @property
    def width(self) -> int:
        """Size of what a layer hands on: the states of its directions, one after the other."""
        return self.hidden * (2 if self.bidirectional else 1)


def grouped(parameters: Mapping[str, ArrayLike], cell: AbstractCell) -> list[list[dict[str, Array]]]:
    """Return the arrays of every layer and direction by their names without layer and direction.

    Parameters
    ----------
    parameters : mapping of arrays
        ``weight_ih_l0`` (fed rows, features), ``weight_hh_l0`` (recurrent rows, hidden), and so on for
        further layers, whose inputs are the states of all directions of the layer below. Biases may
        be left out, each for itself.
    cell : AbstractCell
        Says which arrays there are and how many rows they have.

    Returns
    -------
    list over layers of lists over directions of dicts
        Keys are ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh`` and the cell's diagonals; a bias
        that was not given is not there. All are of one dtype: float32 if all given ones are, else float64.

    Raises
    ------
    UserMistake
        With every array that is missing, unknown, of another shape, or not finite, or has weights where
        the cell has none.
    """
    shapes = {name: np.shape(values) for name, values in parameters.items()}
    sizes, problems = sizes_of(shapes, cell)
    wanted = expected(cell, sizes)
    dtype = common_dtype(np.asarray(parameters[name]).dtype for name in wanted if name in parameters)
    groups: list[list[dict[str, Array]]] = []
    for k in range(sizes.layers):
        groups.append([])
        for suffix in SUFFIXES[: 1 + sizes.bidirectional]:
            found: dict[str, Array] = {}
            for kind in _kinds(cell, sizes, 0):
                name = f"{kind}_l{k}{suffix}"
                if name not in parameters:
                    continue
                try:
                    found[kind] = array(name, parameters[name], wanted[name][0], wanted[name][1], dtype=dtype)
                    if kind == "weight_hh":
                        _check_mask(name, found[kind], cell, sizes.hidden)
                except UserMistake as mistake:
                    problems += [one for one in mistake.problems if one.where not in _told(problems)]
            groups[-1].append(found)
    if problems:
        raise UserMistake(problems)
    return groups


def _check_mask(name: str, weights: Array, cell: AbstractCell, hidden: int) -> None:
    """Raise UserMistake if there are recurrent weights where the cell has none."""
    mask = cell.mask(hidden)
    if mask is not None and weights.reshape(-1, *mask.shape)[:, ~mask].any():
        raise UserMistake(Problem(name, f"zeros where {cell.name!r} has no weights", "other numbers there"))


def affine(group: Mapping[str, Array], cell: AbstractCell, hidden: int) -> Array:
    """Return ``[W U b]`` of one layer and direction.

    Parameters
    ----------
    group : mapping
        One of what `grouped` returns.
    cell : AbstractCell
        Says which row blocks have recurrent weights and which have input weights.
    hidden : int
        Rows of a block.

    Returns
    -------
    array of shape (rows, columns of W + features + 1)
        Zero where a row block has no recurrent or no input weights. The two biases of a block that
        has both are added.
    """
    weights = group["weight_ih"]
    blocks, recurrent = len(cell.row_blocks), len(cell.recurrent_blocks)
    columns = group["weight_hh"].shape[1] if "weight_hh" in group else hidden
    out = np.zeros((blocks, hidden, columns + weights.shape[1] + 1), dtype=weights.dtype)
    fed = np.flatnonzero(cell.fed_blocks)
    out[fed, :, columns:-1] = weights.reshape(len(fed), hidden, -1)
    if "weight_hh" in group:
        out[:recurrent, :, :columns] = group["weight_hh"].reshape(recurrent, hidden, -1)
    if "bias_ih" in group:
        out[fed, :, -1] += group["bias_ih"].reshape(len(fed), hidden)
    if "bias_hh" in group:
        out[:recurrent, :, -1] += group["bias_hh"].reshape(recurrent, hidden)
    return out.reshape(blocks * hidden, -1)


def common_dtype(dtypes: Iterable[np.dtype[Any]]) -> str:
    """Return the dtype a network of such arrays is computed in: "float32" if none needs more."""
    narrow = all(dtype in (np.dtype("float32"), np.dtype("float16")) for dtype in dtypes)
    return "float32" if narrow else "float64"


def sizes_of(
    shapes: Mapping[str, tuple[int, ...]], cell: AbstractCell, biases: bool = False
) -> tuple[Sizes, list[Problem]]:
    """Return the sizes that shapes of parameters mean, and what is wrong with the shapes.

    Parameters
    ----------
    shapes : mapping
        By name; those of a readout are passed over.
    cell : AbstractCell
        The cell they are said to belong to.
    biases : bool
        Refuse a network of which only some biases are there.

    Raises
    ------
    UserMistake
        If the sizes cannot be told, so that no other shape can be judged.
    """
    own = [name for name in shapes if name not in READOUT]
    places = [match for name in own if (match := NAME.fullmatch(name))]
    numbers = sorted({int(match["layer"]) for match in places})
    if numbers and numbers != list(range(len(numbers))):
        got = ", ".join(f"l{k}" for k in numbers)
        raise UserMistake(Problem("parameters", "layers numbered l0, l1, ... without a gap", got))
    sizes = Sizes(
        hidden=_hidden(shapes, cell),
        features=_features(shapes),
        layers=max(1, len(numbers)),
        bidirectional=any(match["suffix"] for match in places),
    )
    try:
        cell.check_size(sizes.hidden)
    except UserMistake as mistake:
        raise mistake.under("parameters") from None
    some = biases and any(match["kind"] in BIASES for match in places)
    known = expected(cell, sizes)
    problems = [_missing(name, shapes) for name in expected(cell, sizes, some) if name not in shapes]
    for name in own:
        if name not in known:
            hint = nearest(name, [*known, *READOUT])
            problems.append(Problem(name, f"no such array in {_words(cell, sizes)}", "one", hint))
        elif not _fits(shapes[name], known[name][0]):
            shape = ", ".join("any" if n is None else str(n) for n in known[name][0])
            wanted = f"finite numbers of shape ({shape}) ({known[name][1]})"
            problems.append(Problem(name, wanted, f"shape {shapes[name]}"))
    return sizes, problems


def expected(cell: AbstractCell, sizes: Sizes, biases: bool = True) -> dict[str, tuple[Shape, str]]:
    """Return by name the shape of every array that a network of these sizes may have, and its dims."""
    suffixes = SUFFIXES[: 1 + sizes.bidirectional]
    found: dict[str, tuple[Shape, str]] = {}
    for k in range(sizes.layers):
        kinds = _kinds(cell, sizes, k)
        for suffix in suffixes:
            found |= {
                f"{kind}_l{k}{suffix}": shape for kind, shape in kinds.items() if biases or kind not in BIASES
            }
    return found


def _kinds(cell: AbstractCell, sizes: Sizes, layer: int) -> dict[str, tuple[Shape, str]]:
    n = sizes.hidden
    recurrent, fed = n * len(cell.recurrent_blocks), n * sum(cell.fed_blocks)
    columns = None if cell.feeds_back == "output" else n
    kinds: dict[str, tuple[Shape, str]] = {
        "weight_ih": ((fed, sizes.width if layer else sizes.features), "rows, features"),
        "bias_ih": ((fed,), "rows"),
        **dict.fromkeys(cell.diagonals, ((n,), "hidden")),
    }
    if recurrent:
        kinds |= {"weight_hh": ((recurrent, columns), "rows, hidden"), "bias_hh": ((recurrent,), "rows")}
    return kinds


def _hidden(shapes: Mapping[str, tuple[int, ...]], cell: AbstractCell) -> int:
    """Return the number of hidden units, which the rows of the first layer tell."""
    blocks = len(cell.recurrent_blocks)
    name, blocks = ("weight_hh_l0", blocks) if blocks else ("weight_ih_l0", sum(cell.fed_blocks))
    if name not in shapes:
        raise UserMistake(_missing(name, shapes))
    shape = shapes[name]
    square = blocks and name == "weight_hh_l0" and cell.feeds_back == "state"
    fits = len(shape) == 2 and shape[0] > 0 and shape[0] % blocks == 0
    if not fits or (square and shape[0] != blocks * shape[1]):
        expected_shape = f"shape ({blocks} * hidden, {'hidden' if square else 'any'}) for {cell.name!r}"
        raise UserMistake(Problem(name, expected_shape, f"shape {shape}"))
    return shape[0] // blocks


def _features(shapes: Mapping[str, tuple[int, ...]]) -> int:
    if "weight_ih_l0" not in shapes:
        raise UserMistake(_missing("weight_ih_l0", shapes))
    shape = shapes["weight_ih_l0"]
    if len(shape) != 2 or 0 in shape:
        raise UserMistake(Problem("weight_ih_l0", "a matrix (rows, features)", f"shape {shape}"))
    return shape[1]


def _missing(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Problem:
    return Problem(name, "an array of this name", f"the arrays {', '.join(shapes) or 'none'}")


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(b in (None, a) for a, b in zip(shape, wanted, strict=True))


def _told(problems: Iterable[Problem]) -> set[str]:
    return {problem.where for problem in problems}


def _words(cell: AbstractCell, sizes: Sizes) -> str:
    layers = "1 layer" if sizes.layers == 1 else f"{sizes.layers} layers"
    return f"{cell.name!r} of {layers}{' and both directions' if sizes.bidirectional else ''}"
