"""Clip the norm of every sample's adjoint at every time step of the recursion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gradlab.core.checks import number
from gradlab.learning.clipping._base import AbstractClip, registry


@registry.register
@dataclass(frozen=True)
class AdjointNorm(AbstractClip):
    """The adjoint of a sample's whole state (hidden and memory jointly) to norm `c`, at every step.

    Both are taken as they arrive from the next time step and the loss. What the memory receives
    through the hidden state of its own time step is added afterwards: with it, as in the record
    ``log10_memory_gradient_norm``, the norm can exceed `c`.

    The recursion is linear and the rule multiplies a sample's adjoint by a number, so the clipped
    pass is the raw one times a factor that can only fall on the way back: it costs no matrix
    product of its own while the loss looks at one time step.

    Parameters
    ----------
    threshold : float
        Largest norm `c` of a sample's adjoint (of that sample's own loss, without 1/batch), above 0.
    """

    name: ClassVar[str] = "adjoint_norm"
    scope: ClassVar[Literal["adjoint"]] = "adjoint"
    bounds: ClassVar[str] = "sample adjoint norm"
    keeps_direction: ClassVar[bool] = True
    rescales_samples: ClassVar[bool] = True

    threshold: float

    def __post_init__(self) -> None:
        number("threshold", self.threshold, above=0, hint='To switch clipping off use name = "off".')

    def sample_bound(self) -> float:
        """Return the threshold."""
        return self.threshold
