"""Which of many things are shown where not all can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of the places 0 to `count` - 1, at even distances, the ends among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))
