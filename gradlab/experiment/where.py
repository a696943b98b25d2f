"""The filter language of a sweep: comparisons on axis values, parsed here and never evaluated as code.

Grammar, loosest first::

    either     = both ("or" both)*
    both       = negation ("and" negation)*
    negation   = "not" negation | comparison
    comparison = sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum | ["not"] "in" list)*
    sum        = product (("+" | "-") product)*
    product    = factor (("*" | "/") factor)*
    factor     = "-" factor | number | text | "true" | "false" | name | "(" either ")"
    list       = "[" sum ("," sum)* "]"

A name is that of an axis. A chain of comparisons means what it means in mathematics.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import nearest, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.sweeps import brief

Array = NDArray[Any]
Kind = Literal["number", "text", "truth"]

DEEPEST = 50
LONGEST = 10_000

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>'[^']*'|"[^"]*")
    | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    | (?P<sign><=|>=|==|!=|[<>+\-*/()\[\],])
    )""",
    re.VERBOSE,
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_WORDS = ("and", "or", "not", "in", "true", "false")


@dataclass(frozen=True)
class Column:
    """The values of one axis, shaped to broadcast over the grid.

    Parameters
    ----------
    values : array
        Numbers, texts or booleans; any shape that broadcasts with the other columns.
    kind : {"number", "text", "truth"}
        What they are.
    """

    values: Array
    kind: Kind


@dataclass(frozen=True)
class _Value:
    """An intermediate result: its values, what they are, and the text of the filter it stands for."""

    values: Any
    kind: Kind
    text: str
    known: tuple[str, ...] | None = field(default=None)  # the labels of a text axis


def evaluate(text: str, columns: Mapping[str, Column | None], place: str = "where") -> Array:
    """Return where the filter holds.

    Parameters
    ----------
    text : str
        The filter, in the grammar of this module.
    columns : mapping
        What each name stands for; None where that is not known.
    place : str
        The key of the filter in the spec, for messages.

    Returns
    -------
    array of bool
        Of the shape to which the columns that the filter names broadcast (a scalar array if none).

    Raises
    ------
    UserMistake
        Where the text does not follow the grammar, names no axis, or compares what cannot be compared.
    """
    if len(text) > LONGEST:
        raise UserMistake(Problem(place, f"a filter of at most {LONGEST} characters", f"{len(text)} of them"))
    with np.errstate(all="ignore"):  # only overflow to infinity is left, and that compares rightly
        return _Parser(text, columns, place).run()


