"""No clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gradlab.learning.clipping._base import AbstractClip, registry


@registry.register
@dataclass(frozen=True)
class Off(AbstractClip):
    """Leave every gradient and adjoint as it is."""

    name: ClassVar[str] = "off"
    scope: ClassVar[Literal["none"]] = "none"
    bounds: ClassVar[str] = "nothing"
    keeps_direction: ClassVar[bool] = True
