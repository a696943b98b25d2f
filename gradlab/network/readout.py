"""The activation of the readout: what turns ``o = V h + b`` into the network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.network.activations import AbstractActivation
from gradlab.network.activations.identity import Identity
from gradlab.network.activations.logistic import Logistic
from gradlab.network.activations.relu import Relu

Array = NDArray[Any]


def sums(readout: Array, state: Array) -> Array:
    """Return ``o = V h + b`` of ``[V b]`` (case, outputs, width + 1) and states (..., case, width, batch)."""
    return np.asarray(np.matmul(readout[:, :, :-1], state) + readout[:, :, -1:])


class AbstractOutput(ABC):
    """A map of all outputs of a readout at one time step; outputs stand on the last axis but one."""

    name: ClassVar[str]

    @abstractmethod
    def value(self, o: Array) -> Array:
        """Return the output, shape (..., outputs, batch)."""

    @abstractmethod
    def pull(self, o: Array, adjoint: Array) -> Array:
        """Return the adjoint of `o` given that of the output; both (..., outputs, batch)."""


@dataclass(frozen=True)
class Elementwise(AbstractOutput):
    """An activation applied to every output."""

    activation: AbstractActivation

    @property
    def name(self) -> str:  # type: ignore[override]  # one class for several entries
        """The activation's name."""
        return self.activation.name

    def value(self, o: Array) -> Array:
        """Return the activation of `o`."""
        return self.activation.value(o)

    def pull(self, o: Array, adjoint: Array) -> Array:
        """Return ``phi'(o) adjoint``."""
        return np.asarray(self.activation.derivative(o) * adjoint)


@dataclass(frozen=True)
class Softmax(AbstractOutput):
    """``y = exp(o) / sum exp(o)`` over the outputs."""

    name: ClassVar[str] = "softmax"

    def value(self, o: Array) -> Array:
        """Return the softmax of `o`."""
        weights = np.exp(o - o.max(axis=-2, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-2, keepdims=True))

    def pull(self, o: Array, adjoint: Array) -> Array:
        """Return ``y_i sum_j y_j (a_i - a_j)``: no probability of nearly one is subtracted from one."""
        y = self.value(o)
        pairs = adjoint[..., :, None, :] - adjoint[..., None, :, :]
        return np.asarray(y * (pairs * y[..., None, :, :]).sum(axis=-2))


#: By name, as they stand in a spec.
OUTPUTS: Mapping[str, AbstractOutput] = MappingProxyType(
    {
        "identity": Elementwise(Identity()),
        "logistic": Elementwise(Logistic()),
        "relu": Elementwise(Relu()),
        "softmax": Softmax(),
    }
)
