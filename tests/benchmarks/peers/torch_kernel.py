"""PyTorch on one core: batched over cases, unrolled, one gradient for every state.

Written as a good user writes it. All cases of a group go through one `baddbmm` a time step (bias and
input product are its addend); nothing but the states asks for gradients, so autograd forms no weight
gradient; the norms of all states are taken at the end. Variants: all cases at once, or groups whose
graph stays nearer the cache; input products within the loop or all beforehand; batch first or features
first. Tried at some sizes, single short timings, and left out because it did not beat the best of these
there: `retain_grad` and `backward` (Elman), one sigmoid over three gates, `addcmul`, `torch.compile` of
the cell (LSTM 64), an allocator that keeps memory.

The credit matrix, of one case, is plain matrices and `addmm`: one backward pass over the retained graph for
every loss time, as far as the states before it; or all loss times at once, batched by `is_grads_batched`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.problem import Array, Arrays, Kernel, Layer, Problem

torch.set_num_threads(1)


@dataclass(frozen=True)
class Way:
    """One way of writing it; `outputs = product(weight, state)` in both layouts."""

    batch_first: bool
    beforehand: bool
    size: int

    def __str__(self) -> str:
        layout = "batch first" if self.batch_first else "features first"
        inputs = "beforehand" if self.beforehand else "in the loop"
        return f"{layout}, inputs {inputs}, {self.size} cases at once"

    @property
    def axis(self) -> int:
        return 2 if self.batch_first else 1

    def tensor(self, columns: Array) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(columns))
        return tensor.transpose(-1, -2).contiguous() if self.batch_first else tensor

    def affine(self, addend: Tensor, weight: Tensor, state: Tensor) -> Tensor:
        """`addend + weight state`, a case at a time."""
        if self.batch_first:
            return torch.baddbmm(addend, state, weight)
        return torch.baddbmm(addend, weight, state)

    def product(self, weight: Tensor, state: Tensor) -> Tensor:
        return torch.matmul(state, weight) if self.batch_first else torch.matmul(weight, state)


@dataclass(frozen=True)
class Weights:
    """One layer in one direction."""

    W: Tensor
    U: Tensor
    b: Tensor
    c: Tensor  # of the GRU's last recurrent block, zero in the others

    def group(self, cases: slice) -> Weights:
        return Weights(self.W[cases], self.U[cases], self.b[cases], self.c[cases])


def weights(layer: Layer, way: Way) -> Weights:
    bias = np.zeros_like(layer.bias)
    bias[:, -layer.recurrent_bias.shape[1] :] = layer.recurrent_bias
    columns = layer.recurrent, layer.input, layer.bias[:, :, None], bias[:, :, None]
    return Weights(*(way.tensor(each) for each in columns))


def elman(drive: Tensor, state: Tensor, memory: Tensor, w: Weights, way: Way) -> tuple[Tensor, Tensor]:
    return torch.tanh(way.affine(drive, w.W, state)), memory


def lstm(drive: Tensor, state: Tensor, memory: Tensor, w: Weights, way: Way) -> tuple[Tensor, Tensor]:
    i, f, g, o = way.affine(drive, w.W, state).chunk(4, way.axis)
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def gru(drive: Tensor, state: Tensor, memory: Tensor, w: Weights, way: Way) -> tuple[Tensor, Tensor]:
    r, z, g = way.affine(w.c, w.W, state).chunk(3, way.axis)
    to_r, to_z, to_g = drive.chunk(3, way.axis)
    candidate = torch.tanh(to_g + torch.sigmoid(to_r + r) * g)
    return torch.lerp(candidate, state, torch.sigmoid(to_z + z)), memory


CELLS = {"elman": elman, "lstm": lstm, "gru": gru}


def run(problem: Problem, way: Way, w: Weights, inputs: Tensor | list[Tensor], reverse: bool) -> list[Tensor]:
    """States of one layer in one direction, by the time of the sequence."""
    cell = CELLS[problem.cell]
    if way.beforehand:
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        addends = (way.product(w.U, inputs) + w.b).unbind(0)
    else:
        steps = inputs if isinstance(inputs, list) else inputs.unbind(0)
    cases, n, batch = len(w.W), problem.hidden, problem.batch
    shape = (cases, batch, n) if way.batch_first else (cases, n, batch)
    state = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    memory = torch.zeros(shape, dtype=torch.float64)
    states = []
    for time in range(problem.length)[:: -1 if reverse else 1]:
        drive = addends[time] if way.beforehand else way.affine(w.b, w.U, steps[time])
        state, memory = cell(drive, state, memory, w, way)
        states.append(state)
    return states[::-1] if reverse else states


@dataclass(frozen=True)
class Ready:
    """The arrays of a problem in the layout of a way."""

    layers: list[list[Weights]]
    V: Tensor
    c: Tensor
    X: Tensor
    Y: Tensor


def ready(arrays: Arrays, way: Way) -> Ready:
    return Ready(
        [[weights(one, way) for one in layer] for layer in arrays.layers],
        *(way.tensor(each) for each in (arrays.readout, arrays.readout_bias[:, :, None])),
        *(way.tensor(each) for each in (arrays.inputs, arrays.targets)),
    )


def forward(problem: Problem, way: Way, data: Ready, group: slice) -> tuple[list[list[list[Tensor]]], Tensor]:
    """States by layer, direction and time, and the losses of the group's cases by look."""
    inputs: Tensor | list[Tensor] = data.X[:, group]
    states: list[list[list[Tensor]]] = []
    for layer in data.layers:
        parts = [run(problem, way, w.group(group), inputs, bool(d)) for d, w in enumerate(layer)]
        states.append(parts)
        inputs = (
            parts[0] if len(parts) == 1 else [torch.cat(each, way.axis) for each in zip(*parts, strict=True)]
        )
    V, c = data.V[group], data.c[group]
    looked = torch.stack([inputs[t] for t in problem.looks]) if len(problem.looks) > 1 else inputs[-1][None]
    return states, (way.product(V, looked) + c - data.Y[:, group]).square().mean((2, 3)).sum(1)


