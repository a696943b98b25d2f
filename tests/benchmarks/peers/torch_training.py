"""PyTorch on one core: batched over cases, unrolled, plain descent with the norm clip of every case.

Variants: all cases at once, or groups whose graph stays nearer the cache; input products beforehand or
within the loop; batch first or features first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from tests.benchmarks.problem import RATE, THRESHOLD, UPDATES, Array, Kernel, Problem
from tests.benchmarks.single import Single, single

torch.set_num_threads(1)
PARAMETERS = ("W", "U", "b", "V", "c")
Weights = dict[str, Tensor]


def weights(arrays: Single, batch_first: bool) -> Weights:
    """The arrays as tensors in the layout wanted; `outputs = product(weight, state)` in both."""
    columns = {
        "W": arrays.recurrent,
        "U": arrays.input,
        "b": arrays.bias[:, :, None],
        "V": arrays.readout,
        "c": arrays.readout_bias[:, :, None],
        "X": arrays.inputs,
        "Y": arrays.targets,
    }
    tensors = {key: torch.from_numpy(value) for key, value in columns.items()}
    if batch_first:
        tensors = {key: value.transpose(-1, -2).contiguous() for key, value in tensors.items()}
    return tensors


def product(batch_first: bool, addend: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    """`addend + weight state`, a case at a time."""
    return torch.baddbmm(addend, state, weight) if batch_first else torch.baddbmm(addend, weight, state)


def elman(z: Tensor, memory: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return torch.tanh(z), memory


def lstm(z: Tensor, memory: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    i, f, g, o = z.chunk(4, axis)
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


CELLS = {"elman": elman, "lstm": lstm}


def losses(problem: Problem, p: Weights, data: Weights, batch_first: bool, beforehand: bool) -> Tensor:
    """Loss of every case."""
    cell, axis = CELLS[problem.cell], 2 if batch_first else 1
    affine = partial(product, batch_first)
    X, Y = data["X"], data["Y"]
    if beforehand:
        addends = ((torch.matmul(X, p["U"]) if batch_first else torch.matmul(p["U"], X)) + p["b"]).unbind(0)
    else:
        steps = X.unbind(0)
    cases = Y.shape[0]
    shape = (cases, problem.batch, problem.hidden) if batch_first else (cases, problem.hidden, problem.batch)
    state = memory = torch.zeros(shape, dtype=torch.float64)
    for time in range(problem.length):
        addend = addends[time] if beforehand else affine(p["b"], p["U"], steps[time])
        state, memory = cell(affine(addend, p["W"], state), memory, axis)
    return (affine(p["c"], p["V"], state) - Y).square().mean((1, 2))


def train(problem: Problem, w: Weights, batch_first: bool, beforehand: bool, group: slice) -> Tensor:
    """Norms of one group of cases, (update, case)."""
    p = {key: w[key][group].clone().requires_grad_() for key in PARAMETERS}
    data = {"X": w["X"][:, group], "Y": w["Y"][group]}
    kept = []
    for _ in range(UPDATES):
        loss = losses(problem, p, data, batch_first, beforehand)
        gradients = torch.autograd.grad(loss.sum(), list(p.values()))
        with torch.no_grad():
            norm = torch.sqrt(sum(g.square().sum((1, 2)) for g in gradients))
            step = (RATE * torch.clamp(THRESHOLD / norm, max=1.0))[:, None, None]
            for parameter, gradient in zip(p.values(), gradients, strict=True):
                parameter.sub_(step * gradient)
        kept.append(norm)
    return torch.stack(kept)


def kernel(problem: Problem, w: Weights, batch_first: bool, beforehand: bool, size: int) -> Array:
    groups = [slice(first, first + size) for first in range(0, problem.cases, size)]
    return torch.cat([train(problem, w, batch_first, beforehand, group) for group in groups], 1).numpy()


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    arrays = single(problem)
    ways = [(True, False), (True, True), (False, False), (False, True)]
    for batch_first, beforehand in ways:
        w = weights(arrays, batch_first)
        layout = "batch first" if batch_first else "features first"
        inputs = "beforehand" if beforehand else "in the loop"
        for size in (problem.cases, 8):
            name = f"{layout}, inputs {inputs}, {size} cases at once"
            yield name, partial(kernel, problem, w, batch_first, beforehand, size)
