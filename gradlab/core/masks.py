"""Which entries of a mask are set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy steps from one set entry to the next where at most MANY are set, and the processor cannot guess
# where that is; with fewer than FEW it does not matter.
FEW, MANY = 0.015, 0.1


def places(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the places of the set entries in order, as `numpy.flatnonzero` does.

    Where few are set here and there, those are looked for in words of eight entries first, and then in
    the words found: neither search has to guess. That takes a third of the time.

    Parameters
    ----------
    mask : boolean array of shape (entries,), contiguous
    """
    size = mask.size
    if size % 8 or not FEW * size < np.count_nonzero(mask) < MANY * size:
        return np.flatnonzero(mask)
    words = mask.view(np.uint64)
    found = (words != 0).nonzero()[0]
    within = words.take(found).view(np.bool_).nonzero()[0]
    place = found.take(within >> 3)
    place <<= 3
    place |= within & 7
    return np.asarray(place)
