"""gradlab's own kernel in the kernel table.

PLACEHOLDER: a straightforward features-first NumPy kernel, so that the harness runs before the engine
exists. Replace the body of `variants` by a call of the engine on `problem.draw()` and delete the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.benchmarks.problem import Array, Arrays, Kernel, Problem


def output_adjoint(arrays: Arrays, group: slice, state: Array) -> Array:
    """Gradient of the mean squared error with respect to the last state."""
    readout, bias, targets = arrays.readout[group], arrays.readout_bias[group], arrays.targets[group]
    residual = readout @ state + bias[:, :, None] - targets
    return (2.0 / (targets.shape[1] * targets.shape[2])) * (readout.transpose(0, 2, 1) @ residual)


def joined_weights(arrays: Arrays, group: slice) -> Array:
    return np.concatenate([arrays.recurrent[group], arrays.input[group], arrays.bias[group, :, None]], axis=2)


def elman(problem: Problem, arrays: Arrays, group: slice) -> Array:
    n, length = problem.hidden, problem.length
    weights = joined_weights(arrays, group)
    cases = weights.shape[0]
    transposed = np.ascontiguousarray(arrays.recurrent[group].transpose(0, 2, 1))
    tape = np.ones((length + 1, cases, n + problem.features + 1, problem.batch))
    tape[:-1, :, n:-1] = arrays.inputs[:, group]
    tape[0, :, :n] = 0.0
    z = np.empty((cases, n, problem.batch))
    for time in range(length):
        np.matmul(weights, tape[time], out=z)
        np.tanh(z, out=tape[time + 1, :, :n])
    norms = np.empty((length, cases))
    adjoint = output_adjoint(arrays, group, tape[length, :, :n])
    for time in range(length - 1, -1, -1):
        flat = adjoint.reshape(cases, -1)
        norms[time] = np.vecdot(flat, flat)
        state = tape[time + 1, :, :n]
        np.multiply(state, state, out=z)
        np.subtract(1.0, z, out=z)
        np.multiply(z, adjoint, out=z)
        np.matmul(transposed, z, out=adjoint)
    return np.sqrt(norms)


def lstm(problem: Problem, arrays: Arrays, group: slice) -> Array:
    n, length, batch = problem.hidden, problem.length, problem.batch
    weights = joined_weights(arrays, group)
    cases = weights.shape[0]
    transposed = np.ascontiguousarray(arrays.recurrent[group].transpose(0, 2, 1))
    tape = np.ones((length + 1, cases, n + problem.features + 1, batch))
    tape[:-1, :, n:-1] = arrays.inputs[:, group]
    tape[0, :, :n] = 0.0
    memory = np.zeros((length + 1, cases, n, batch))
    squashed = np.empty((length, cases, n, batch))
    gates = np.empty((length, cases, 4 * n, batch))
    for time in range(length):
        z = np.matmul(weights, tape[time], out=gates[time])
        i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
        for gate in (i, f, o):
            np.negative(gate, out=gate)
            np.exp(gate, out=gate)
            np.add(gate, 1.0, out=gate)
            np.reciprocal(gate, out=gate)
        np.tanh(g, out=g)
        np.add(f * memory[time], i * g, out=memory[time + 1])
        np.tanh(memory[time + 1], out=squashed[time])
        np.multiply(o, squashed[time], out=tape[time + 1, :, :n])
    norms = np.empty((length, cases))
    adjoint = output_adjoint(arrays, group, tape[length, :, :n])
    carried = np.zeros_like(adjoint)
    delta = np.empty((cases, 4 * n, batch))
    for time in range(length - 1, -1, -1):
        flat = adjoint.reshape(cases, -1)
        norms[time] = np.vecdot(flat, flat)
        i, f, g, o = (gates[time, :, k * n : (k + 1) * n] for k in range(4))
        carried += adjoint * o * (1.0 - squashed[time] ** 2)
        delta[:, :n] = carried * g * i * (1.0 - i)
        delta[:, n : 2 * n] = carried * memory[time] * f * (1.0 - f)
        delta[:, 2 * n : 3 * n] = carried * i * (1.0 - g * g)
        delta[:, 3 * n :] = adjoint * squashed[time] * o * (1.0 - o)
        carried *= f
        np.matmul(transposed, delta, out=adjoint)
    return np.sqrt(norms)


CELLS = {"elman": elman, "lstm": lstm}


def kernel(problem: Problem, arrays: Arrays, size: int) -> Array:
    groups = [slice(first, first + size) for first in range(0, problem.cases, size)]
    return np.concatenate([CELLS[problem.cell](problem, arrays, group) for group in groups], axis=1)


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    arrays = problem.draw()
    for size in (1, 2, 4, 8, 16):
        yield f"placeholder, {size} cases at once", partial(kernel, problem, arrays, size)
