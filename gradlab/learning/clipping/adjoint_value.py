"""Clip every entry of the adjoint at every time step (after Graves 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import number
from gradlab.learning.clipping._base import AbstractClip, Array, registry


@registry.register
@dataclass(frozen=True)
class AdjointValue(AbstractClip):
    """Each entry of the adjoint of the hidden state, and of the memory, to ``[-c, c]``.

    Both are clipped as they arrive from the next time step and the loss. What the memory receives
    through the hidden state of its own time step is added afterwards: with it, as in the record
    ``log10_memory_gradient_norm``, the memory's adjoint can exceed `c`.

    Parameters
    ----------
    threshold : float
        Largest absolute entry `c` (of a sample's own loss, without 1/batch), above 0.

    References
    ----------
    Graves (2013), Generating sequences with recurrent neural networks, section 2.1, where it is the
    derivatives by the pre-activations of the LSTM layers that are clipped.
    """

    name: ClassVar[str] = "adjoint_value"
    scope: ClassVar[Literal["adjoint"]] = "adjoint"
    bounds: ClassVar[str] = "adjoint entries"
    keeps_direction: ClassVar[bool] = False
    changes_entries: ClassVar[bool] = True

    threshold: float

    def __post_init__(self) -> None:
        number("threshold", self.threshold, above=0, hint='To switch clipping off use name = "off".')

    def clip_entries(self, part: Array, exponent: Array) -> None:
        """Bound the entries in place; the bound is taken to each sample's own power of two."""
        bound = self._bound(part, exponent)
        np.clip(part, -bound, bound, out=part)

    def beyond(self, part: Array, exponent: Array) -> NDArray[np.bool_]:
        """Return in which cases any entry is beyond the bound."""
        return np.asarray((np.abs(part) > self._bound(part, exponent)).any(axis=(1, 2)))

    def _bound(self, part: Array, exponent: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self.threshold, -exponent).astype(part.dtype)[..., None, :])
