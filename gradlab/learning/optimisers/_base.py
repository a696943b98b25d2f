"""The contract of an optimiser.

Conventions are those of ``torch.optim``: the learning rate multiplies the finished step, momentum
does not contain it. Every rule is elementwise, so that a case's numbers do not depend on the cases
trained beside it, and writes where the parameters and its own memory stand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import number
from gradlab.core.registry import Registry

Array = NDArray[Any]


class AbstractOptimiser(ABC):
    """An optimiser.

    Claims: `slots` names the arrays it keeps for every parameter from one update to the next; they
    are of the parameter's shape and dtype and start at zero. `scale_free` says that the same
    gradients in another unit give the same steps, apart from `epsilon`.

    Every optimiser has the setting `rate`, its learning rate before any schedule.
    """

    name: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]
    scale_free: ClassVar[bool] = False

    rate: float

    def __post_init__(self) -> None:
        number("rate", self.rate, above=0, hint="The learning rate multiplies every step.")

    def update(
        self,
        parameter: Array,
        gradient: Array,
        slots: Sequence[Array],
        rate: Array | float,
        update: int,
        scratch: Array | None = None,
    ) -> None:
        """Change a parameter and its slots, in place.

        Parameters
        ----------
        parameter : array of shape (case, …)
            Changed.
        gradient : array of the same shape and dtype
            Left as it is.
        slots : sequence of arrays of the same shape and dtype
            One for each of the names in `slots`; changed.
        rate : array that broadcasts against `parameter`, such as (case, 1, 1), or float
            The learning rate of each case at this update, by its schedule.
        update : int
            The number of this update, from 0.
        scratch : array of the same shape and dtype, optional
            Overwritten; without it there is a temporary one.
        """
        step = np.empty_like(parameter) if scratch is None else scratch
        self.step(gradient, slots, update, step)
        np.multiply(step, rate, out=step)
        np.subtract(parameter, step, out=parameter)

    @abstractmethod
    def step(self, gradient: Array, slots: Sequence[Array], update: int, out: Array) -> None:
        """Write into `out` what is taken from the parameter at rate 1, and change the slots in place."""


def accumulate_square(average: Array, gradient: Array, decay: float, scratch: Array) -> None:
    """Replace `average`, in place, by ``decay * average + (1 - decay) * gradient ** 2``."""
    np.multiply(gradient, gradient, out=scratch)
    np.multiply(scratch, 1.0 - decay, out=scratch)
    np.multiply(average, decay, out=average)
    np.add(average, scratch, out=average)


def accumulate(average: Array, gradient: Array, decay: float, scratch: Array) -> None:
    """Replace `average`, in place, by ``average + (1 - decay) * (gradient - average)``."""
    np.subtract(gradient, average, out=scratch)
    np.multiply(scratch, 1.0 - decay, out=scratch)
    np.add(average, scratch, out=average)


registry: Registry[AbstractOptimiser] = Registry("optimiser", "gradlab.learning.optimisers")
