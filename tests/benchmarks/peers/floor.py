"""The floor: the same matrix products and the same transcendental calls, and nothing else.

No tape, no derivative, no elementwise product, no norm, no copy: what is left when everything between
the products costs nothing. Forward a step is one product of `[W U b]` with `[h; x; 1]`, then the cell's
transcendental functions once an element (Elman: tanh; LSTM: exp for each of three logistic gates, tanh
for the candidate and for the memory); backward it is one product with the transposed recurrent weights.
NumPy calls on preallocated buffers, on groups of cases whose buffers and weights fit the cache. The
result is no gradient: the harness checks the other tools' numbers, not this one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.benchmarks.problem import GATES, Array, Kernel, Problem


def kernel(problem: Problem, forward: Array, backward: Array, size: int) -> Array:
    n, rows, batch = problem.hidden, GATES[problem.cell] * problem.hidden, problem.batch
    joined = np.full((size, n + problem.features + 1, batch), 0.01)
    z = np.empty((size, rows, batch))
    gates, candidate = np.empty((size, 3 * n, batch)), np.empty((size, n, batch))
    state = joined[:, :n]
    delta, adjoint = np.full((size, rows, batch), 0.01), np.empty((size, n, batch))
    for first in range(0, problem.cases, size):
        group = slice(first, first + size)
        weights, transposed = forward[group], backward[group]
        for _ in range(problem.length):
            np.matmul(weights, joined, out=z)
            if problem.cell == "elman":
                np.tanh(z, out=state)
            else:
                np.exp(z[:, : 3 * n], out=gates)
                np.tanh(z[:, 3 * n :], out=candidate)
                np.tanh(candidate, out=state)
        for _ in range(problem.length):
            np.matmul(transposed, delta, out=adjoint)
    return adjoint


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Group sizes; the fastest is the floor."""
    arrays = problem.draw()
    joined = np.concatenate([arrays.recurrent, arrays.input, arrays.bias[:, :, None]], axis=2)
    transposed = np.ascontiguousarray(arrays.recurrent.transpose(0, 2, 1))
    for size in (1, 2, 4, 8, 16):
        yield f"{size} cases at once", partial(kernel, problem, joined, transposed, size)
