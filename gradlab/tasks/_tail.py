"""Records of which the last part is held out: places to train on and places to be judged on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams


def starts(
    first: int, last: int, key: tuple[int, int], role: str, number: int, samples: int
) -> NDArray[np.int64]:
    """Return where samples begin, each from `first` up to `last`.

    For training they are drawn; for evaluation chunk follows chunk through all places, evenly.
    """
    places = last - first + 1
    seed, replicate = key
    if role == "training":
        drawn = streams.stream(seed, "places", places, number, replicate, samples).randint(
            places, size=samples
        )
        return np.asarray(first + drawn, dtype=np.int64)
    step = max(1, int(places * 0.618))  # one that leads to every place, near ones late
    while np.gcd(step, places) > 1:
        step += 1
    return first + (step * np.arange(number * samples, (number + 1) * samples, dtype=np.int64)) % places
