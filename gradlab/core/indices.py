"""Which entries of a mask are set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The part of words that may be found: a tenth of the entries is then set, and NumPy's own search looks at
# each. Below it steps from one set entry to the next, and the processor cannot guess where that is.
MANY = 0.6


def indices_of(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the indices of the set entries in order, as `numpy.flatnonzero` does.

    Where few are set here and there, those are looked for in words of eight entries first, and then in
    the words found: neither search has to guess, and both take less than half the time of one that does.

    Parameters
    ----------
    mask : boolean array of shape (entries,), contiguous
    """
    if mask.size % 8:
        return np.flatnonzero(mask)
    words = mask.view(np.uint64)
    found = (words != 0).nonzero()[0]
    if len(found) > MANY * len(words):
        return np.flatnonzero(mask)
    within = words.take(found).view(np.bool_).nonzero()[0]
    index = found.take(within >> 3)
    index <<= 3
    index |= within & 7
    return np.asarray(index)
