"""Independent normal inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core import streams
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Noise(AbstractTask):
    """Inputs are iid standard normal, the same for every network of a replicate."""

    name: ClassVar[str] = "noise"

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return iid standard normal inputs."""

        def draw(stream: np.random.RandomState, steps: int) -> Array:
            return stream.standard_normal((steps, self.features, self.batch))

        return streams.in_time(
            draw, start, stop, seed, "inputs", "noise", self.features, self.batch, replicate
        )
