"""Which entries of a mask are set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy steps from one set entry to the next where at most MANY are set, and the processor cannot guess
# where that is; with fewer than FEW it does not matter.
FEW, MANY = 0.015, 0.1


def indices_of(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the indices of the set entries in order, as `numpy.flatnonzero` does.

    Where few are set here and there, those are looked for in words of eight entries first, and then in
    the words found: neither search has to guess, and both take less than half the time of one that does.

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
    index = found.take(within >> 3)
    index <<= 3
    index |= within & 7
    return np.asarray(index)
