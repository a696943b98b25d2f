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
from gradlab.tasks._generator import AbstractGenerator, counted_sum, wrong_classes

SUBJECTS = ("movie", "plot", "cast", "music")
ADVERBS = ("really", "quite")
PRAISE, BLAME = ("good", "great", "fine"), ("bad", "dull", "poor")
NEGATIONS = ((), ("not",), ("never",), ("never", "not"))  # each as often as the others
FILLERS = ("well", "anyway", "you", "know")
WORDS = ("the", "is", "but", "not", "never", *SUBJECTS, *ADVERBS, *PRAISE, *BLAME, *FILLERS)
LONGEST = 15  # two clauses of at most seven words, and "but"


@registry.register
@dataclass(frozen=True, kw_only=True)
class Sentiment(AbstractGenerator):
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
    learnt: ClassVar[str] = "cross_entropy"
    metric: ClassVar[str] = "error_rate"

    length: int = LONGEST
    loss: str = "cross_entropy"

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

    def review(self, stream: np.random.RandomState) -> tuple[list[str], int]:
        """Return the words of a random review, and 1 if it is one of praise."""
        words: list[str] = []
        praise = 0
        for clause in range(2):
            negation = NEGATIONS[stream.randint(len(NEGATIONS))]
            praise = stream.randint(2)
            adjective = (PRAISE if praise else BLAME)[stream.randint(3)]
            adverb = ("", *ADVERBS)[stream.randint(3)]
            praise = int(praise + len(negation)) % 2
            words += ["but"] * clause + ["the", SUBJECTS[stream.randint(4)], "is", *negation]
            words += ([adverb] if adverb else []) + [adjective]
        words += [FILLERS[i] for i in stream.randint(len(FILLERS), size=self.length - LONGEST)]
        return words, praise

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return reviews and their verdicts."""
        inputs = np.zeros((self.length, len(WORDS), samples))
        classes = np.zeros((self.length, samples), dtype=np.int64)
        weight = np.zeros((self.length, samples))
        for b in range(samples):
            words, praise = self.review(stream)
            inputs[np.arange(len(words)), [WORDS.index(word) for word in words], b] = 1.0
            classes[len(words) - 1, b], weight[len(words) - 1, b] = praise, 1.0
        return Examples(inputs, classes, weight)

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

    def metric_of(self, outputs: Array, examples: Examples) -> tuple[Array, int]:
        """Return how many reviews are misread; see the base class."""
        targets, counted = examples.looked_at(self.looks())
        return counted_sum(wrong_classes(outputs, targets), counted)
