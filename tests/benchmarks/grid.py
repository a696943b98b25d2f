"""The sweeps that are timed: what varies, what is recorded, and the spec that says so to gradlab.

Every tool records the same of each case: the log10 state gradient norm per lag, the log10 gradient norm
over all parameters before and after clipping, and the loss. Peers are a little favoured: for a clip
inside the recursion they report the gradient of their one backward pass as both, where gradlab also
finds the unclipped one; and they keep no archive.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import Any

RECORD = ["log10_state_gradient_norm", "log10_gradient_norm", "log10_clipped_gradient_norm", "loss"]
ACTIVATIONS = ("tanh", "relu", "logistic", "identity")
RADII = tuple(round(0.5 + 0.05 * index, 2) for index in range(21))
CLIPS = (("off", 0.0), ("norm", 1.0), ("norm", 0.1), ("value", 0.01), ("adjoint_norm", 0.1))
FEATURES = 8

Case = tuple[float, str, int, str, float, int]
"""Radius, activation, length, name of the clip, its threshold, replicate."""


@dataclass(frozen=True)
class Sweep:
    """21 radii, 4 activations, 8 lengths, 5 clips and some replicates, at one size of network."""

    name: str
    hidden: int
    batch: int
    lengths: tuple[int, ...]
    replicates: int = 8

    @property
    def cases(self) -> int:
        return len(RADII) * len(ACTIVATIONS) * len(self.lengths) * len(CLIPS) * self.replicates

    def sample(self, per_stratum: int, seed: int) -> list[Case]:
        """Random cases, equally many of each activation, length and clip (on which the cost depends)."""
        rng = random.Random(seed)
        cases = [
            (rng.choice(RADII), activation, length, *clip, rng.randrange(self.replicates))
            for activation, length, clip in product(ACTIVATIONS, self.lengths, CLIPS)
            for _ in range(per_stratum)
        ]
        rng.shuffle(cases)
        return cases

    def compiled_pairs(self, seed: int) -> list[tuple[str, int]]:
        """Random (activation, length) pairs: each length once, each activation equally often."""
        rng = random.Random(seed)
        activations = [ACTIVATIONS[index % len(ACTIVATIONS)] for index in range(len(self.lengths))]
        rng.shuffle(activations)
        return list(zip(activations, self.lengths, strict=True))

    def spec(self) -> dict[str, Any]:
        """The same sweep in gradlab's words."""
        clips = [{"name": name} | ({"threshold": at} if name != "off" else {}) for name, at in CLIPS]
        return {
            "title": f"Benchmark: {self.name}",
            "replicates": self.replicates,
            "record": RECORD,
            "network": {"cell": "elman", "hidden": self.hidden},
            "task": {
                "name": "noise",
                "features": FEATURES,
                "batch": self.batch,
                "loss": "mse",
                "at": "final",
            },
            "sweep": {
                "network.spectrum.radius": list(RADII),
                "network.activation": list(ACTIVATIONS),
                "task.length": list(self.lengths),
                "clip": clips,
            },
        }


SWEEPS = {
    "main": Sweep("main", hidden=64, batch=32, lengths=tuple(range(25, 201, 25))),
    "short": Sweep("short", hidden=32, batch=16, lengths=tuple(range(15, 51, 5))),
    # Eight times the replicates: what short work costs when starting and ending are no longer most of it.
    "replicated": Sweep("replicated", hidden=32, batch=16, lengths=tuple(range(15, 51, 5)), replicates=64),
}
