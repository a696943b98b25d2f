"""PyTorch on one core: batched over cases, unrolled, one gradient for every state.

Written as a good user writes it. All cases of a group go through one `baddbmm` a time step (bias and
input product are its addend); nothing but the states asks for gradients, so autograd forms no weight
gradient; the norms of all states are taken at the end. Variants: all cases at once, or groups whose
graph stays nearer the cache; input products within the loop or all beforehand; batch first or features
first. Tried at some sizes, single short timings, and left out because it did not beat the best of these
there: `retain_grad` and `backward` (Elman), one sigmoid over three gates, `addcmul`, `torch.compile` of
the cell (LSTM 64), an allocator that keeps memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from tests.benchmarks.problem import Array, Arrays, Kernel, Problem

torch.set_num_threads(1)

Weights = dict[str, Tensor]


def weights(arrays: Arrays, batch_first: bool) -> Weights:
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


def norms(problem: Problem, w: Weights, batch_first: bool, beforehand: bool, group: slice) -> Tensor:
    """State gradient norms of one group of cases, shape (time, case)."""
    cell, axis = CELLS[problem.cell], 2 if batch_first else 1
    W, U, b, V, c, Y = (w[key][group] for key in ("W", "U", "b", "V", "c", "Y"))
    X = w["X"][:, group]
    affine = partial(product, batch_first)
    if beforehand:
        addends = ((torch.matmul(X, U) if batch_first else torch.matmul(U, X)) + b).unbind(0)
    else:
        steps = X.unbind(0)
    cases = W.shape[0]
    shape = (cases, problem.batch, problem.hidden) if batch_first else (cases, problem.hidden, problem.batch)
    state = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    memory = torch.zeros(shape, dtype=torch.float64)
    states = []
    for time in range(problem.length):
        addend = addends[time] if beforehand else affine(b, U, steps[time])
        state, memory = cell(affine(addend, W, state), memory, axis)
        states.append(state)
    loss = (affine(c, V, state) - Y).square().mean((1, 2)).sum()
    gradients = torch.autograd.grad(loss, states)
    return torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients])


def kernel(problem: Problem, w: Weights, batch_first: bool, beforehand: bool, size: int) -> Array:
    groups = [slice(first, first + size) for first in range(0, problem.cases, size)]
    parts = [norms(problem, w, batch_first, beforehand, group) for group in groups]
    return torch.cat(parts, 1).numpy()


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Every way that won somewhere in trials, and the plain one."""
    arrays = problem.draw()
    ways = [(True, False, size) for size in sorted({problem.cases, 16, 8})] + [
        (True, True, 8),
        (False, False, 8),
    ]
    for batch_first, beforehand, size in ways:
        layout = "batch first" if batch_first else "features first"
        inputs = "beforehand" if beforehand else "in the loop"
        w = weights(arrays, batch_first)
        name = f"{layout}, inputs {inputs}, {size} cases at once"
        yield name, partial(kernel, problem, w, batch_first, beforehand, size)