class _Parser:
    """Recursive descent over the tokens of one filter, computing as it goes."""

    def __init__(self, text: str, columns: Mapping[str, Column | None], place: str):
        self.text, self.columns, self.place = text, columns, place
        self.tokens = self._tokens()
        unknown = dict.fromkeys(word for kind, word in self.tokens if kind == "name" and word not in columns)
        if unknown:
            raise UserMistake([problem for name in unknown for problem in self.unknown(name).problems])
        self.at = 0
        self.depth = 0

    def fail(self, expected: str, got: str, hint: str = "") -> UserMistake:
        """Return the mistake that names the filter, ready to be raised."""
        got = got if len(got) <= 200 else got[:199] + "…"
        return UserMistake(
            Problem(self.place, expected, f"{got} in the filter {shown(self.text, 100)}", hint)
        )

    def unknown(self, name: str) -> UserMistake:
        """Return the mistake of a name that is no axis's."""
        return self.fail("the name of an axis", shown(name), nearest(name, brief(self.columns)))

    def _tokens(self) -> list[tuple[str, str]]:
        tokens, place = [], 0
        text = self.text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                rest = text[place:].lstrip()
                hint = "Equality is written ==." if rest.startswith("=") else ""
                raise self.fail(
                    "a comparison such as radius < 1.2 and activation != 'relu'", shown(rest, 20), hint
                )
            kind = str(match.lastgroup)
            word = match.group(kind)
            tokens.append(("sign" if word in _WORDS and kind == "name" else kind, word))
            place = match.end()
        return [*tokens, ("end", "")]

    def take(self, *words: str) -> str:
        """Consume and return the next token if it is one of these signs or keywords, else return ''."""
        kind, word = self.tokens[self.at]
        if kind == "sign" and word in words:
            self.at += 1
            return word
        return ""

    def need(self, word: str) -> None:
        """Consume exactly this sign."""
        if not self.take(word):
            raise self.fail(f"{word!r}", self.here())

    def here(self) -> str:
        """Return the token at hand as a message shows it."""
        kind, word = self.tokens[self.at]
        return "the end" if kind == "end" else shown(word, 30)

    def run(self) -> Array:
        """Parse all of the filter and return its truth."""
        result = self.truth(self.either())
        if self.tokens[self.at][0] != "end":
            raise self.fail("'and', 'or' or the end", self.here())
        return np.asarray(result)

    def either(self) -> _Value:
        """Read ``both ("or" both)*``."""
        return self._joined("or", self.both, np.logical_or)

    def both(self) -> _Value:
        """Read ``negation ("and" negation)*``."""
        return self._joined("and", self.negation, np.logical_and)

    def _joined(self, word: str, part: Callable[[], _Value], join: Callable[[Any, Any], Any]) -> _Value:
        left = part()
        while self.take(word):
            right = part()
            left = _Value(
                join(self.truth(left), self.truth(right)), "truth", f"{left.text} {word} {right.text}"
            )
        return left

    def negation(self) -> _Value:
        """Read ``"not" negation | comparison``."""
        if not self.take("not"):
            return self.comparison()
        inner = self.nested(self.negation)
        return _Value(np.logical_not(self.truth(inner)), "truth", f"not {inner.text}")

    def comparison(self) -> _Value:
        """Read a sum, or a chain of comparisons, each of which must hold."""
        left = first = self.sum()
        holds: list[Any] = []
        while True:
            if sign := self.take(*_COMPARISONS):
                right = self.sum()
                holds.append(self.compared(sign, left, right))
                left = right
            elif self.take("in"):
                holds.append(self.member(left))
            elif self.take("not"):
                self.need("in")
                holds.append(np.logical_not(self.member(left)))
            else:
                break
        if not holds:
            return first
        result = holds[0]
        for one in holds[1:]:
            result = np.logical_and(result, one)
        return _Value(result, "truth", f"the comparison of {first.text}")

    def compared(self, sign: str, left: _Value, right: _Value) -> Any:
        """Return where `left` stands to `right` as `sign` says."""
        if left.kind != right.kind:
            raise self.fail(
                "two numbers or two texts to compare",
                f"a {left.kind} ({left.text}) {sign} a {right.kind} ({right.text})",
                "Texts are quoted, numbers are not." if "text" in (left.kind, right.kind) else "",
            )
        if left.kind != "number" and sign not in ("==", "!="):
            raise self.fail("== or != between texts or truth values", f"{left.text} {sign} {right.text}")
        for one, other in ((left, right), (right, left)):
            if one.known is not None and other.known is None and other.values not in one.known:
                raise self.fail(f"a value of {one.text}", other.text, nearest(other.values, one.known))
        return _COMPARISONS[sign](left.values, right.values)

    def member(self, left: _Value) -> Any:
        """Return where `left` equals one of the values of the list that follows."""
        self.need("[")
        result: Any = np.zeros((), dtype=bool)
        while True:
            result = np.logical_or(result, self.compared("==", left, self.sum()))
            if not self.take(","):
                break
        self.need("]")
        return result

    def sum(self) -> _Value:
        """Read ``product (("+" | "-") product)*``."""
        return self._arithmetic(("+", "-"), self.product)

    def product(self) -> _Value:
        """Read ``factor (("*" | "/") factor)*``."""
        return self._arithmetic(("*", "/"), self.factor)

    def _arithmetic(self, signs: tuple[str, ...], part: Callable[[], _Value]) -> _Value:
        left = part()
        while sign := self.take(*signs):
            right = part()
            for one in (left, right):
                self.number(one)
            if sign == "/" and np.any(right.values == 0):
                raise self.fail("a divisor that is never 0", right.text)
            values = _ARITHMETIC[sign](
                np.asarray(left.values, np.float64), np.asarray(right.values, np.float64)
            )
            if np.isnan(values).any():
                raise self.fail(
                    "arithmetic with a result", f"{left.text} {sign} {right.text}, which is undefined"
                )
            left = _Value(values, "number", f"{left.text} {sign} {right.text}")
        return left

    def factor(self) -> _Value:
        """Read a literal, a name, a part in parentheses, or the negative of one."""
        kind, word = self.tokens[self.at]
        if self.take("-"):
            inner = self.nested(self.factor)
            self.number(inner)
            return _Value(-inner.values, "number", f"-{inner.text}")
        if self.take("("):
            inner = self.nested(self.either)
            self.need(")")
            return inner
        if self.take("true", "false"):
            return _Value(np.bool_(word == "true"), "truth", word)
        if kind == "number":
            self.at += 1
            return _Value(_literal(word), "number", word)
        if kind == "text":
            self.at += 1
            return _Value(word[1:-1], "text", word)
        if kind == "name":
            self.at += 1
            return self.column(word)
        raise self.fail("an axis name, a number or a quoted text", self.here())

    def column(self, name: str) -> _Value:
        """Return the values of an axis."""
        column = self.columns[name]
        if column is None:
            raise UserMistake(())
        if column.kind == "text":
            return _Value(column.values, "text", name, tuple(str(label) for label in column.values.flat))
        values = column.values
        if (
            column.kind == "number" and values.dtype.kind != "i"
        ):  # integers are compared with all their digits
            values = values.astype(np.float64)
        return _Value(values, column.kind, name)

    def nested(self, part: Callable[[], _Value]) -> _Value:
        """Go one level deeper, but not without end."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fail(f"at most {DEEPEST} levels of nesting", "more")
        result = part()
        self.depth -= 1
        return result

    def truth(self, value: _Value) -> Any:
        """Return the values of something that is true or false."""
        if value.kind != "truth":
            raise self.fail("a comparison", f"the {value.kind} {value.text}")
        return value.values

    def number(self, value: _Value) -> None:
        """Refuse what is not a number."""
        if value.kind != "number":
            raise self.fail("numbers in arithmetic", f"the {value.kind} {value.text}")


def _literal(word: str) -> np.int64 | np.float64:
    """Return the number that a word is: an integer with all its digits, where 64 bits hold it."""
    return np.int64(word) if word.isdecimal() and int(word) < 2**63 else np.float64(word)
