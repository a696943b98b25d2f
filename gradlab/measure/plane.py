"""A plane in the space of parameters: its settings, and the directions that span it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.checks import integer, nearest, number, shown, with_known
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.gaps import known, together, with_gaps
from gradlab.learning.gradients import is_structured

if TYPE_CHECKING:
    from gradlab.network.settings import NetworkSettings
    from gradlab.tasks import AbstractTask

Array = NDArray[Any]

MOST_PLACES = 1_000_000  # on a line
_PARAMETER = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?|(weight_ho|bias_o)")


@dataclass(frozen=True)
class Line:
    """One of the two directions of a plane, and where it is looked at.

    Parameters
    ----------
    start, stop : float
        First and last place. Along a parameter they are values of it; along a random direction,
        multiples of the norm of each unit's weights from the weights that were drawn.
    num : int
        How many places, at equal distances.
    parameter : str, optional
        A weight or bias in PyTorch's names: ``weight_hh_l0``, ``weight_ih_l0``, ``bias_ih_l0`` (of further
        layers ``_l1``, ..., of the reverse direction ``_l0_reverse``), ``weight_ho`` or ``bias_o``; of a
        GRU also ``bias_hh_l0``. Rows are those of `gradlab.draw`.
    entry : tuple of int, optional
        Its row, and its column unless it is a bias.
    direction : int, optional
        Instead of a parameter: the number of a random direction. Every unit's weights are drawn normal
        and brought to the norm of the weights themselves (Li et al. 2018, Visualizing the loss landscape
        of neural nets, section 4).
    """

    start: float
    stop: float
    num: int = 100
    parameter: str | None = None
    entry: tuple[int, ...] | None = None
    direction: int | None = None

    @classmethod
    def build(cls, table: Any, where: str) -> Line:
        """Return the line that a table of a spec describes.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        if isinstance(table, cls):
            return table
        known(table)
        if not isinstance(table, Mapping):
            expected = "a table with start, stop, num, and a parameter with its entry, or a direction"
            raise UserMistake(Problem(where, expected, "nothing" if table is None else shown(table)))
        fields = [one.name for one in dataclasses.fields(cls)]
        table, problems = with_known(where, table, fields, "a setting of a line")
        values: dict[str, Any] = {}
        for key in ("start", "stop"):
            with gathering(problems):
                values[key] = number(f"{where}.{key}", table.get(key))
        with gathering(problems):
            values["num"] = integer(f"{where}.num", table.get("num", 100), at_least=2, at_most=MOST_PLACES)
        with gathering(problems):
            values["what"] = _what(table, where)
        if "start" in values and values.get("stop") == values["start"]:
            problems.append(Problem(f"{where}.stop", "another place than start", shown(values["stop"])))
        what = values.pop("what", None)
        if problems or what is None or len(values) < 3:
            absent = {} if what is None else dict.fromkeys(("parameter", "entry", "direction")) | what
            raise UserMistake(problems, with_gaps(cls, {**values, **absent}))
        return cls(**values, **what)

    @property
    def places(self) -> Array:
        """The places, shape (num,), ascending."""
        return np.linspace(min(self.start, self.stop), max(self.start, self.stop), self.num)

    @property
    def label(self) -> str:
        """What runs along it, in a word."""
        if self.parameter is None:
            return f"random direction {self.direction}"
        entry = ", ".join(map(str, self.entry or ()))
        return f"{self.parameter}[{entry}]"


