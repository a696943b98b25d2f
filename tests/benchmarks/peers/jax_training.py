"""JAX on one core: a jitted update with a scan inside, plain descent with the norm clip of every case.

Variants: `lax.map` or `vmap` over cases, batch first or features first, input products beforehand or
within the scan, the scan unrolled or not. Compilation happens in the warm-up and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.peers.jax_kernel import CELLS, WAYS, Pair, Way, product
from tests.benchmarks.problem import RATE, THRESHOLD, UPDATES, Array, Kernel, Problem
from tests.benchmarks.single import Single, single

Case = tuple[jax.Array, ...]


def device_arrays(arrays: Single, batch_first: bool) -> Case:
    """Cases in front; weights and data in the layout wanted."""
    plain: tuple[Array, ...] = (
        arrays.recurrent,
        arrays.input,
        arrays.bias[:, :, None],
        arrays.readout,
        arrays.readout_bias[:, :, None],
        arrays.inputs.transpose(1, 0, 2, 3),
        arrays.targets,
    )
    if batch_first:
        plain = tuple(array.swapaxes(-1, -2) for array in plain)
    return tuple(jnp.asarray(np.ascontiguousarray(array)) for array in plain)


def case_loss(problem: Problem, way: Way, parameters: Case, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Loss of one case."""
    W, U, b, V, c = parameters
    cell, axis = CELLS[problem.cell], 1 if way.batch_first else 0
    shape = (problem.batch, problem.hidden) if way.batch_first else (problem.hidden, problem.batch)

    def from_inputs(x: jax.Array) -> jax.Array:
        return product(way, U, x) + b

    beforehand = way.inputs == "beforehand"
    driven = jax.vmap(from_inputs)(X) if beforehand else X

    def step(carry: Pair, drive: jax.Array) -> tuple[Pair, None]:
        addend = drive if beforehand else from_inputs(drive)
        return cell(addend, product(way, W, carry[0]), carry, axis), None

    (state, _), _ = lax.scan(step, (jnp.zeros(shape), jnp.zeros(shape)), driven, unroll=way.unroll)
    return jnp.square(product(way, V, state) + c - Y).mean()


def case_update(problem: Problem, way: Way, case: Case) -> tuple[Case, jax.Array]:
    """The parameters of one case after an update, and its gradient norm."""
    *parameters, X, Y = case
    gradients = jax.grad(partial(case_loss, problem, way))(tuple(parameters), X, Y)
    norm = jnp.sqrt(sum(jnp.square(g).sum() for g in gradients))
    step = RATE * jnp.minimum(THRESHOLD / norm, 1.0)
    return tuple(p - step * g for p, g in zip(parameters, gradients, strict=True)), norm


def kernel(update: Callable[[Case], tuple[Case, jax.Array]], cases: Case) -> Array:
    parameters, data, kept = cases[:5], cases[5:], []
    for _ in range(UPDATES):
        parameters, norm = update((*parameters, *data))
        kept.append(norm)
    return np.stack([np.asarray(norm) for norm in jax.block_until_ready(kept)])


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    arrays = single(problem)
    for way in WAYS:
        one = partial(case_update, problem, way)
        function = jax.vmap(one) if way.over_cases == "vmap" else partial(lax.map, one)
        yield str(way), partial(kernel, jax.jit(function), device_arrays(arrays, way.batch_first))
