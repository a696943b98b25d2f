"""The user's mistakes, as values with one grammar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

MOST_ALIKE = 10  # problems with the same words that are told of one mistake


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave.

    Parameters
    ----------
    where : str
        The key, flag, file or argument, as the user wrote it.
    expected, got : str
        What is allowed there, and what came.
    hint : str, optional
        What to do about it.
    """

    where: str
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, got {self.got}"
        return f"{text}. {self.hint}" if self.hint else text

    def under(self, prefix: str) -> Problem:
        """Return the same problem with `prefix` put before its place."""
        return replace(self, where=f"{prefix}.{self.where}" if self.where else prefix)


class UserMistake(ValueError):  # noqa: N818  # it is the user's, not the program's
    """What the user asked for cannot be done; every known problem is in `problems`.

    The command line prints it without a traceback and ends with exit code 2.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        What is wrong; nothing where it has been told already.
    rest : object, optional
        What could be made all the same, with gaps (`gradlab.core.gaps`) where something is wrong.
    """

    def __init__(self, problems: Problem | Iterable[Problem], rest: Any = None):
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.rest = rest
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[UserMistake], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))

    def under(self, prefix: str) -> UserMistake:
        """Return the same mistake with `prefix` put before every place."""
        return type(self)((problem.under(prefix) for problem in self.problems), self.rest)


def lines_of(mistake: UserMistake, most: int = MOST_ALIKE) -> list[str]:
    """Return a line for every problem of a mistake; of those that say the same of many places, `most`."""
    lines, number = [], Counter[tuple[str, str, str]]()
    for problem in mistake.problems:
        kind = (problem.expected, problem.got, problem.hint)
        number[kind] += 1
        if number[kind] <= most:
            lines.append(str(problem))
    more = ((kind, count - most) for kind, count in number.items() if count > most)
    return lines + [f"and {count} more: expected {expected}, got {got}" for (expected, got, _), count in more]


@contextmanager
def gathering(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of a mistake in the ``with`` block to others, and go on behind it."""
    try:
        yield
    except UserMistake as mistake:
        problems += mistake.problems
