"""The loop a user writes today: xyzpy over a PyTorch function of one case.

Written as a careful user writes it: draws are kept between cases (the matrix at radius one, inputs of
which a shorter case takes the beginning), the input product of all steps is formed beforehand, one
`addmm` and one activation a time step, one `torch.autograd.grad` for parameters and states together,
PyTorch's own clipping functions, a hook on each state for the clip inside the recursion. xyzpy spreads
the cases over processes; pool and imports are warm before the clock starts, and the labelling of results
is not counted. (`retain_grad` and `backward` instead came out a little faster in one trial and a little
slower in another; one process of two threads is timed too, and the faster of the two ways is the peer.)

`python -m tests.benchmarks.peers.torch_loop SWEEP WORKERS THREADS PER_STRATUM SEED` prints seconds and
cases.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import xyzpy
from numpy.typing import NDArray
from torch import Tensor

from tests.benchmarks.grid import FEATURES, SWEEPS

torch.set_default_dtype(torch.float64)

ARGUMENTS = ("radius", "activation", "length", "clip", "threshold", "replicate")
ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "logistic": torch.sigmoid,
    "identity": lambda z: z,
}


@lru_cache(maxsize=64)
def draw(replicate: int, hidden: int, batch: int, length: int) -> tuple[Tensor, ...]:
    """Recurrent weights of radius one, input and readout weights, inputs, targets."""
    generator = torch.Generator().manual_seed(replicate)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    matrix = normal(hidden, hidden)
    matrix /= torch.linalg.eigvals(matrix).abs().max()
    into, out = normal(hidden, FEATURES) / FEATURES**0.5, normal(FEATURES, hidden) / hidden**0.5
    return matrix, into, out, normal(length, batch, FEATURES), normal(batch, FEATURES)


def clipping_hook(threshold: float, kept: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Scale each sample's adjoint to at most the threshold; keep it, for autograd hands out the raw one."""

    def hook(adjoint: Tensor) -> Tensor:
        # The threshold is for the sample's own loss, which carries no 1/batch.
        norms = len(adjoint) * torch.linalg.vector_norm(adjoint, dim=1, keepdim=True)
        kept.append(adjoint * (threshold / norms).clamp(max=1.0))
        return kept[-1]

    return hook


def gradients(
    parameters: list[Tensor], inputs: Tensor, targets: Tensor, activation: str, clip: str, threshold: float
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Loss, gradients of the parameters, gradients of the states from the last step to the first."""
    recurrent, into, bias, out, out_bias = parameters
    function, transposed = ACTIVATIONS[activation], recurrent.T
    state = torch.zeros(inputs.shape[1], recurrent.shape[0])
    states: list[Tensor] = []
    kept: list[Tensor] = []
    hook = clipping_hook(threshold, kept)
    for drive in torch.nn.functional.linear(inputs, into, bias).unbind(0):
        state = function(torch.addmm(drive, state, transposed))
        if clip == "adjoint_norm":
            state.register_hook(hook)
        else:
            states.append(state)
    loss = torch.nn.functional.mse_loss(torch.nn.functional.linear(state, out, out_bias), targets)
    found = torch.autograd.grad(loss, [*parameters, *states])
    count = len(parameters)
    return loss, list(found[:count]), kept or list(found[count:])[::-1]


def clipped_norms(parameters: list[Tensor], clip: str, threshold: float) -> tuple[Tensor, Tensor]:
    """Norm of the whole gradient before and after the rule."""

    def total() -> Tensor:
        return torch.nn.utils.get_total_norm([each.grad for each in parameters])

    if clip == "norm":
        return torch.nn.utils.clip_grad_norm_(parameters, threshold), total()
    before = total()
    if clip == "value":
        torch.nn.utils.clip_grad_value_(parameters, threshold)
        return before, total()
    return before, before


def one_case(
    radius: float,
    activation: str,
    length: int,
    clip: str,
    threshold: float,
    replicate: int,
    hidden: int,
    batch: int,
    longest: int,
) -> tuple[NDArray[np.float64], float, float, float]:
    """What a user records of one case; the profile is padded to the longest length of the sweep."""
    matrix, into, out, inputs, targets = draw(replicate, hidden, batch, longest)
    values = [radius * matrix, into.clone(), torch.zeros(hidden), out.clone(), torch.zeros(FEATURES)]
    parameters = [value.requires_grad_() for value in values]
    found = gradients(parameters, inputs[:length], targets, activation, clip, threshold)
    loss, parameter_gradients, state_gradients = found
    for parameter, gradient in zip(parameters, parameter_gradients, strict=True):
        parameter.grad = gradient
    before, after = clipped_norms(parameters, clip, threshold)
    profile = np.full(longest, np.nan)
    norms = torch.stack(torch._foreach_norm(state_gradients)).log10_()
    profile[:length] = norms.numpy()
    return profile, before.log10().item(), after.log10().item(), loss.item()


def main() -> None:
    from tests.benchmarks.peers import torch_loop

    name, (workers, threads, per_stratum, seed) = sys.argv[1], map(int, sys.argv[2:])
    sweep = SWEEPS[name]
    torch.set_num_threads(threads)  # worker processes take theirs from OMP_NUM_THREADS
    constants = {"hidden": sweep.hidden, "batch": sweep.batch, "longest": max(sweep.lengths)}
    way = {"constants": constants, "verbosity": 0, "num_workers": workers if workers > 1 else None}
    function = torch_loop.one_case  # not this module's, which a worker could not import from __main__
    xyzpy.case_runner(function, ARGUMENTS, sweep.sample(1, seed + 1)[:60], **way)
    cases = sweep.sample(per_stratum, seed)
    start = time.perf_counter()
    xyzpy.case_runner(function, ARGUMENTS, cases, **way)
    print(json.dumps({"seconds": time.perf_counter() - start, "cases": len(cases)}))


if __name__ == "__main__":
    main()
