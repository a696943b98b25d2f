"""The contract of an activation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.registry import Registry

Array = NDArray[Any]


@dataclass(frozen=True)
class AbstractActivation(ABC):
    """A scalar function applied to every pre-activation, with its derivative.

    Claims (checked by one suite for every entry): `derivative_bound` is the supremum of the
    absolute derivative; `bounded` says that the value stays finite however large the argument;
    `analytic` says that `value` accepts complex arguments, so that the complex step applies.
    """

    name: ClassVar[str]
    bounded: ClassVar[bool]
    analytic: ClassVar[bool]

    @property
    @abstractmethod
    def derivative_bound(self) -> float:
        """Supremum of the absolute derivative."""

    @abstractmethod
    def value(self, z: Array) -> Array:
        """Return the activation of `z` (any shape); complex `z` only where `analytic`."""

    @abstractmethod
    def derivative(self, z: Array) -> Array:
        """Return the derivative at real `z` with full relative precision, also in saturation."""

    def evaluate(self, z: Array, value: Array, derivative: Array) -> None:
        """Write value and derivative at `z` (real) into the two arrays; the engine's hot path.

        `derivative` may be `z` itself, which is then overwritten; `value` may be strided between
        cases. What is written for an element depends on that element alone. Entries override this
        where value and derivative share work.
        """
        slope = self.derivative(z)
        np.copyto(value, self.value(z))
        np.copyto(derivative, slope)


registry: Registry[AbstractActivation] = Registry("activation", "gradlab.network.activations")
