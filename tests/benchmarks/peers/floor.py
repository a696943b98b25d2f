"""The floor: the same matrix products and the same transcendental calls, and nothing else.

No tape, no derivative, no elementwise product, no norm, no copy: what is left when everything between
the products costs nothing. Forward a step is one product of `[W U b]` with `[h; x; 1]`, then the cell's
transcendental functions once an element (Elman: tanh; LSTM: exp for each of three logistic gates, tanh
for the candidate and for the memory; GRU: exp for two gates, tanh for the candidate); backward it is one
product with the transposed recurrent weights, and input weights where a layer is below. For the credit
matrix a product goes back with all loss times that have come by then.
NumPy calls on preallocated buffers, on groups of cases whose buffers and weights fit the cache; large
products a few rows at a time, as gradlab takes them and as they are fastest. The
result is no gradient: the harness checks the other tools' numbers, not this one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from gradlab.core.products import product
from tests.benchmarks.problem import Array, Arrays, Kernel, Layer, Problem


def products(problem: Problem, layer: Layer) -> list[Array]:
    """What multiplies the old state, the inputs and one, in as few products as there must be."""
    n, joined = problem.hidden, [layer.recurrent, layer.input, layer.bias[:, :, None]]
    if problem.cell != "gru":
        return [np.concatenate(joined, axis=2)]
    gates = np.concatenate([part[:, : 2 * n] for part in joined], axis=2)
    return [
        gates,
        *(np.ascontiguousarray(part[:, 2 * n :]) for part in (joined[0], np.concatenate(joined[1:], 2))),
    ]


def forward(problem: Problem, layer: Layer, group: slice) -> None:
    n, batch, weights = problem.hidden, problem.batch, [part[group] for part in products(problem, layer)]
    cases, width = len(weights[0]), n + layer.input.shape[2] + 1
    joined = np.full((cases, width, batch), 0.01)
    seen = [joined, joined[:, :n], joined[:, n:]]
    z = [np.empty((cases, part.shape[1], batch)) for part in weights]
    gates = np.empty((cases, {"elman": 0, "lstm": 3, "gru": 2}[problem.cell] * n, batch))
    candidate, state = np.empty((cases, n, batch)), joined[:, :n]
    for _ in range(problem.length):
        for weight, right, out in zip(weights, seen, z, strict=False):
            product(weight, right, out)
        if problem.cell == "elman":
            np.tanh(z[0], out=state)
            continue
        np.exp(z[0][:, : gates.shape[1]], out=gates)
        np.tanh(z[0][:, 3 * n :] if problem.cell == "lstm" else z[2], out=candidate)
        if problem.cell == "lstm":
            np.tanh(candidate, out=state)


def backward(problem: Problem, layer: Layer, group: slice, below: bool, lanes: int) -> None:
    parts = [layer.recurrent, layer.input] if below else [layer.recurrent]
    transposed = np.ascontiguousarray(np.concatenate(parts, axis=2)[group].transpose(0, 2, 1))
    cases, width, rows = transposed.shape
    count = cases if lanes == 1 else lanes  # the one case of a credit matrix has many
    delta = np.full((count, rows, problem.batch), 0.01)
    adjoint = np.empty((count, width, problem.batch))
    for t in range(problem.length):
        used = cases if lanes == 1 else t + 1  # the loss times not before this one
        product(transposed, delta[:used], adjoint[:used])


def kernel(problem: Problem, arrays: Arrays, size: int) -> Array:
    for first in range(0, problem.cases, size):
        group = slice(first, first + size)
        for at, layer in enumerate(arrays.layers):
            for direction in layer:
                forward(problem, direction, group)
                backward(problem, direction, group, at > 0, problem.length if problem.credit else 1)
    return np.zeros(0)


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Group sizes; the fastest is the floor."""
    arrays = problem.draw()
    for size in (1, 2, 4, 8, 16):
        if size <= problem.cases:
            yield f"{size} cases at once", partial(kernel, problem, arrays, size)