def norms(problem: Problem, way: Way, data: Ready, group: slice) -> Tensor:
    """State gradient norms of one group of cases, shape (layer, direction, time, case)."""
    states, losses = forward(problem, way, data, group)
    flat = [state for layer in states for part in layer for state in part]
    gradients = torch.autograd.grad(losses.sum(), flat)
    found = torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients])
    return found.view(problem.layers, problem.directions, problem.length, -1)


def kernel(problem: Problem, way: Way, data: Ready) -> Array:
    groups = [slice(first, first + way.size) for first in range(0, problem.cases, way.size)]
    return torch.cat([norms(problem, way, data, group) for group in groups], 3).numpy()


def credit(problem: Problem, arrays: Arrays, batch_first: bool, at_once: bool) -> Array:
    """Norms by (loss time, time) of the one case, an Elman network."""
    ((layer,),) = arrays.layers
    plain = layer.recurrent[0], layer.input[0], layer.bias[0, :, None], arrays.readout[0]
    data = arrays.readout_bias[0, :, None], arrays.inputs[:, 0], arrays.targets[:, 0]
    W, U, b, V, c, X, Y = (torch.from_numpy(array) for array in (*plain, *data))
    if batch_first:
        W, U, b, V, c, X, Y = (each.mT.contiguous() for each in (W, U, b, V, c, X, Y))
    state = torch.zeros_like((X @ U if batch_first else U @ X)[0], requires_grad=True)
    states = []
    for drive in ((X @ U if batch_first else U @ X) + b).unbind(0):
        state = torch.tanh(torch.addmm(drive, *((state, W) if batch_first else (W, state))))
        states.append(state)
    every = torch.stack(states)
    losses = ((every @ V if batch_first else V @ every) + c - Y).square().mean((1, 2))
    if at_once:
        one_each = torch.eye(problem.length, dtype=torch.float64)
        gradients = torch.autograd.grad(losses, states, one_each, is_grads_batched=True)
        return torch.stack([torch.linalg.vector_norm(g, dim=(1, 2)) for g in gradients], 1).numpy()
    # A loss of its own for each state: going back from `losses` would visit all of them every time.
    losses = [
        ((state @ V if batch_first else V @ state) + c - target).square().mean()
        for state, target in zip(states, Y, strict=True)
    ]
    out = np.zeros((problem.length, problem.length))
    for time, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss, states[: time + 1], retain_graph=True)
        out[time, : time + 1] = torch.stack(torch._foreach_norm(gradients)).numpy()
    return out


def credit_variants(problem: Problem, arrays: Arrays) -> Iterator[tuple[str, Kernel]]:
    for batch_first in (True, False):
        for at_once in (False, True):
            layout = "batch first" if batch_first else "features first"
            how = "all loss times at once" if at_once else "a pass for each loss time"
            yield f"{layout}, {how}", partial(credit, problem, arrays, batch_first, at_once)


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Every way that won somewhere in trials, and the plain one."""
    arrays = problem.draw()
    if problem.credit:
        yield from credit_variants(problem, arrays)
        return
    sizes = sorted({min(size, problem.cases) for size in (problem.cases, 16, 8)})
    ways = [Way(True, False, size) for size in sizes]
    ways += [Way(True, True, sizes[0]), Way(False, False, sizes[0])]
    if problem.layers > 1 or problem.directions > 1:
        ways.append(Way(True, False, 4))
    for way in ways:
        yield str(way), partial(kernel, problem, way, ready(arrays, way))
