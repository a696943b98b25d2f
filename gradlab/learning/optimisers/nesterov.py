"""Gradient descent with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import number
from gradlab.core.gaps import together
from gradlab.learning.optimisers._base import AbstractOptimiser, Array, registry


@registry.register
@dataclass(frozen=True)
class Nesterov(AbstractOptimiser):
    """``v = momentum * v + g; p -= rate * (g + momentum * v)``.

    The parameters are those at the point looked ahead to, so that the gradient is taken where the
    parameters are and no second set of them is kept.

    Parameters
    ----------
    rate : float
        Learning rate, above 0.
    momentum : float
        Share of the last step that is kept, above 0 and below 1.

    References
    ----------
    Nesterov (1983); Sutskever, Martens, Dahl and Hinton (2013), On the importance of initialization and
    momentum in deep learning; Bengio, Boulanger-Lewandowski and Pascanu (2013), Advances in optimizing
    recurrent networks, for the form used here.
    """

    name: ClassVar[str] = "nesterov"
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    rate: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        hint = "Without momentum there is nothing to look ahead by: use name = 'sgd'."
        together(
            super().__post_init__,
            lambda: number("momentum", self.momentum, above=0, below=1, hint=hint),
        )

    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Advance the velocity and write the gradient plus the velocity's share."""
        (velocity,) = slots
        np.multiply(velocity, self.momentum, out=velocity)
        np.add(velocity, gradient, out=velocity)
        np.multiply(velocity, self.momentum, out=out)
        np.add(gradient, out, out=out)
