"""JAX on one core: jit of a scan with a zero perturbation added to each state, and the gradient by those.

That is the usual way to see inside a `lax.scan`: the gradient with respect to the perturbation of `h_t`
is the gradient with respect to `h_t`. Weights are constants of the differentiation, so no weight
gradient is formed. Variants: `lax.map` over cases (what one case touches stays in the cache, which makes
it the fastest by far on a CPU), `vmap` over cases, batch first or features first, input products
beforehand or within the scan, the scan unrolled or not. Tried at some sizes, single short timings, and
left out because it did not beat the best of these there: maps over vmapped groups (Elman 32 and 64, LSTM
64), one product of joined weights (Elman 64 to 256, LSTM 64), rematerialised gates (LSTM 64 and 128),
four products for the four gates (LSTM 64). Layers and directions are scans one after the other. For the
credit matrix the backward scan of every loss is a vector-Jacobian product, mapped or batched over the
loss times. Compilation happens in the warm-up and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.problem import Array, Arrays, Kernel, Layer, Problem

jax.config.update("jax_enable_x64", True)

Case = Any
"""Arrays of the layers (W, U, b, c), by layer and direction, and V, d, X, Y of the rest."""
Pair = tuple[jax.Array, jax.Array]


def elman(drive: jax.Array, recur: jax.Array, state: Pair, axis: int) -> Pair:
    return jnp.tanh(drive + recur), state[1]


def lstm(drive: jax.Array, recur: jax.Array, state: Pair, axis: int) -> Pair:
    i, f, g, o = jnp.split(drive + recur, 4, axis)
    memory = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(memory), memory


def gru(drive: jax.Array, recur: jax.Array, state: Pair, axis: int) -> Pair:
    to_r, to_z, to_g = jnp.split(drive, 3, axis)
    r, z, g = jnp.split(recur, 3, axis)
    candidate = jnp.tanh(to_g + jax.nn.sigmoid(to_r + r) * g)
    update = jax.nn.sigmoid(to_z + z)
    return (1.0 - update) * candidate + update * state[0], state[1]


CELLS = {"elman": elman, "lstm": lstm, "gru": gru}


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


def product(way: Way, weight: jax.Array, state: jax.Array) -> jax.Array:
    return state @ weight if way.batch_first else weight @ state


def run(
    problem: Problem, way: Way, w: Case, X: jax.Array, perturbations: jax.Array, reverse: bool
) -> jax.Array:
    """States of one layer in one direction, perturbed, by the time of the sequence."""
    W, U, b, c = w
    cell, axis = CELLS[problem.cell], 1 if way.batch_first else 0
    beforehand = way.inputs == "beforehand"

    def from_inputs(x: jax.Array) -> jax.Array:
        return product(way, U, x) + b

    def step(carry: Pair, at: Pair) -> tuple[Pair, jax.Array]:
        drive, perturbation = at
        addend = drive if beforehand else from_inputs(drive)
        recur = product(way, W, carry[0])
        state, memory = cell(addend, recur + c if problem.cell == "gru" else recur, carry, axis)
        return (state + perturbation, memory), state + perturbation

    start = (jnp.zeros(perturbations.shape[1:]), jnp.zeros(perturbations.shape[1:]))
    driven = jax.vmap(from_inputs)(X) if beforehand else X
    return lax.scan(step, start, (driven, perturbations), unroll=way.unroll, reverse=reverse)[1]


def losses(problem: Problem, way: Way, case: Case, perturbations: jax.Array) -> jax.Array:
    """Loss at every look."""
    layers, V, d, X, Y = case
    for layer, own in zip(layers, perturbations, strict=True):
        parts = [run(problem, way, w, X, own[i], bool(i)) for i, w in enumerate(layer)]
        X = parts[0] if len(parts) == 1 else jnp.concatenate(parts, 2 if way.batch_first else 1)
    looked = X[jnp.array(problem.looks)]
    return jnp.square(jax.vmap(partial(product, way, V))(looked) + d - Y).mean((1, 2))


def zeros(problem: Problem, way: Way) -> jax.Array:
    shape = (problem.batch, problem.hidden) if way.batch_first else (problem.hidden, problem.batch)
    return jnp.zeros((problem.layers, problem.directions, problem.length, *shape))


def case_norms(problem: Problem, way: Way, case: Case) -> jax.Array:
    """State gradient norms of one case, shape (layer, direction, time)."""
    gradients = jax.grad(lambda p: losses(problem, way, case, p).sum())(zeros(problem, way))
    return jnp.sqrt(jnp.square(gradients).sum((3, 4)))


def credit_norms(problem: Problem, way: Way, case: Case) -> jax.Array:
    """Norms by (loss time, time) of one case."""
    _, back = jax.vjp(partial(losses, problem, way, case), zeros(problem, way))

    def one(weight: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.square(back(weight)[0][0, 0]).sum((1, 2)))

    one_each = jnp.eye(problem.length)
    return jax.vmap(one)(one_each) if way.over_cases == "vmap" else lax.map(one, one_each)


def device_arrays(arrays: Arrays, batch_first: bool) -> Case:
    """Cases in front; weights and data in the layout wanted."""

    def on_device(array: Array) -> jax.Array:
        array = array.swapaxes(-1, -2) if batch_first else array
        return jnp.asarray(np.ascontiguousarray(array))

    def layer(one: Layer) -> Case:
        bias = np.zeros_like(one.bias)
        bias[:, -one.recurrent_bias.shape[1] :] = one.recurrent_bias
        return tuple(map(on_device, (one.recurrent, one.input, one.bias[:, :, None], bias[:, :, None])))

    rest = (
        arrays.readout,
        arrays.readout_bias[:, :, None],
        arrays.inputs.transpose(1, 0, 2, 3),
        arrays.targets.transpose(1, 0, 2, 3),
    )
    return [[layer(one) for one in each] for each in arrays.layers], *map(on_device, rest)


def kernel(compiled: Callable[[Case], jax.Array], cases: Case) -> Array:
    return np.moveaxis(np.asarray(jax.block_until_ready(compiled(cases))), 0, -1)


def credit(compiled: Callable[[Case], jax.Array], case: Case) -> Array:
    return np.asarray(jax.block_until_ready(compiled(case)))


def variants(problem: Problem) -> Iterator[tuple[str, Kernel]]:
    """Every way that won somewhere in trials, and `vmap`."""
    arrays = problem.draw()
    for way in WAYS:
        cases = device_arrays(arrays, way.batch_first)
        if problem.credit:
            only = jax.tree.map(lambda a: a[0], cases)
            yield (
                str(way).replace("case", "loss time"),
                partial(credit, jax.jit(partial(credit_norms, problem, way)), only),
            )
            continue
        one = partial(case_norms, problem, way)
        function = jax.vmap(one) if way.over_cases == "vmap" else partial(lax.map, one)
        yield str(way), partial(kernel, jax.jit(function), cases)
