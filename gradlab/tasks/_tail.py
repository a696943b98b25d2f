"""Records of which the last part is held out: places to train on and places to be judged on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.tasks._examples import CHUNK


def following(
    steps: int, length: int, update: int, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where the samples of an update begin that go on where they ended at the one before.

    Sample `b` of `B` begins ``b / B`` of the way; where less than `length` of the `steps` is left it
    begins again at the start.

    Returns
    -------
    places : integer array of shape (sample,)
    anew : boolean array of shape (sample,)
        Which samples do not go on from anything.
    """
    offset = np.arange(samples, dtype=np.int64) * (steps - length + 1) // samples
    later = update - (steps - offset) // length  # sequences since the sample came to the end first
    each = steps // length
    place = np.where(later < 0, offset + update * length, later % each * length)
    return place, (update == 0) | ((later >= 0) & (later % each == 0))


def starts(
    first: int, last: int, key: tuple[int, int], role: str, number: int, samples: int
) -> NDArray[np.int64]:
    """Return where samples begin, each from `first` up to `last`.

    For training they are drawn; for evaluation chunk follows chunk of `CHUNK` through all places, evenly.
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
    return first + (step * np.arange(number * CHUNK, number * CHUNK + samples, dtype=np.int64)) % places
