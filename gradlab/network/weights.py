"""Weights that the user trained elsewhere: found among the arrays of a file, checked, in one dtype."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import nearest, shown, text
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import together
from gradlab.network import cells, grouping
from gradlab.network.cells import AbstractCell
from gradlab.network.grouping import BIASES, NAME, READOUT, Sizes
from gradlab.network.tensors import Tensor, given_tensors, read_tensors

Array = NDArray[Any]

#: Cell by how many times as many rows as columns its recurrent weights have in PyTorch.
CELLS = {1: "elman", 3: "gru", 4: "lstm"}
AUTO, NONE = "auto", "none"
_KINDS = ("weight_ih", "weight_hh", "weight_hr", *BIASES)
_HALF, _FULL = ("float16", "bfloat16"), ("float32", "float64")
_MOST_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Weights:
    """A network as it stands in a file.

    Parameters
    ----------
    cell : AbstractCell
        What is simulated.
    hidden, features, layers : int
        Hidden units of a direction, size of an input vector, number of layers.
    bidirectional : bool
        Whether every layer reads the sequence in both directions.
    parameters : dict of arrays
        In PyTorch's names without the prefix; the readout as ``weight_ho`` (outputs, directions *
        hidden) and ``bias_o`` (outputs,). All float32, or all float64.
    prefix : str
        What stands before those names in the file.
    readout : str or None
        Name of the readout in the file.
    halves : tuple of str
        Arrays that were of half precision and are float32 now.
    unused : tuple of str
        Arrays of the file that are no part of the network.
    path : str or None
        The file; None: the arrays were given.
    sha256 : str
        Of the file's bytes, or of the arrays.
    """

    cell: AbstractCell
    hidden: int
    features: int
    layers: int
    bidirectional: bool
    parameters: dict[str, Array]
    prefix: str
    readout: str | None
    halves: tuple[str, ...]
    unused: tuple[str, ...]
    path: str | None
    sha256: str

    @property
    def dtype(self) -> str:
        """The precision of all parameters."""
        return self.parameters["weight_ih_l0"].dtype.name

    @property
    def outputs(self) -> int | None:
        """Size of the readout's output; None without one."""
        return len(self.parameters["weight_ho"]) if self.readout is not None else None


def read_weights(
    weights: str | os.PathLike[str] | Mapping[str, ArrayLike],
    *,
    cell: str | Mapping[str, Any] | None = None,
    prefix: str | None = None,
    readout: str = AUTO,
) -> Weights:
    """Read the weights of a recurrent network in the names of PyTorch.

    Parameters
    ----------
    weights : path or mapping of arrays
        A .safetensors or .npz file, or what it would hold.
    cell : str or table, optional
        The cell; by default told from the rows of the recurrent weights: as many as columns is
        "elman", three times as many "gru", four times as many "lstm".
    prefix : str, optional
        What stands before ``weight_ih_l0``, as in ``encoder.lstm``; by default found, if only one is there.
    readout : str
        Name of the linear layer that reads the last layer's states; "none" for none; "auto" for the
        only one with a bias and as many inputs as there are such states.

    Raises
    ------
    UserMistake
        If the file cannot be read, holds no recurrent network or several, or with every array that is
        missing, too many, of another shape or dtype, or not finite.
    """
    together(
        lambda: prefix is None or text("prefix", prefix, "what stands before a name such as weight_hh_l0"),
        lambda: text("readout", readout, f"the name of a linear layer, {AUTO!r} or {NONE!r}"),
    )
    if isinstance(weights, Mapping):
        (tensors, sha256), path = given_tensors(weights), None
    else:
        path = os.fspath(weights) if isinstance(weights, str | os.PathLike) else repr(weights)
        tensors, sha256 = read_tensors(path)
    start = _prefix(tensors, prefix)
    own = {name.removeprefix(start): t for name, t in tensors.items() if _is_own(name, start)}
    _refuse_projections(own, start)
    the_cell = cells.registry.build(cell if cell is not None else _cell(own, start), "cell")
    try:
        sizes, problems = grouping.sizes_of(
            {name: tensor.shape for name, tensor in own.items()}, the_cell, biases=True
        )
    except UserMistake as mistake:
        raise UserMistake(_placed(mistake.problems, start)) from None
    problems = _placed(problems, start)
    names = {name: start + name for name in own if name in grouping.expected(the_cell, sizes)}
    chosen: str | None = None
    with gathering(problems):
        chosen, of_readout = _readout(tensors, readout, sizes, start, set(names.values()))
        names |= of_readout
    arrays = _arrays(tensors, names, problems)
    halves = tuple(full for full in names.values() if tensors[full].dtype in _HALF)
    unused = tuple(name for name in tensors if name not in names.values())
    return Weights(
        the_cell, **dataclasses.asdict(sizes), parameters=arrays, prefix=start, readout=chosen,
        halves=halves, unused=unused, path=path, sha256=sha256,
    )  # fmt: skip