def _what(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a line runs along: an entry of a parameter, or a random direction."""
    parameter, direction = known(table.get("parameter")), known(table.get("direction"))
    if (parameter is None) == (direction is None):
        got = "neither" if parameter is None else "both"
        raise UserMistake(Problem(where, "a parameter with its entry, or a direction", got))
    if direction is not None:
        return {"direction": integer(f"{where}.direction", direction, at_least=0)}
    if not isinstance(parameter, str) or not (match := _PARAMETER.fullmatch(parameter)):
        names = ("weight_hh_l0", "weight_ih_l0", "bias_ih_l0", "bias_hh_l0", "weight_ho", "bias_o")
        expected = "the name of a parameter"
        raise UserMistake(
            Problem(f"{where}.parameter", expected, shown(parameter), nearest(parameter, names))
        )
    entry = known(table.get("entry", 0))
    entry = [entry] if isinstance(entry, int | float) else entry
    count = 1 if (match[1] or match[4]).startswith("bias") else 2
    if not isinstance(entry, list | tuple) or len(entry) != count:
        expected = "a row" if count == 1 else "a row and a column"
        got = shown(entry) if "entry" in table else "nothing"
        raise UserMistake(Problem(f"{where}.entry", f"{expected} of {parameter}", got))
    places = tuple(integer(f"{where}.entry", one, at_least=0) for one in entry)
    return {"parameter": parameter, "entry": places}


@dataclass(frozen=True)
class Block:
    """What a block of the gradient is of.

    Parameters
    ----------
    name : str
        ``l0``, ``l0_reverse``, ..., or ``o`` for the readout ``[V b]``.
    parts : dict of str to (integer array, slice)
        Rows and columns of ``weight_hh``, ``weight_ih``, ``bias_ih`` and ``bias_hh`` in ``[W U b]``, or of
        ``weight`` and ``bias``, as `gradlab.network.parameters.named` has them; row -1: no parameter.
    shape : tuple of int
        Rows and columns.
    """

    name: str
    parts: dict[str, tuple[NDArray[np.int64], slice]]
    shape: tuple[int, int]


def blocks_of(network: NetworkSettings, task: AbstractTask) -> list[Block]:
    """Return the blocks of a gradient in its order, those of elementwise parameters with no parts."""
    found = []
    cell, n = network.cell, network.hidden
    rows, recurrent = n * len(cell.row_blocks), n * len(cell.recurrent_blocks)
    fed_back = n if cell.feeds_back == "state" else task.n_outputs
    is_fed = np.repeat(np.array(cell.fed_blocks), n)
    fed, unfed = np.flatnonzero(is_fed), np.where(is_fed, -1, np.arange(rows))[:recurrent]
    for layer in range(network.layers):
        width = task.features if layer == 0 else n * network.directions
        last = fed_back + width
        parts = {"weight_ih": (fed, slice(fed_back, last)), "bias_ih": (fed, slice(last, last + 1))}
        if recurrent:
            parts["weight_hh"] = np.arange(recurrent), slice(0, fed_back)
        if (unfed >= 0).any():
            parts["bias_hh"] = unfed, slice(last, last + 1)
        for direction in range(network.directions):
            name = f"l{layer}" + ("_reverse" if direction else "")
            found.append(Block(name, parts, (rows, last + 1)))
            if cell.diagonals:
                found.append(Block(name, {}, (len(cell.diagonals), n)))
    if task.loss_entry.uses_readout:
        width = n * network.directions
        every = np.arange(task.n_outputs)
        parts = {"weight": (every, slice(0, width)), "bias": (every, slice(width, width + 1))}
        found.append(Block("o", parts, (task.n_outputs, width + 1)))
    return found


def check_lines(settings: LandscapeSettings, network: NetworkSettings, task: AbstractTask) -> None:
    """Raise UserMistake unless a network has the parameters that the lines run along."""
    if network.embedding is not None or is_structured(network.cell, network.hidden):
        what = "an embedding" if network.embedding is not None else f"the cell {network.cell.name!r}"
        expected = "a network each of whose weights is a parameter of its own, for a landscape"
        raise UserMistake(Problem("network", expected, what))
    blocks = blocks_of(network, task)

    def check(key: str) -> None:
        line = getattr(settings, key)
        if line.parameter is not None:
            _place(line, blocks, f"landscape.{key}")

    together(lambda: check("first"), lambda: check("second"))


def _place(line: Line, blocks: Sequence[Block], where: str) -> tuple[int, int, int]:
    """Return block, row and column of the entry of a line."""
    assert line.parameter is not None
    assert line.entry is not None
    kind, _, name = line.parameter.rpartition("_")
    if name == "reverse":
        kind, _, name = kind.rpartition("_")
        name += "_reverse"
    name, kind = ("o", kind) if name in ("ho", "o") else (name, kind)
    names = [f"{k}_{'ho' if b.name == 'o' and k == 'weight' else b.name}" for b in blocks for k in b.parts]
    for number_, block in enumerate(blocks):
        if block.name != name or kind not in block.parts:
            continue
        rows, columns = block.parts[kind]
        row, column = (*line.entry, 0)[:2]
        size = (len(rows), columns.stop - columns.start)
        if row >= size[0] or column >= size[1]:
            expected = f"a place in {line.parameter}, which has {size[0]} rows"
            expected += "" if kind.startswith("bias") else f" and {size[1]} columns"
            raise UserMistake(Problem(f"{where}.entry", expected, shown(list(line.entry))))
        if rows[row] < 0:
            first, last = np.flatnonzero(rows >= 0)[[0, -1]]
            expected = f"a row from {first} to {last} of {line.parameter}"
            hint = "The one bias of other rows stands in bias_ih."
            raise UserMistake(Problem(f"{where}.entry", expected, shown(row), hint))
        return number_, int(rows[row]), columns.start + column
    hint = nearest(line.parameter, names)
    raise UserMistake(Problem(f"{where}.parameter", "a parameter that the network has", line.parameter, hint))


def direction_of(
    line: Line,
    blocks: Sequence[Block],
    weights: Sequence[Array],
    seed: int,
    replicate: int,
    number_of_line: int,
) -> tuple[list[Array], float]:
    """Return the direction of a line by block, and where on it the weights themselves are.

    Parameters
    ----------
    line : Line
    blocks : sequence of Block
        Of the network.
    weights : sequence of arrays
        By block.
    seed, replicate : int
        Keys of the random directions.
    number_of_line : int
        0 or 1: equal numbers of random directions are no equal directions on the two lines.
    """
    direction = [np.zeros(block.shape) for block in blocks]
    if line.parameter is not None:
        block, row, column = _place(line, blocks, "landscape")
        direction[block][row, column] = 1.0
        return direction, float(weights[block][row, column])
    stream = streams.stream(seed, "random direction", number_of_line, line.direction, replicate)
    for block_of, into, own in zip(blocks, direction, weights, strict=True):
        drawn = stream.standard_normal(block_of.shape)
        drawn[own == 0] = 0.0  # what is no parameter, or was not drawn
        length, wanted = (np.sqrt((a * a).sum(axis=1, keepdims=True)) for a in (drawn, own))
        into[...] = drawn * (wanted / np.where(length > 0, length, 1.0))
    return direction, 0.0


@dataclass(frozen=True)
class LandscapeSettings:
    """What part of the error surface is measured, and the descents over it.

    Parameters
    ----------
    first, second : Line
        The two directions; `first` is drawn across, `second` upwards.
    begin : tuple of float
        Where descent begins: a place on each line.
    rate : float
        Learning rate of the descent.
    updates : int
        Its updates; 0 for none.
    """

    first: Line
    second: Line
    begin: tuple[float, float]
    rate: float
    updates: int

    @classmethod
    def build(cls, table: Mapping[str, Any], where: str = "landscape") -> LandscapeSettings:
        """Return the settings that a table of a spec describes.

        Raises
        ------
        UserMistake
            With every problem of the table.
        """
        fields = [one.name for one in dataclasses.fields(cls)]
        table, problems = with_known(where, table, fields, "a setting of a landscape")
        values: dict[str, Any] = {}
        for key in ("first", "second"):
            try:
                values[key] = Line.build(table.get(key), f"{where}.{key}")
            except UserMistake as mistake:
                problems += mistake.problems
                if mistake.rest is not None:
                    values[key] = mistake.rest
        with gathering(problems):
            values["rate"] = number(f"{where}.rate", table.get("rate", 0.1), above=0.0)
        with gathering(problems):
            values["updates"] = integer(f"{where}.updates", table.get("updates", 0), at_least=0)
        with gathering(problems):
            values["begin"] = _begin(table, values, where)
        with gathering(problems):
            _check_directions(values, where)
        if problems or len(values) < len(fields):
            raise UserMistake(problems, with_gaps(cls, values))
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        """Return the plain table that builds these settings again."""
        lines = {key: _table(getattr(self, key)) for key in ("first", "second")}
        return {**lines, "begin": list(self.begin), "rate": self.rate, "updates": self.updates}


def _check_directions(lines: Mapping[str, Any], where: str) -> None:
    """Refuse two lines along the same parameter."""
    ways = [(line.parameter, line.entry) for key in ("first", "second") if (line := lines.get(key))]
    if len(ways) == 2 and ways[0] == ways[1] and ways[0][0] is not None:
        got = f"{lines['second'].label} twice"
        raise UserMistake(Problem(f"{where}.second", "another direction than first", got))


def _table(line: Line) -> dict[str, Any]:
    table = {key: value for key, value in dataclasses.asdict(line).items() if value is not None}
    if "entry" in table:
        table["entry"] = list(table["entry"])
    return table


def _begin(table: Mapping[str, Any], values: Mapping[str, Any], where: str) -> tuple[float, float]:
    if "begin" in table:
        begin = known(table["begin"])
    elif {"first", "second"} <= values.keys():
        begin = [0.5 * (values[key].start + values[key].stop) for key in ("first", "second")]
    else:
        raise UserMistake(())  # the middle of lines of which something has been told
    if not isinstance(begin, list | tuple) or len(begin) != 2:
        raise UserMistake(Problem(f"{where}.begin", "two numbers, a place on each line", shown(begin)))
    return number(f"{where}.begin[0]", begin[0]), number(f"{where}.begin[1]", begin[1])
