"""Reviews of films with negation."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified

SUBJECTS = ("movie", "plot", "cast", "music")
ADVERBS = ("really", "quite")
PRAISE, BLAME = ("good", "great", "fine"), ("bad", "dull", "poor")
NEGATIONS = ((), ("not",), ("never",), ("never", "not"))  # each as often as the others
FILLERS = ("well", "anyway", "you", "know")
WORDS = ("the", "is", "but", "not", "never", *SUBJECTS, *ADVERBS, *PRAISE, *BLAME, *FILLERS)
_SUBJECT, _ADVERB, _ADJECTIVE, _FILLER = (WORDS.index(w[0]) for w in (SUBJECTS, ADVERBS, PRAISE, FILLERS))
LONGEST = 15  # two clauses of at most seven words, and "but"


@registry.register
@dataclass(frozen=True, kw_only=True)
class Sentiment(AbstractClassified):
    """Tell whether a review is one of praise: "the plot is dull but the movie is never not good".

    Two clauses joined by "but", of which the second is what the writer means. A clause says of a subject
    that it is, is not, is never, or is never not (which is: is) good, great, fine, bad, dull or poor. So
    the bag of words does not tell; how often the best reader of bags is wrong is the baseline. Words are
    one-hot, shorter reviews end earlier.

    Parameters
    ----------
    length : int
        Words at most. What goes beyond 15 is words without meaning between the review and its end.
    """

    name: ClassVar[str] = "sentiment"

    length: int = LONGEST

    def check(self) -> None:
        """Check that the longest review fits."""
        if self.length < LONGEST:
            expected = f"an integer of at least {LONGEST}, the words of the longest review"
            raise UserMistake(Problem("length", expected, str(self.length)))

    def sizes(self) -> tuple[int, int]:
        """Return a feature for each word, and two classes."""
        return len(WORDS), 2

    def looks(self) -> range | tuple[int, ...]:
        """Return where reviews end: the shortest has two clauses of four words."""
        return range(self.length - LONGEST + 8, self.length)

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return reviews and their verdicts."""
        words = np.full((self.length, samples), len(WORDS))
        end, praise = np.zeros(samples, dtype=np.int64), np.zeros(samples, dtype=np.int64)

        def write(word: Array | int, there: Array | bool = True) -> None:
            """Add a word to those reviews that have it there."""
            who = np.flatnonzero(np.broadcast_to(there, samples))
            words[end[who], who] = np.broadcast_to(word, samples)[who]
            end[who] += 1

        for clause in range(2):
            write(WORDS.index("but"), clause == 1)
            write(WORDS.index("the"))
            write(_SUBJECT + stream.randint(len(SUBJECTS), size=samples))
            write(WORDS.index("is"))
            negation = stream.randint(len(NEGATIONS), size=samples)
            for word in ("never", "not"):
                write(WORDS.index(word), np.array([word in each for each in NEGATIONS])[negation])
            adverb = stream.randint(1 + len(ADVERBS), size=samples)
            write(_ADVERB + adverb - 1, adverb > 0)
            praise = stream.randint(2, size=samples)
            write(_ADJECTIVE + np.where(praise, 0, 3) + stream.randint(3, size=samples))
            praise = (praise + np.array([len(each) for each in NEGATIONS])[negation]) % 2
        for _ in range(self.length - LONGEST):
            write(_FILLER + stream.randint(len(FILLERS), size=samples))
        return _examples(words, end - 1, praise)

    def chance(self) -> float:
        """Return log 2: praise and blame are equally frequent."""
        return math.log(2)

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return how often the best reader of bags of words is wrong, and one of the last adjective alone.

        Both are exact: all reviews are counted. Subjects and adverbs say nothing of the verdict.
        """
        clauses = list(itertools.product(NEGATIONS, (*PRAISE, *BLAME)))
        bags: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        last: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (first, one), (second, other) in itertools.product(clauses, clauses):
            praise = ((other in PRAISE) + len(second)) % 2
            bags[tuple(sorted((*first, one, *second, other)))][praise] += 1
            last[other][praise] += 1
        reviews = len(clauses) ** 2
        return {
            "bag_of_words": sum(map(min, bags.values())) / reviews,
            "last_adjective": sum(map(min, last.values())) / reviews,
        }


def _examples(words: Array, last: Array, praise: Array) -> Examples:
    """Return reviews one-hot, given their words' numbers (time, batch), last places and verdicts."""
    everyone = np.arange(len(last))
    one_hot = np.eye(len(WORDS) + 1, len(WORDS))  # the last row: no word
    classes, weight = np.zeros(words.shape, dtype=np.int64), np.zeros(words.shape)
    classes[last, everyone], weight[last, everyone] = praise, 1.0
    return Examples(one_hot[words].transpose(0, 2, 1), classes, weight)