def _is_own(name: str, start: str) -> bool:
    """Whether an array belongs to the recurrent layer itself, and to no other module."""
    rest = name.removeprefix(start)
    return name.startswith(start) and "." not in rest and rest not in READOUT


def _prefix(names: Mapping[str, Tensor], wanted: str | None) -> str:
    """Return what stands before the names of the only recurrent layer there is, or of the one wanted."""
    found: dict[str, None] = {}
    for name in names:
        match = NAME.fullmatch(name)
        kind = next((kind for kind in _KINDS if match and match["kind"].endswith(kind)), None)
        if match and kind:
            found[match["kind"].removesuffix(kind)] = None
    if not found:
        hint = "Wanted are the names of torch.nn.RNN, LSTM or GRU, as in lstm.weight_hh_l0."
        raise UserMistake(Problem("weights", "a recurrent layer", f"the arrays {_listed(names)}", hint))
    if wanted is None:
        if len(found) == 1:
            return next(iter(found))
        several = ", ".join(map(repr, found))
        raise UserMistake(
            Problem("prefix", "which of several recurrent layers to take", "nothing", f"There are {several}.")
        )
    for one in (wanted, f"{wanted}."):
        if one in found:
            return one
    expected = "what stands before a name such as weight_hh_l0"
    hint = "Nothing does in this file: leave it out." if list(found) == [""] else nearest(wanted, found)
    raise UserMistake(Problem("prefix", expected, shown(wanted), hint))


def _refuse_projections(own: Mapping[str, Tensor], start: str) -> None:
    if name := next((name for name in own if name.startswith("weight_hr_l")), None):
        expected = "a network whose states are as many as its hidden units"
        hint = "There is no such cell here: a projection is another network. Train it with proj_size=0."
        raise UserMistake(Problem(start + name, expected, "the projection of an LSTM with proj_size", hint))


