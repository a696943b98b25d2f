"""Matrix products in the sizes that libraries are fastest at."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Up to this many multiplications OpenBLAS takes what it is given; beyond, it first copies both factors
# into blocks, which costs more than it saves where one side is as narrow as a batch.
AT_ONCE = 10**6
FEWEST_ROWS = 16


def product(left: Array, right: Array, out: Array) -> Array:
    """Write ``left @ right``, a few rows at a time where the whole is large.

    How many depends on the shape of a single product alone, so a stack of them gives each the same
    bits as it has alone.

    Parameters
    ----------
    left : array of shape (..., rows, inner)
    right : array of shape (..., inner, columns)
    out : array of shape (..., rows, columns)
    """
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    parts = parts_of(rows, inner, columns)
    if parts == 1:
        return np.asarray(np.matmul(left, right, out=out))
    each = rows // parts
    some = left.reshape(*left.shape[:-2], parts, each, inner)
    np.matmul(some, right[..., None, :, :], out=out.reshape(*out.shape[:-2], parts, each, columns))
    return out


@cache
def parts_of(rows: int, inner: int, columns: int) -> int:
    """Return in how many equal parts the rows of a product are taken; 1 where no number of parts will do."""
    for parts in range(1, rows // FEWEST_ROWS + 1):
        if rows % parts == 0 and rows // parts * inner * columns <= AT_ONCE:
            return parts
    return 1
