"""Slot filling: the same place name is another slot after another verb."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from gradlab.core.checks import integer
from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified

VERBS = ("arrive", "leave")
FILLERS = ("i", "would", "like", "to", "in", "the", "rain", "please")
PLACES = ("taipei", "tainan", "hualien", "keelung", "taitung", "hsinchu", "chiayi", "taoyuan")
WORDS = (*VERBS, *FILLERS, *PLACES)
SLOTS = ("other", "destination", "departure")


@registry.register
@dataclass(frozen=True, kw_only=True)
class Slots(AbstractClassified):
    """Tell each word's slot: "would like to arrive in taipei ... leave hualien", in a sentence of two trips.

    A place is a destination after "arrive" and a departure after "leave", up to `gap` words later; each
    other word is no slot. Who sees a word alone cannot tell: that is the baseline. Words are one-hot.

    Parameters
    ----------
    gap : int
        The most words there are between a verb and its place.
    length : int
        Words of a sentence.
    """

    name: ClassVar[str] = "slots"

    at: str | tuple[int, ...] = field(init=False, default="every")
    length: int = 12
    gap: int = 2

    def check(self) -> None:
        """Check that two trips fit into a sentence."""
        integer("gap", self.gap, at_least=0)
        least = 4 + 2 * self.gap
        if self.length < least:
            expected = f"an integer of at least {least}, the words of two trips"
            raise UserMistake(Problem("length", expected, str(self.length)))

    def sizes(self) -> tuple[int, int]:
        """Return a feature for each word, and a class for each slot."""
        return len(WORDS), len(SLOTS)

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return sentences and the slots of their words."""
        everyone = np.arange(samples)
        words = stream.randint(2, 2 + len(FILLERS), size=(self.length, samples))
        slots = np.zeros((self.length, samples), dtype=np.int64)
        gaps = stream.randint(self.gap + 1, size=(2, samples))
        verbs = stream.randint(2, size=(2, samples))
        places = stream.randint(2 + len(FILLERS), len(WORDS), size=(2, samples))
        free = self.length - 4 - gaps.sum(axis=0)  # words before, between and after the trips
        cuts = np.sort((stream.random_sample((2, samples)) * (free + 1)).astype(np.int64), axis=0)
        begins = np.stack([cuts[0], cuts[1] + gaps[0] + 2])
        for begin, gap, verb, place in zip(begins, gaps, verbs, places, strict=True):
            words[begin, everyone] = verb
            words[begin + gap + 1, everyone] = place
            slots[begin + gap + 1, everyone] = 1 + verb
        return Examples(np.eye(len(WORDS))[words].transpose(0, 2, 1), slots)

    def chance(self) -> float:
        """Return the loss of one who tells every word the shares of the slots: two words a sentence."""
        share = 2 / self.length
        rest = (1 - share) * math.log(1 - share) if share < 1 else 0.0
        return -self.length * (rest + share * math.log(share / 2))

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the share of words wrong for one who sees them alone: half of the places."""
        return {"word_alone": 1 / self.length}
