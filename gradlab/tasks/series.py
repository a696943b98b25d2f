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
from numpy.typing import NDArray

from gradlab.core.checks import nearest, number, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._tail import following, starts

HELD_OUT = 0.2


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
    held_out : float
        Share of the record, its end, that networks are judged on when trained; a probe uses all of it.
        Trained networks see readings standardised by the rest.
    """

    name: ClassVar[str] = "series"
    metric: ClassVar[str] = "mean_squared_error"

    features: int = 2
    batch: int = 1
    outputs: int | None = 1
    file: str
    column: str
    standardise: bool = True
    held_out: float = HELD_OUT
    digest: str = field(init=False, default="", repr=False)

    def __post_init__(self) -> None:
        together(
            super().__post_init__,
            lambda: number("held_out", self.held_out, above=0, below=1),
            lambda: object.__setattr__(self, "digest", read_column(self.file, self.column)[1]),
            self._check_outputs,
        )
        self._check_room()

    def _check_outputs(self) -> None:
        if self.n_outputs != 1 or self.loss == "cross_entropy":
            got = f"outputs = {self.n_outputs}, loss = {self.loss!r}"
            expected, hint = 'one output with loss "mse" or "unit"', "The next reading is one number."
            raise UserMistake(Problem("outputs", expected, got, hint))

    def _check_room(self) -> None:
        """Raise UserMistake if the record is too short for one sequence of windows."""
        readings = len(self._record()[0])
        if readings < 2:
            raise UserMistake(Problem("file", "two readings at least", f"{readings} in {shown(self.file)}"))
        if self.features >= readings:
            expected = f"at most {readings - 1} ({readings} readings, one of which is to be told)"
            raise UserMistake(Problem("features", expected, shown(self.features), "Shorten the window."))
        if readings < self.features + self.length:
            expected = f"at most {readings - self.features} ({readings} readings less the window)"
            hint = "Shorten the length or the window (features)."
            raise UserMistake(Problem("length", expected, shown(self.length), hint))
        with np.errstate(over="ignore", invalid="ignore"):
            spreads = [self._record()[0][:end].std() for end in (readings, self._cut()) if end]
        if self.standardise and not np.isfinite(spreads).all():
            got = f"readings of up to {np.abs(self._record()[0]).max():g}"
            hint = "Give them in a larger unit, or set standardise = false."
            raise UserMistake(Problem("file", "readings with a finite standard deviation", got, hint))

    def _record(self) -> tuple[Array, str]:
        record, digest = read_column(self.file, self.column)
        if self.digest not in ("", digest):
            got = "other readings"
            raise UserMistake(
                Problem("file", f"{self.file} as it was when the spec was read", got, "Run again.")
            )
        return record, digest

    def identity(self) -> dict[str, Any]:
        """Return the settings with the file's path replaced by a digest of the column.

        The ordinary `held_out` is left out, so keys of cases stay what they were before there was one.
        """
        table = {**super().identity(), "file": self.digest}
        return {k: v for k, v in table.items() if (k, v) != ("held_out", HELD_OUT)}

    def input_identity(self) -> dict[str, Any]:
        """Return the settings and the length: the samples' starts depend on it."""
        table = {**super().input_identity(), "length": self.length}
        return {key: value for key, value in table.items() if key != "held_out"}

    def _windows(self, cut: int | None = None) -> Array:
        """Return all windows, standardised by the readings before the `cut`, or by all."""
        record = self._record()[0]
        if self.standardise:
            seen = record[:cut]
            record = (record - seen.mean()) / (float(seen.std()) or 1.0)
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

    def check_training(self) -> None:
        """Check that both parts of the record are long enough."""
        super().check_training()
        for role, words in (("training", "before what is held out"), ("evaluation", "held out")):
            first, last = self._places(role)
            if last < first:
                got = f"too few readings {words}, {self._cut()} of {len(self._record()[0])} being before"
                hint = "Change held_out, or shorten the length."
                raise UserMistake(Problem("held_out", "a sequence in each part", got, hint))

    def _cut(self) -> int:
        """Return the number of readings that are not held out."""
        readings = len(self._record()[0])
        return readings - math.ceil(self.held_out * readings)

    def _places(self, role: str) -> tuple[int, int]:
        """Return the first and the last window at which a sequence may begin.

        Every reading asked for in evaluation is held out; what leads there may be older.
        """
        first, windows = 0, self._cut() - self.features
        if role == "evaluation":
            first, windows = windows - self.looks()[0], len(self._record()[0]) - self.features
        return max(0, first), windows - self.length

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return sequences of windows from random places, for evaluation from those that are held out."""
        self.check_training()
        count = self.batch if samples is None else samples
        return self._sequences(starts(*self._places(role), (seed, replicate), role, number, count))

    def passage(self, number: int) -> tuple[Examples, NDArray[np.bool_]]:
        """Return the sequences of windows after those of the update before; see the base class."""
        self.check_training()
        places, anew = following(self._cut() - self.features, self.length, number, self.batch)
        return self._sequences(places), anew

    def _sequences(self, first: NDArray[np.int64]) -> Examples:
        rows = self._windows(self._cut())[np.arange(self.length)[:, None] + first].transpose(0, 2, 1)
        return Examples(rows[:, :-1].copy(), rows[:, -1:].copy()).frozen()

    def _asked(self, role: str) -> Array:
        """Return the windows of all time steps looked at of all sequences of a role, (number, width)."""
        first, last = self._places(role)
        places = np.arange(first, last + 1)[:, None] + np.array(self.looks())
        return np.asarray(self._windows(self._cut())[places.ravel()])

    def chance(self) -> float:
        """Return the loss in training of the mean of what is asked for; NaN where there is too little."""
        parts = (self._places(role) for role in ("training", "evaluation"))
        if any(last < first for first, last in parts) or self.loss_entry.target_kind == "directions":
            return math.nan
        return float(self._asked("training")[:, -1].var()) * len(self.looks())

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the error on what is held out of who says that the next reading is the last one again."""
        first, last = self._places("evaluation")
        if last < first:
            return {}
        asked = self._asked("evaluation")
        return {"last_value": float(((asked[:, -1] - asked[:, -2]) ** 2).mean())}


def read_column(file: str, column: str) -> tuple[Array, str]:
    """Return a column of a CSV file and a digest of its numbers.

    Raises
    ------
    UserMistake
        If the file cannot be read, the column is unknown, or an entry is not a finite number.
    """
    try:
        state = Path(file).stat()
    except (OSError, ValueError) as error:  # a path cannot hold the character 0
        got = f"{shown(file)} ({getattr(error, 'strerror', None) or 'unreadable'})"
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
    _check_header(header, file, column)
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


def _check_header(header: list[str], file: str, column: str) -> None:
    """Raise UserMistake unless exactly one column has the name."""
    name = Path(file).name
    if not any(header):
        expected = "a CSV file whose first line names its columns"
        raise UserMistake(Problem("file", expected, f"nothing in the first line of {name}"))
    if header.count(column) > 1:
        expected = f"a column of {name} whose name no other has"
        raise UserMistake(Problem("column", expected, f"{shown(column)}, which {header.count(column)} have"))
    if column not in header:
        hint = f"{nearest(column, header)} The first line names the columns, with commas between them."
        raise UserMistake(Problem("column", f"a column of {name}", shown(column), hint))
