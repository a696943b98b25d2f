"""Inputs and targets of the user's own: a .npy file, a CSV file, or an array."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.network import npy

Array = NDArray[Any]
Source: TypeAlias = str | os.PathLike[str] | ArrayLike

INPUTS = "a .npy or .csv file of shape (length, features), or a .npy file (length, batch, features)"
TARGETS = "a .npy file of shape (looks, batch, outputs), or (looks, batch) for classes"
_MOST_PROBLEMS = 5  # entries of a table that are named


@dataclass(frozen=True, eq=False)
class Given:
    """Numbers as they were given.

    Parameters
    ----------
    values : array
        Integers or floats, of whatever shape.
    path : str or None
        Their file; None: an array.
    sha256 : str
        Of the file's bytes, or of the array.
    """

    values: Array
    path: str | None
    sha256: str


def read_numbers(source: Source, where: str, expected: str, *, table: bool = False) -> Given:
    """Return the numbers in a file or an array.

    Parameters
    ----------
    source : path or array_like
        A .npy file, never unpickled; or, if `table`, a .csv file.
    where, expected : str
        For messages: the argument, and what it should be.

    Raises
    ------
    UserMistake
        If there is no such file, it is damaged, or what it holds are no numbers.
    """
    if not isinstance(source, str | os.PathLike):
        try:
            values = np.asarray(source)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserMistake(Problem(where, expected, f"the error {str(error)!r}")) from None
        if values.dtype.kind not in "iuf":
            raise UserMistake(Problem(where, expected, f"an array of dtype {values.dtype}"))
        text = f"{values.dtype.str} {values.shape} ".encode()
        return Given(values, None, hashlib.sha256(text + values.tobytes()).hexdigest())
    path = os.fspath(source)
    mistake = npy.refusal(where, expected)
    if table and PurePath(path).suffix.lower() == ".csv":
        content = npy.read_bytes(path, mistake)
        return Given(_table(path, content, where), path, hashlib.sha256(content).hexdigest())
    content = npy.read_bytes(path, mistake)
    return Given(npy.numbers(path, content, mistake), path, hashlib.sha256(content).hexdigest())


def as_inputs(values: Array, features: int, dtype: str) -> Array:
    """Return inputs as (length, batch, features); without a batch they are one sample.

    Raises
    ------
    UserMistake
        If they have another shape, or are not finite.
    """
    batch = values[:, None] if values.ndim == 2 else values
    if batch.ndim != 3 or batch.shape[2] != features or 0 in batch.shape:
        expected = f"shape (length, {features}) or (length, batch, {features}), {features} being the features"
        raise UserMistake(Problem("inputs", expected, f"shape {values.shape}"))
    with np.errstate(over="ignore"):  # a number may overflow float32: refused below
        typed = batch.astype(dtype)
    if not np.isfinite(typed).all():
        raise UserMistake(Problem("inputs", f"finite numbers of {dtype}", "NaN or infinity among them"))
    return typed


def as_targets(values: Array, looks: int, alone: bool, dims: int) -> Array:
    """Return targets with all their dimensions in front: those of size one may have been left out.

    Parameters
    ----------
    values : array
        As given.
    looks : int
        Time steps where the loss looks; with one of them its dimension may be absent.
    alone : bool
        Whether the inputs came without a batch; then the targets may, too.
    dims : int
        How many dimensions they should have.
    """
    if alone and values.ndim == dims - 1:
        return values[:, None] if len(values) == looks else values[None]
    if alone and looks == 1 and values.ndim == dims - 2:
        return values[None, None]
    return values[None] if looks == 1 and values.ndim == dims - 1 else values


def _table(path: str, content: bytes, where: str) -> Array:
    """Return the numbers of a CSV file, rows in time; its first line may be a header."""
    expected = "a CSV file of numbers: a line a time step, a column a feature"
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise UserMistake(Problem(where, expected, f"{shown(path)}, which is no UTF-8 CSV file")) from None
    lines = [(line, row) for line, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]
    if lines and all(math.isnan(_number(cell)) and cell.strip().lower() != "nan" for cell in lines[0][1]):
        lines = lines[1:]
    if not lines:
        raise UserMistake(Problem(where, expected, f"{shown(path)}, which has none"))
    columns = len(lines[0][1])
    problems: list[Problem] = []
    numbers = np.zeros((len(lines), columns))
    for i, (line, row) in enumerate(lines):
        if len(row) != columns:
            got = f"{len(row)} in line {line}"
            problems.append(Problem(where, f"{columns} columns in every line", got))
            continue
        for j, cell in enumerate(row):
            numbers[i, j] = x = _number(cell)
            if not math.isfinite(x):
                got = shown(cell.strip()) if cell.strip() else "a hole"
                place = f"{got} in line {line}, column {j + 1}"
                problems.append(Problem(where, "a finite number in every place", place))
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        kept = problems[:_MOST_PROBLEMS]
        raise UserMistake([*kept, Problem(where, "no such places", f"{more} more")] if more > 0 else kept)
    return numbers


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
