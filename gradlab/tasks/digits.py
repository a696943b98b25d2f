"""Handwritten digits, pixel by pixel."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.tasks._base import AbstractTask, Array, registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractClassified
from gradlab.tasks._tail import starts

PIXELS, CLASSES = 64, 10
TRAINED_ON = 1437  # of 1797 images, in the order in which they come


@registry.register
@dataclass(frozen=True, kw_only=True)
class Digits(AbstractClassified):
    """Tell a digit when the last of its 8 x 8 pixels was seen, one a time step, row by row.

    The images are those that scikit-learn ships (``pip install gradlab[digits]``): the first 1437 are
    trained on, the 360 others are for evaluation. A pixel is a number of [0, 1].

    References
    ----------
    Le, Jaitly & Hinton (2015), A simple way to initialize recurrent networks of rectified linear units,
    where the digits are larger.
    """

    name: ClassVar[str] = "digits"

    length: int = field(init=False, default=PIXELS)

    def check(self) -> None:
        """Check that the images are there."""
        images()

    def shortened(self, length: int) -> AbstractTask:
        """Return the task itself: an image has 64 pixels."""
        return self

    def sizes(self) -> tuple[int, int]:
        """Return a pixel in and ten classes out."""
        return 1, CLASSES

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return images; see the base class."""
        count = self.batch if samples is None else samples
        first, last = (TRAINED_ON, len(images()[1]) - 1) if role == "evaluation" else (0, TRAINED_ON - 1)
        return self._of(starts(first, last, (seed, replicate), role, number, count)).frozen()

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return random images of those that are trained on."""
        return self._of(stream.randint(TRAINED_ON, size=samples))

    def _of(self, which: NDArray[np.int64]) -> Examples:
        pixels, digits = images()
        classes = np.zeros((PIXELS, len(which)), dtype=np.int64)
        classes[-1] = digits[which]
        return Examples(np.ascontiguousarray(pixels[which].T[:, None]), classes)

    def shares(self) -> tuple[Array, Array]:
        """Return the shares of the classes among what is trained on and among the rest."""
        digits = images()[1]
        parts = digits[:TRAINED_ON], digits[TRAINED_ON:]
        own, other = (np.bincount(part, minlength=CLASSES) / len(part) for part in parts)
        return own, other

    def chance(self) -> float:
        """Return the loss in training of the classes' shares among the images that are trained on."""
        own, _ = self.shares()
        return -float((own * np.log(own)).sum())

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return how often the digit that is most frequent among what is trained on is wrong elsewhere."""
        own, other = self.shares()
        return {"constant": 1 - float(other[own.argmax()])}


@functools.cache
def images() -> tuple[Array, NDArray[np.int64]]:
    """Return pixels (image, 64) of [0, 1] and the digits.

    Raises
    ------
    UserMistake
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        hint = "Install it with: pip install 'gradlab[digits]'"
        raise UserMistake(
            Problem("name", "scikit-learn, which has the images", "no such package", hint)
        ) from None
    pixels, digits = load_digits(return_X_y=True)
    return np.asarray(pixels, dtype=np.float64) / 16, np.asarray(digits, dtype=np.int64)
