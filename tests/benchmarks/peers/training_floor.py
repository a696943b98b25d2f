"""The floor of an update: its matrix products and transcendental functions in NumPy, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.problem import GATES, UPDATES, Array, Kernel, Problem
from tests.benchmarks.single import single

threadpool_limits(1)


def kernel(problem: Problem, affine: Array, buffers: dict[str, Array]) -> Array:
    """Forward, back, and the gradient's products at every time step; tanh stands for every activation."""
    z, right, back, gradient = (buffers[name] for name in ("z", "right", "back", "gradient"))
    state, transposed, extra = buffers["state"], buffers["transposed"], buffers["extra"]
    for _ in range(UPDATES):
        for _ in range(problem.length):
            np.matmul(affine, state, out=z)
            np.tanh(z, out=z)
            if problem.cell == "lstm":
                np.tanh(extra, out=extra)
        for _ in range(problem.length):
            np.matmul(transposed, z, out=back)
            np.matmul(z, right, out=gradient)
    return np.zeros(0)


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    arrays, rows = single(problem), GATES[problem.cell] * problem.hidden
    affine = np.concatenate([arrays.recurrent, arrays.input, arrays.bias[:, :, None]], axis=2)
    width, cases, batch = affine.shape[2], problem.cases, problem.batch
    stream = np.random.default_rng(0)
    buffers = {
        "z": stream.standard_normal((cases, rows, batch)),
        "state": stream.standard_normal((cases, width, batch)),
        "right": stream.standard_normal((cases, batch, width)),
        "back": np.empty((cases, problem.hidden, batch)),
        "gradient": np.empty((cases, rows, width)),
        "transposed": np.ascontiguousarray(arrays.recurrent.transpose(0, 2, 1)),
        "extra": stream.standard_normal((cases, problem.hidden, batch)),
    }
    yield "products and tanh", partial(kernel, problem, affine, buffers)
