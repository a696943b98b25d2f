"""The next character of a text."""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import number, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractGenerator
from gradlab.tasks._tail import following, starts


@registry.register
@dataclass(frozen=True, kw_only=True)
class Characters(AbstractGenerator):
    """Tell the next character of a text at every step, each read as a one-hot vector.

    Samples of training begin at random places; those of evaluation are of the text's end, held out.
    The loss is the mean over the steps, in nats; the metric the same in bits per character.

    Parameters
    ----------
    file : str
        A text in UTF-8.
    held_out : float
        Share of the text, its end, that is kept for evaluation.
    length : int
        Characters that are read in a sequence.
    """

    name: ClassVar[str] = "characters"
    learnt: ClassVar[str] = "cross_entropy"
    metric: ClassVar[str] = "bits_per_character"

    at: str | tuple[int, ...] = field(init=False, default="every")
    length: int = 50
    loss: str = "cross_entropy"
    file: str
    held_out: float = 0.1
    digest: str = field(init=False, default="", repr=False)

    def check(self) -> None:
        """Check the text and that both its parts are long enough."""
        together(lambda: number("held_out", self.held_out, above=0, below=1), self._check_text)
        text = self._text()
        cut = _cut(len(text), self.held_out)
        most = min(cut, len(text) - cut) - 1
        if self.length > most:
            expected = f"at most {most}: the parts have {cut} and {len(text) - cut} characters"
            hint = "Shorten the length, or take a longer text or another held_out."
            raise UserMistake(Problem("length", expected, str(self.length), hint))

    def _check_text(self) -> None:
        text, digest = read_text(self.file)
        object.__setattr__(self, "digest", digest)
        if len(set(text)) < 2:
            got = f"{len(text)} characters, all of them {shown(text[:1])}" if text else "an empty file"
            raise UserMistake(Problem("file", "a text of at least 2 different characters", got))

    def sizes(self) -> tuple[int, int]:
        """Return a feature and a class for every character of the text."""
        count = len(set(self._text()))
        return count, count

    def _text(self) -> str:
        text, digest = read_text(self.file)
        if digest != self.digest:
            expected = f"{self.file} as it was when the spec was read"
            raise UserMistake(Problem("file", expected, "another text", "Run again."))
        return text

    def numbers(self) -> NDArray[np.int64]:
        """Return the text as places in its sorted alphabet."""
        return _numbers(self._text())

    def parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is trained on and what is held out."""
        numbers = self.numbers()
        cut = _cut(len(numbers), self.held_out)
        return numbers[:cut], numbers[cut:]

    def identity(self) -> dict[str, Any]:
        """Return the settings with the file's path replaced by a digest of the text."""
        return {**super().identity(), "file": self.digest}

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return pieces of the text; see the base class."""
        count = self.batch if samples is None else samples
        part = self.parts()[role == "evaluation"]
        first = starts(0, len(part) - self.length - 1, (seed, replicate), role, number, count)
        return self._pieces(part, first).frozen()

    def passage(self, number: int) -> tuple[Examples, NDArray[np.bool_]]:
        """Return the pieces after those of the update before; see the base class."""
        part = self.parts()[0]
        places, anew = following(len(part) - 1, self.length, number, self.batch)
        return self._pieces(part, places).frozen(), anew

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return pieces of what is trained on, from random places."""
        part = self.parts()[0]
        return self._pieces(part, stream.randint(len(part) - self.length, size=samples))

    def _pieces(self, part: NDArray[np.int64], first: NDArray[np.int64]) -> Examples:
        rows = part[np.arange(self.length + 1)[:, None] + first]
        weight = np.full((self.length, len(first)), 1 / self.length)
        return Examples(np.eye(self.features)[rows[:-1]].transpose(0, 2, 1), rows[1:], weight)

    def chance(self) -> float:
        """Return the loss in training of the characters' shares in what is trained on."""
        shares = np.unique(self.parts()[0][1:], return_counts=True)[1] / (len(self.parts()[0]) - 1)
        return -float((shares * np.log(shares)).sum())

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return bits per held-out character of the shares of characters, and of pairs of them.

        Counted on the other part, each character (after each other one) once more than it is there.
        """
        seen, asked = self.parts()
        size = self.features
        single = np.bincount(seen, minlength=size) + 1.0
        pairs = np.bincount(seen[:-1] * size + seen[1:], minlength=size**2).reshape(size, size) + 1.0
        unigram = -np.log2(single / single.sum())[asked[1:]].mean()
        bigram = -np.log2(pairs / pairs.sum(axis=1, keepdims=True))[asked[:-1], asked[1:]].mean()
        return {"unigram": float(unigram), "bigram": float(bigram)}

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return the bits of all characters; see the base class."""
        total, count = super().metric_of(outputs, examples)
        return total / math.log(2), count


def _cut(characters: int, held_out: float) -> int:
    return characters - math.ceil(held_out * characters)


def read_text(file: str) -> tuple[str, str]:
    """Return a text and a digest of it.

    Raises
    ------
    UserMistake
        If the file cannot be read as UTF-8.
    """
    try:
        state = Path(file).stat()
        return _read_text(file, state.st_mtime_ns, state.st_size)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except (OSError, ValueError) as error:  # a path cannot hold the character 0
        reason = getattr(error, "strerror", None) or "unreadable"
    raise UserMistake(Problem("file", "a readable text file", f"{shown(file)} ({reason})"))


@functools.lru_cache(maxsize=4)
def _read_text(file: str, modified: int, size: int) -> tuple[str, str]:
    """Read the text; the file's time and size are there to tell versions of it apart."""
    text = Path(file).read_text(encoding="utf-8-sig")  # a mark in front is no character of the text
    return text, hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=4)
def _numbers(text: str) -> NDArray[np.int64]:
    place = {character: i for i, character in enumerate(sorted(set(text)))}
    numbers = np.array([place[character] for character in text])
    numbers.setflags(write=False)
    return numbers
