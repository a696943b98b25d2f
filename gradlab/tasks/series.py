"""Sliding-window forecasting of one column of a CSV file."""

from __future__ import annotations

import csv
import functools
import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gradlab.core.checks import nearest, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Series(AbstractTask):
    """Readings d1, d2 -> d3; d2, d3 -> d4; and so on, the window sliding by one reading a time step.

    The samples of the batch start at places spread evenly over the record. Nothing here is
    random: replicates differ in their weights only.

    Parameters
    ----------
    file : str
        A CSV file with one header line.
    column : str
        Name of the column to forecast.
    standardise : bool
        Subtract the record's mean and divide by its standard deviation.
    features : int
        Width of the window.
    """

    name: ClassVar[str] = "series"

    features: int = 2
    batch: int = 1
    outputs: int | None = 1
    file: str
    column: str
    standardise: bool = True
    digest: str = field(init=False, default="", repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "digest", read_column(self.file, self.column)[1])
        if self.n_outputs != 1 or self.loss == "cross_entropy":
            got = f"outputs = {self.n_outputs}, loss = {self.loss!r}"
            expected, hint = 'one output with loss "mse" or "unit"', "The next reading is one number."
            raise UserMistake(Problem("outputs", expected, got, hint))
        readings = len(self._record()[0])
        needed = self.features + self.length
        if readings < needed:
            expected = f"at most {readings - self.features} ({readings} readings less the window)"
            hint = "Shorten the length or the window (features)."
            raise UserMistake(Problem("length", expected, shown(self.length), hint))

    def _record(self) -> tuple[Array, str]:
        record, digest = read_column(self.file, self.column)
        if self.digest not in ("", digest):
            got = "other readings"
            raise UserMistake(
                Problem("file", f"{self.file} as it was when the spec was read", got, "Run again.")
            )
        return record, digest

    def identity(self) -> dict[str, Any]:
        """Return the settings with the file's path replaced by a digest of the column."""
        return {**super().identity(), "file": self.digest}

    def input_identity(self) -> dict[str, Any]:
        """Return the settings and the length: the samples' starts depend on it."""
        return {**super().input_identity(), "length": self.length}

    def _windows(self) -> Array:
        record = self._record()[0]
        if self.standardise:
            spread = float(record.std())
            record = (record - record.mean()) / (spread if spread > 0 else 1.0)
        return np.asarray(sliding_window_view(record, self.features + 1))

    def _rows(self, start: int, stop: int) -> Array:
        windows = self._windows()
        first = np.linspace(0, len(windows) - self.length, self.batch).astype(int)
        rows = windows[first[None, :] + np.arange(start, stop)[:, None]]
        return rows.transpose(0, 2, 1)

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the windows, oldest reading first."""
        return self._rows(start, stop)[:, :-1]

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the reading after each window."""
        return self._rows(start, stop)[:, -1:]


def read_column(file: str, column: str) -> tuple[Array, str]:
    """Return a column of a CSV file and a digest of its numbers.

    Raises
    ------
    UserMistake
        If the file cannot be read, the column is unknown, or an entry is not a finite number.
    """
    try:
        state = Path(file).stat()
    except OSError as error:
        got = f"{shown(file)} ({error.strerror or 'unreadable'})"
        raise UserMistake(Problem("file", "a readable CSV file", got)) from None
    return _read_column(file, column, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=16)
def _read_column(file: str, column: str, modified: int, size: int) -> tuple[Array, str]:
    """Read the column; the file's time and size are there to tell versions of it apart."""
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.reader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a UTF-8 CSV file"
        raise UserMistake(Problem("file", "a readable CSV file", f"{shown(file)} ({reason})")) from None
    header = [name.strip() for name in rows[0]] if rows else []
    if column not in header:
        expected = f"a column of {Path(file).name}"
        raise UserMistake(Problem("column", expected, shown(column), nearest(column, header)))
    place = header.index(column)
    numbers = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cell = row[place].strip() if place < len(row) else ""
        try:
            x = float(cell)
        except ValueError:
            x = math.nan
        if not math.isfinite(x):
            expected = f"a finite number in every line of column {column!r}"
            got = f"{shown(cell) if cell else 'a hole'} in line {line}"
            raise UserMistake(Problem("file", expected, got, "Fill or remove that line."))
        numbers.append(x)
    values = np.array(numbers)
    values.setflags(write=False)
    return values, hashlib.sha256(values.tobytes()).hexdigest()[:32]
