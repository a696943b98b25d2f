"""Full back-propagation through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gradlab.learning.learners._base import AbstractLearner, registry


@registry.register
@dataclass(frozen=True)
class Bptt(AbstractLearner):
    """Back-propagate every loss through all time steps before it (Rumelhart, Hinton and Williams 1986)."""

    name: ClassVar[str] = "bptt"
    online: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    has_adjoints: ClassVar[bool] = True
    cells: ClassVar[str] = "all"
