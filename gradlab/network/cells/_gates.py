"""What the cells with a memory behind gates share."""

from __future__ import annotations

import numpy as np

from gradlab.network.cells._base import Array


def gate_biases(
    forget_bias: float, chrono: bool, hidden: int, length: int, stream: np.random.RandomState
) -> Array:
    """Return what is added to the biases of input gate, forget gate, candidate and output gate.

    It is `forget_bias` in the forget gate; with `chrono` (Tallec and Ollivier 2018) it is ``log u`` there,
    ``u`` uniform in [1, length - 1], and its negative in the input gate. Shape (4 * hidden,).
    """
    offset = np.zeros((4, hidden))
    if chrono:
        offset[1] = np.log1p(stream.uniform(size=hidden) * max(length - 2, 0))
        offset[0] = -offset[1]
    else:
        offset[1] = forget_bias
    return offset.reshape(-1)
