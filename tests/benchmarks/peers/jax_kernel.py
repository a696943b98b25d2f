"""JAX on one core: jit of a scan with a zero perturbation added to each state, and the gradient by those.

That is the usual way to see inside a `lax.scan`: the gradient with respect to the perturbation of `h_t`
is the gradient with respect to `h_t`. Weights are constants of the differentiation, so no weight
gradient is formed. Variants: `lax.map` over cases (what one case touches stays in the cache, which makes
it the fastest by far on a CPU), `vmap` over cases, batch first or features first, input products
beforehand or within the scan, the scan unrolled or not. Tried at some sizes, single short timings, and
left out because it did not beat the best of these there: maps over vmapped groups (Elman 32 and 64, LSTM
64), one product of joined weights (Elman 64 to 256, LSTM 64), rematerialised gates (LSTM 64 and 128),
four products for the four gates (LSTM 64). Compilation happens in the warm-up and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.problem import Array, Arrays, Kernel, Problem

jax.config.update("jax_enable_x64", True)

Case = tuple[jax.Array, ...]
Carry = tuple[jax.Array, jax.Array]


def elman(z: jax.Array, memory: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    return jnp.tanh(z), memory


def lstm(z: jax.Array, memory: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    i, f, g, o = jnp.split(z, 4, axis)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(memory), memory


CELLS = {"elman": elman, "lstm": lstm}


@dataclass(frozen=True)
class Way:
    """One way of writing it."""

    over_cases: str = "map"
    batch_first: bool = True
    inputs: str = "in the scan"
    unroll: int = 1

    def __str__(self) -> str:
        layout = "batch first" if self.batch_first else "features first"
        return f"{self.over_cases}, {layout}, inputs {self.inputs}, unroll {self.unroll}"


WAYS = (
    Way(),
    Way(unroll=4),
    Way(inputs="beforehand"),
    Way(batch_first=False, inputs="beforehand"),
    Way(over_cases="vmap"),
)


def case_norms(problem: Problem, way: Way, case: Case) -> jax.Array:
    """State gradient norms of one case, shape (time,)."""
    W, U, b, V, c, X, Y = case
    cell, axis = CELLS[problem.cell], 1 if way.batch_first else 0
    shape = (problem.batch, problem.hidden) if way.batch_first else (problem.hidden, problem.batch)

    def product(weight: jax.Array, state: jax.Array) -> jax.Array:
        return state @ weight if way.batch_first else weight @ state

    def from_inputs(x: jax.Array) -> jax.Array:
        return product(U, x) + b

    def loss(perturbations: jax.Array) -> jax.Array:
        beforehand = way.inputs == "beforehand"
        driven = jax.vmap(from_inputs)(X) if beforehand else X

        def step(carry: Carry, at: Carry) -> tuple[Carry, None]:
            drive, perturbation = at
            addend = drive if beforehand else from_inputs(drive)
            state, memory = cell(addend + product(W, carry[0]), carry[1], axis)
            return (state + perturbation, memory), None

        start = (jnp.zeros(shape), jnp.zeros(shape))
        (state, _), _ = lax.scan(step, start, (driven, perturbations), unroll=way.unroll)
        return jnp.square(product(V, state) + c - Y).mean()

    gradients = jax.grad(loss)(jnp.zeros((problem.length, *shape)))
    return jnp.sqrt(jnp.square(gradients).sum((1, 2)))


def device_arrays(arrays: Arrays, batch_first: bool) -> Case:
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


def kernel(compiled: Callable[[Case], jax.Array], cases: Case) -> Array:
    return np.asarray(jax.block_until_ready(compiled(cases))).T


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Every way that won somewhere in trials, and `vmap`."""
    arrays = problem.draw()
    for way in WAYS:
        one = partial(case_norms, problem, way)
        function = jax.vmap(one) if way.over_cases == "vmap" else partial(lax.map, one)
        yield str(way), partial(kernel, jax.jit(function), device_arrays(arrays, way.batch_first))
