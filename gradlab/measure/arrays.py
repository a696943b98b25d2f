"""The probe on arrays alone: own weights and own inputs in, the records out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import array, integer, nearest, one_of, shown, texts
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.learning import clipping
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.layers import Weights
from gradlab.learning.workspace import Workspace
from gradlab.measure.layout import View, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.records import ORDINARY, RECORDS
from gradlab.network import activations, cells
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells import AbstractCell
from gradlab.network.grouping import Sizes, affine, grouped, sizes_of
from gradlab.network.readout import OUTPUTS
from gradlab.network.settings import NetworkSettings
from gradlab.network.spectra import Drawn
from gradlab.network.spectra._measure import properties
from gradlab.tasks import AbstractTask, losses

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Own(AbstractTask):
    """Where the loss looks; inputs and targets are the caller's."""

    name: ClassVar[str] = "own"

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Refuse: the caller's arrays are used instead."""
        raise AssertionError("own inputs are not drawn")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with its inputs and targets, checked and ready to be measured.

    Parameters
    ----------
    cell, activation, clip : AbstractCell, AbstractActivation, AbstractClip
        The settings.
    task : AbstractTask
        Sizes, the loss, and where it looks.
    sizes : Sizes
        Of the network.
    material : Material
        What the engine measures.
    """

    cell: AbstractCell
    activation: AbstractActivation
    clip: AbstractClip
    task: AbstractTask
    sizes: Sizes
    material: Material

    def measure(self, record: Collection[str]) -> dict[str, Array]:
        """Return the records asked for, each of the shape that `RECORDS` says; and status, first_overflow."""
        views = (View(self.task, self.clip),)
        layout = lay_out(views, record, self.material.network)
        result = measure(self.material, views, layout, record, self.task.lags, Workspace())
        return {name: values[0, 0] for name, values in result.items()}


def probe_arrays(
    parameters: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    cell: str | Mapping[str, Any] = "elman",
    activation: str | Mapping[str, Any] = "tanh",
    loss: str = "mse",
    at: str | Collection[int] = "final",
    clip: str | Mapping[str, Any] = "off",
    output: str = "identity",
    record: Collection[str] = ORDINARY,
) -> dict[str, Array]:
    """Measure one network given as arrays.

    Parameters
    ----------
    parameters : mapping of arrays
        In PyTorch's names and layout, as `Case.parameters`: ``weight_hh_l0`` (rows, hidden),
        ``weight_ih_l0`` (rows, features), ``bias_ih_l0`` and ``bias_hh_l0`` (rows,), which are added;
        further layers as ``..._l1`` and so on, the reverse direction with ``_reverse`` behind; with a
        readout ``weight_ho`` (outputs, directions * hidden) and ``bias_o`` (outputs,). Biases may be
        left out.
    inputs : array_like of shape (length, batch, features)
    targets : array_like
        One for each time step where the loss looks: (looks, batch, outputs); (looks, batch) integer
        classes for ``cross_entropy``; (looks, batch, directions * hidden) vectors for ``unit``, for
        which random unit vectors are drawn if there are none.
    cell, activation, loss, clip : str or table
        As in a spec.
    at : str or list of int
        Where the loss looks.
    output : str
        Activation of the readout.
    record : collection of str
        Names out of `RECORDS`.

    Returns
    -------
    dict of arrays
        By record, of the shape that `RECORDS` says; and "status", "first_overflow".

    Raises
    ------
    UserMistake
        If a name is unknown or a shape does not fit; with every array that is wrong.
    """
    record = check_records(record)
    prepared = prepare(
        parameters,
        inputs,
        targets,
        cell=cell,
        activation=activation,
        loss=loss,
        at=at,
        clip=clip,
        output=output,
    )
    return prepared.measure(record)


def check_records(record: object) -> tuple[str, ...]:
    """Return the names of records, or raise UserMistake with every one that is none."""
    record = texts("record", record, "names of records")
    problems = [
        Problem("record", "the name of a record", shown(name), nearest(name, RECORDS))
        for name in record
        if name not in RECORDS
    ]
    if problems:
        raise UserMistake(problems)
    return record


def looked_at(at: Any) -> str | tuple[Any, ...]:
    """Return where the loss looks; whether there are such time steps is for the task to say."""
    if isinstance(at, str):
        return at
    try:
        return tuple(step.item() if isinstance(step, np.integer) else step for step in at)
    except TypeError:
        expected = '"final", "every" or a list of time steps below the length'
        raise UserMistake(Problem("at", expected, shown(at))) from None


def prepare(
    parameters: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    targets: ArrayLike | None,
    *,
    cell: str | Mapping[str, Any] | AbstractCell,
    activation: str | Mapping[str, Any],
    loss: str,
    at: str | Collection[int],
    clip: str | Mapping[str, Any],
    output: str = "identity",
    seed: int = 0,
) -> Prepared:
    """Check a network, its inputs and its targets; see `probe_arrays`. `seed` is that of unit vectors.

    Raises
    ------
    UserMistake
        As `probe_arrays`.
    """
    the_cell, the_activation, the_clip, the_loss, places = together(
        lambda: cells.registry.build(cell, "cell"),
        lambda: activations.registry.build(activation, "activation"),
        lambda: clipping.registry.build(clip, "clip"),
        lambda: losses.registry.build(loss, "loss"),
        lambda: looked_at(at),
    )
    groups = grouped(parameters, the_cell)
    sizes, _ = sizes_of({name: np.shape(values) for name, values in parameters.items()}, the_cell)
    dtype = groups[0][0]["weight_ih"].dtype.name
    x = array("inputs", inputs, (None, None, sizes.features), "length, batch, features", dtype=dtype)
    integer("the length of the inputs", len(x), at_least=1)
    one_of("output", output, OUTPUTS, "an activation of the readout")
    needed = the_loss.uses_readout or the_cell.feeds_back == "output"
    readout = _readout(parameters, sizes.width, dtype) if needed else None
    task = _Own(
        features=sizes.features,
        batch=x.shape[1],
        length=len(x),
        outputs=None if readout is None else readout.shape[1],
        loss=loss,
        at=places,
    )
    wanted = _targets(targets, task, sizes.width, dtype, seed)
    biased = np.full(task.n_outputs, "bias_o" in parameters)
    material = _material(the_cell, the_activation, groups, sizes, x, readout, task, wanted, output, biased)
    return Prepared(the_cell, the_activation, the_clip, task, sizes, material)


def _material(
    cell: AbstractCell,
    activation: AbstractActivation,
    groups: list[list[dict[str, Array]]],
    sizes: Sizes,
    inputs: Array,
    readout: Array | None,
    task: AbstractTask,
    targets: Array,
    output: str,
    biased: NDArray[np.bool_],
) -> Material:
    """Return what the engine measures: one case, its inputs and targets at hand."""
    n, first = sizes.hidden, len(cell.recurrent_blocks)
    stacked = np.ascontiguousarray(inputs.transpose(0, 2, 1))[:, None]
    places = {t: i for i, t in enumerate(task.looks())}
    unseen = np.zeros_like(targets[0])
    drawn = [
        [[_drawn(one["weight_hh"][k * n : (k + 1) * n], cell) for k in range(first)] for one in layer]
        for layer in groups
    ]
    return Material(
        NetworkSettings.of_structure(
            cell, activation, n, sizes.layers, sizes.bidirectional, inputs.dtype.name, output
        ),
        [[_weights(one, cell, n) for one in layer] for layer in groups],
        lambda start, stop: stacked[start:stop],
        lambda outputs: np.zeros((1, outputs, sizes.width + 1)) if readout is None else readout,
        lambda _, start, stop: np.stack(
            [targets[places[t]] if t in places else unseen for t in range(start, stop)]
        )[:, None],
        [drawn],
        biases=[*(_biased(one, cell, n) for layer in groups for one in layer), biased],
    )


def _biased(group: Mapping[str, Array], cell: AbstractCell, hidden: int) -> NDArray[np.bool_]:
    """Return which rows of one layer and direction have a bias, as `affine` lays them out."""
    there = np.zeros((len(cell.row_blocks), hidden), dtype=bool)
    if "bias_ih" in group:
        there[np.flatnonzero(cell.fed_blocks)] = True
    if "bias_hh" in group:
        there[: len(cell.recurrent_blocks)] = True
    return there.ravel()


def _weights(group: Mapping[str, Array], cell: AbstractCell, hidden: int) -> Weights:
    """Return what multiplies in one layer and direction, as the one case of a stack."""
    whole = affine(group, cell, hidden)
    blocks = whole.reshape(len(cell.row_blocks), hidden, -1)
    if cell.feeds_back == "state":
        for block in range(len(cell.recurrent_blocks)):
            blocks[block, :, :hidden] = cell.effective(blocks[block, :, :hidden].copy())
    rows = [group[name] for name in cell.diagonals]
    diagonal = np.stack(rows)[:, None, :, None] if rows else np.empty((0, 1, 1, 1))
    return Weights(whole[None], diagonal)


def _readout(parameters: Mapping[str, ArrayLike], width: int, dtype: str) -> Array:
    if "weight_ho" not in parameters:
        got = f"the arrays {', '.join(parameters)}"
        raise UserMistake(Problem("weight_ho", "a readout, at whose output the loss or the cell looks", got))
    weights = array("weight_ho", parameters["weight_ho"], (None, width), "outputs, hidden", dtype=dtype)
    bias = np.zeros(len(weights), dtype=dtype)
    if "bias_o" in parameters:
        bias = array("bias_o", parameters["bias_o"], (len(weights),), "outputs", dtype=dtype)
    return np.concatenate([weights, bias[:, None]], axis=1)[None]


def _targets(targets: ArrayLike | None, task: AbstractTask, width: int, dtype: str, seed: int) -> Array:
    """Return the targets as the losses take them: (looks, outputs, batch), or (looks, batch) classes."""
    looks, kind = len(task.looks()), task.loss_entry.target_kind
    if targets is None:
        if kind != "directions":
            raise UserMistake(Problem("targets", f"what the loss {task.loss!r} compares with", "nothing"))
        drawn = [task.directions(t, t + 1, seed, 0, width)[0] for t in task.looks()]
        return np.stack(drawn).astype(dtype)
    if kind == "classes":
        if np.asarray(targets).dtype.kind not in "iu":
            got = f"an array of dtype {np.asarray(targets).dtype}"
            raise UserMistake(Problem("targets", f"integer classes for {task.loss!r}", got))
        classes = array("targets", targets, (looks, task.batch), "looks, batch", dtype="int64")
        if classes.min() < 0 or classes.max() >= task.n_outputs:
            raise UserMistake(Problem("targets", f"classes from 0 to {task.n_outputs - 1}", "others"))
        return classes
    size, word = (width, "hidden") if kind == "directions" else (task.n_outputs, "outputs")
    values = array("targets", targets, (looks, task.batch, size), f"looks, batch, {word}", dtype=dtype)
    return values.transpose(0, 2, 1)


def _drawn(matrix: Array, cell: AbstractCell) -> Drawn:
    if matrix.shape[0] != matrix.shape[1]:  # an output that is fed back: no square matrix, no eigenvalues
        return Drawn(matrix, np.nan, float(np.linalg.norm(matrix, 2)), np.nan)
    known = properties(cell.effective(matrix.astype(np.float64)))
    return Drawn(matrix, known.radius, known.norm, known.henrici_departure)
