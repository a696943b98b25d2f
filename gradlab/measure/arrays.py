"""The probe on arrays alone: own weights and own inputs in, the records out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import array, integer, nearest, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.learning import clipping
from gradlab.learning.workspace import Workspace
from gradlab.measure.layout import View, lay_out
from gradlab.measure.material import Material, measure
from gradlab.measure.records import OF_GRADIENT, RECORDS
from gradlab.network import activations, cells
from gradlab.network.cells import AbstractCell
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


def probe_arrays(
    parameters: Mapping[str, ArrayLike],
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    cell: str | Mapping[str, Any] = "elman",
    activation: str | Mapping[str, Any] = "tanh",
    loss: str = "mse",
    at: str | Collection[int] = "final",
    clip: str | Mapping[str, Any] = "off",
    record: Collection[str] = tuple(RECORDS),
) -> dict[str, Array]:
    """Measure one network given as arrays.

    Parameters
    ----------
    parameters : mapping of arrays
        In PyTorch's names and layout, as `Case.parameters`: ``weight_hh_l0`` (rows, hidden),
        ``weight_ih_l0`` (rows, features), ``bias_ih_l0`` and ``bias_hh_l0`` (rows,), which are added;
        with a readout ``weight_ho`` (outputs, hidden) and ``bias_o`` (outputs,). Biases may be left out.
    inputs : array_like of shape (length, batch, features)
    targets : array_like
        One for each time step where the loss looks: (looks, batch, outputs); (looks, batch) integer
        classes for ``cross_entropy``; (looks, batch, hidden) vectors for ``unit``.
    cell, activation, loss, clip : str or table
        As in a spec.
    at : str or list of int
        Where the loss looks.
    record : collection of str
        Names out of `RECORDS`.

    Returns
    -------
    dict of arrays
        By record: a number, an array over lags, or over row blocks; and "status", "first_overflow".

    Raises
    ------
    UserMistake
        If a name is unknown or a shape does not fit.
    """
    the_cell = cells.registry.build(cell, "cell")
    the_activation = activations.registry.build(activation, "activation")
    the_clip, the_loss = clipping.registry.build(clip, "clip"), losses.registry.build(loss, "loss")
    for name in record:
        if name not in RECORDS:
            raise UserMistake(Problem("record", "the name of a record", shown(name), nearest(name, RECORDS)))
    affine, n = _affine(parameters, the_cell)
    dtype, features = affine.dtype.name, affine.shape[2] - n - 1
    x = array("inputs", inputs, (None, None, features), "length, batch, features", dtype=dtype)
    integer("the length of the inputs", len(x), at_least=1)
    readout = _readout(parameters, n, dtype) if the_loss.uses_readout else None
    task = _Own(
        features=features,
        batch=x.shape[1],
        length=len(x),
        outputs=None if readout is None else readout.shape[1],
        loss=loss,
        at=at if isinstance(at, str) else tuple(at),
    )
    wanted = _targets(targets, task, the_loss.target_kind, n, dtype)
    places = {t: i for i, t in enumerate(task.looks())}
    unseen = np.zeros_like(wanted[0])
    stacked = np.ascontiguousarray(x.transpose(0, 2, 1))[:, None]
    material = Material(
        the_cell,
        the_activation,
        n,
        affine,
        lambda start, stop: stacked[start:stop],
        lambda outputs: np.zeros((1, outputs, n + 1)) if readout is None else readout,
        lambda _, start, stop: np.stack(
            [wanted[places[t]] if t in places else unseen for t in range(start, stop)]
        )[:, None],
        [[_drawn(block) for block in affine[0, :, :n].reshape(-1, n, n)]],
    )
    views = (View(task, the_clip),)
    layout = lay_out(views, bool(OF_GRADIENT & set(record)))
    result = measure(material, views, layout, record, task.lags, Workspace())
    return {name: values[0, 0] for name, values in result.items()}


def _affine(parameters: Mapping[str, ArrayLike], cell: AbstractCell) -> tuple[Array, int]:
    """Return ``[W U b]`` as the one case of a stack, and the number of hidden units."""
    recurrent, blocks = np.asarray(_needed(parameters, "weight_hh_l0")), len(cell.row_blocks)
    if recurrent.ndim != 2 or recurrent.shape[0] != blocks * recurrent.shape[1]:
        expected = f"shape ({blocks} * hidden, hidden) for {cell.name!r}"
        raise UserMistake(Problem("weight_hh_l0", expected, f"shape {recurrent.shape}"))
    dtype = "float32" if recurrent.dtype == np.float32 else "float64"
    rows, n = recurrent.shape
    recurrent = array("weight_hh_l0", recurrent, (rows, n), "rows, hidden", dtype=dtype)
    given = _needed(parameters, "weight_ih_l0")
    weights = array("weight_ih_l0", given, (rows, None), "rows, features", dtype=dtype)
    bias = np.zeros(rows, dtype=dtype)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        if name in parameters:
            bias = bias + array(name, parameters[name], (rows,), "rows", dtype=dtype)
    return np.concatenate([recurrent, weights, bias[:, None]], axis=1)[None], n


def _needed(parameters: Mapping[str, ArrayLike], name: str) -> ArrayLike:
    if name not in parameters:
        got = ", ".join(parameters) or "none"
        raise UserMistake(Problem("parameters", f"an array {name!r}", f"the arrays {got}"))
    return parameters[name]


def _readout(parameters: Mapping[str, ArrayLike], n: int, dtype: str) -> Array:
    weights = array("weight_ho", _needed(parameters, "weight_ho"), (None, n), "outputs, hidden", dtype=dtype)
    bias = np.zeros(len(weights), dtype=dtype)
    if "bias_o" in parameters:
        bias = array("bias_o", parameters["bias_o"], (len(weights),), "outputs", dtype=dtype)
    return np.concatenate([weights, bias[:, None]], axis=1)[None]


def _targets(targets: ArrayLike, task: AbstractTask, kind: str, n: int, dtype: str) -> Array:
    """Return the targets as the losses take them: (looks, outputs, batch), or (looks, batch) classes."""
    looks = len(task.looks())
    if kind == "classes":
        classes = array("targets", targets, (looks, task.batch), "looks, batch", dtype="int64")
        if classes.min() < 0 or classes.max() >= task.n_outputs:
            raise UserMistake(Problem("targets", f"classes from 0 to {task.n_outputs - 1}", "others"))
        return classes
    size, word = (n, "hidden") if kind == "directions" else (task.n_outputs, "outputs")
    values = array("targets", targets, (looks, task.batch, size), f"looks, batch, {word}", dtype=dtype)
    return values.transpose(0, 2, 1)


def _drawn(matrix: Array) -> Drawn:
    known = properties(matrix.astype(np.float64))
    return Drawn(matrix, known.radius, known.norm, known.henrici_departure)