def _cell(own: Mapping[str, Tensor], start: str) -> str:
    """Return the name of the cell that the shape of the recurrent weights tells."""
    name = "weight_hh_l0"
    if name not in own:
        raise UserMistake(Problem(start + name, "an array of this name", f"the arrays {_listed(own)}"))
    shape = own[name].shape
    if len(shape) == 2 and 0 not in shape and shape[0] % shape[1] == 0 and shape[0] // shape[1] in CELLS:
        return CELLS[shape[0] // shape[1]]
    known = ", ".join(f"{times} * hidden ({cell})" for times, cell in CELLS.items())
    raise UserMistake(Problem(start + name, f"a matrix of hidden columns and {known} rows", f"shape {shape}"))


def _placed(problems: Sequence[Problem], start: str) -> list[Problem]:
    """Return the problems with the names of arrays as they stand in the file."""
    return [
        dataclasses.replace(one, where=one.where.replace("parameters", "weights", 1))
        if one.where.startswith("parameters")
        else dataclasses.replace(one, where=start + one.where)
        for one in problems
    ]


def _readout(
    tensors: Mapping[str, Tensor], wanted: str, sizes: Sizes, start: str, taken: set[str]
) -> tuple[str | None, dict[str, str]]:
    """Return the readout's name, and its arrays in the file by the names that they have here."""
    if wanted == NONE:
        return None, {}
    linears = _linears(tensors, sizes.width, start, taken)
    if wanted != AUTO:
        for name in (wanted, wanted.removesuffix(".weight")):
            if name in linears:
                return name, _checked(tensors, linears[name])
        expected = f"the name of a linear layer with {sizes.width} inputs"
        raise UserMistake(Problem("readout", expected, shown(wanted), nearest(wanted, [*linears, NONE])))
    certain = [name for name, arrays in linears.items() if "bias_o" in arrays]
    if len(certain) > 1:
        expected = f"which of several linear layers with {sizes.width} inputs to take, or {NONE!r}"
        hint = f"There are {', '.join(map(repr, certain))}."
        raise UserMistake(Problem("readout", expected, "nothing", hint))
    return (certain[0], _checked(tensors, linears[certain[0]])) if certain else (None, {})


def _checked(tensors: Mapping[str, Tensor], linear: dict[str, str]) -> dict[str, str]:
    """Return a linear layer's arrays if its bias, where there is one, has a number for each output."""
    outputs = tensors[linear["weight_ho"]].shape[0]
    bias = linear.get("bias_o")
    if bias is not None and tensors[bias].shape != (outputs,):
        expected = f"finite numbers of shape ({outputs},) (outputs)"
        raise UserMistake(Problem(bias, expected, f"shape {tensors[bias].shape}"))
    return linear


def _linears(
    tensors: Mapping[str, Tensor], width: int, start: str, taken: set[str]
) -> dict[str, dict[str, str]]:
    """Return every layer that could be the readout: its weights, and its bias where it has one."""
    pairs = {
        name.removesuffix(".weight"): (name, name.removesuffix("weight") + "bias")
        for name in tensors
        if name.endswith(".weight")
    }
    pairs |= {start + "weight_ho": (start + "weight_ho", start + "bias_o")}
    found = {}
    for linear, (weight, bias) in pairs.items():
        if weight in taken or weight not in tensors:
            continue
        shape = tensors[weight].shape
        if len(shape) == 2 and shape[1] == width and shape[0] > 0:
            found[linear] = {"weight_ho": weight} | ({"bias_o": bias} if bias in tensors else {})
    return found


def _arrays(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], problems: list[Problem]
) -> dict[str, Array]:
    """Read the arrays, all in one dtype.

    Parameters
    ----------
    tensors : mapping
        All there are.
    names : mapping
        Those wanted: the name here -> the name in the file.
    problems : list of Problem
        What is wrong already.

    Raises
    ------
    UserMistake
        With those problems and every array that is not real or not finite.
    """
    told = {problem.where for problem in problems}
    dtypes = []
    arrays = {}
    for name, full in names.items():
        dtype = tensors[full].dtype
        if dtype not in _HALF + _FULL:
            problems.append(Problem(full, "float32, float64, float16 or bfloat16", f"dtype {dtype}"))
        elif full not in told:
            with gathering(problems):
                arrays[name] = values = tensors[full].read()
                dtypes.append(np.dtype("float64" if dtype == "float64" else "float32"))
                if not np.isfinite(values).all():
                    problems.append(Problem(full, "finite numbers", "NaN or infinity among them"))
    if problems:
        raise UserMistake(dict.fromkeys(problems))
    wide = grouping.common_dtype(dtypes)
    return {name: np.ascontiguousarray(values, dtype=wide) for name, values in arrays.items()}


def _listed(names: Mapping[str, Tensor]) -> str:
    some = list(names)[:_MOST_SHOWN]
    more = len(names) - len(some)
    return (", ".join(map(repr, some)) or "none") + (f" and {more} more" if more else "")
