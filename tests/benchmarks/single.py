"""The arrays of a problem of one layer in one direction whose loss looks once, at the end."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.problem import Array, Problem


@dataclass(frozen=True)
class Single:
    """Plain arrays, rows of weights = to, columns = from; LSTM gates in the order i, f, g, o."""

    recurrent: Array  # (case, gates * hidden, hidden)
    input: Array  # (case, gates * hidden, features)
    bias: Array  # (case, gates * hidden)
    readout: Array  # (case, outputs, hidden)
    readout_bias: Array  # (case, outputs)
    inputs: Array  # (time, case, features, batch)
    targets: Array  # (case, outputs, batch)


def single(problem: Problem) -> Single:
    """Draw the arrays; every process that calls this gets the same ones."""
    arrays = problem.draw()
    layer = arrays.layers[0][0]
    return Single(
        layer.recurrent,
        layer.input,
        layer.bias,
        arrays.readout,
        arrays.readout_bias,
        arrays.inputs,
        arrays.targets[0],
    )
