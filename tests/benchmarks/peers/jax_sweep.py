"""The sweep as JAX users write it: jit over all radii and replicates, once per activation, length, clip.

Compilation counts: a new length or activation is a new program. (The threshold is an argument, so the
two norm clips share theirs; weights at radius one are drawn once for all.) A scan over time with a zero
perturbation added to each state gives the state gradients, together with those of all parameters; a
`custom_vjp` identity clips the adjoint inside the recursion. Two ways: `vmap`, the plain one, with both
cores for XLA; and `map`, tuned for a CPU: one case at a time, so that its states stay in the cache, with
the replicates shared out over two host devices.

`python -m tests.benchmarks.peers.jax_sweep SWEEP WAY SEED [all]` times a random share of the
(activation, length) pairs with all their clips, or all of them, and prints seconds, the cases they hold,
and programs compiled.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from tests.benchmarks.grid import ACTIVATIONS, CLIPS, FEATURES, RADII, SWEEPS, Sweep

jax.config.update("jax_enable_x64", True)

DEVICES = 2

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "logistic": jax.nn.sigmoid,
    "identity": lambda z: z,
}
Draw = tuple[jax.Array, ...]


@jax.custom_vjp
def clip_each_sample(state: jax.Array, threshold: jax.Array) -> jax.Array:
    """Identity whose adjoint is scaled, row by row, to at most the threshold."""
    return state


def _forward(state: jax.Array, threshold: jax.Array) -> tuple[jax.Array, jax.Array]:
    return state, threshold


def _backward(threshold: jax.Array, adjoint: jax.Array) -> tuple[jax.Array, None]:
    norms = adjoint.shape[0] * jnp.linalg.norm(adjoint, axis=1, keepdims=True)
    return adjoint * jnp.minimum(1.0, threshold / norms), None


clip_each_sample.defvjp(_forward, _backward)


def norm(tree: object) -> jax.Array:
    return jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)))


def one_case(activation: str, clip: str, threshold: jax.Array, radius: jax.Array, drawn: Draw) -> Draw:
    """Profile over lags, norm before and after clipping, loss."""
    matrix, into, out, inputs, targets = drawn
    function, hidden = FUNCTIONS[activation], matrix.shape[0]
    shape = (inputs.shape[1], hidden)

    def loss(parameters: Draw, perturbations: jax.Array) -> jax.Array:
        recurrent, into, bias, out, out_bias = parameters

        def step(state: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            drive, perturbation = at
            return function(drive + state @ recurrent.T) + perturbation, None

        def clipped_step(state: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            # Clipped before it reaches the perturbation, whose gradient is then the adjoint that travels on.
            return clip_each_sample(step(state, at)[0], threshold), None

        body = clipped_step if clip == "adjoint_norm" else step
        state, _ = lax.scan(body, jnp.zeros(shape), (inputs @ into.T + bias, perturbations))
        return jnp.square(state @ out.T + out_bias - targets).mean()

    parameters = (radius * matrix, into, jnp.zeros(hidden), out, jnp.zeros(FEATURES))
    perturbations = jnp.zeros((inputs.shape[0], *shape))
    value, (gradient, adjoints) = jax.value_and_grad(loss, (0, 1))(parameters, perturbations)
    profile = jnp.log10(jnp.sqrt(jnp.square(adjoints).sum((1, 2))))[::-1]
    before = after = norm(gradient)
    if clip == "norm":
        after = norm(jax.tree.map(lambda g: g * jnp.minimum(1.0, threshold / before), gradient))
    elif clip == "value":
        after = norm(jax.tree.map(lambda g: jnp.clip(g, -threshold, threshold), gradient))
    return profile, jnp.log10(before), jnp.log10(after), value


@partial(jax.jit, static_argnames=("activation", "clip"))
def vmapped(radii: jax.Array, drawn: Draw, threshold: jax.Array, activation: str, clip: str) -> Draw:
    case = partial(one_case, activation, clip, threshold)
    over_replicates = jax.vmap(case, in_axes=(None, 0))
    return jax.vmap(over_replicates, in_axes=(0, None))(radii, drawn)


@partial(jax.jit, static_argnames=("activation", "clip"))
def mapped(radii: jax.Array, drawn: Draw, threshold: jax.Array, activation: str, clip: str) -> Draw:
    def share(radii: jax.Array, drawn: Draw, threshold: jax.Array) -> Draw:
        case = partial(one_case, activation, clip, threshold)
        return lax.map(lambda radius: lax.map(partial(case, radius), drawn), radii)

    everywhere, replicates = PartitionSpec(), PartitionSpec("device")
    return jax.shard_map(
        share,
        mesh=jax.make_mesh((DEVICES,), ("device",), axis_types=(AxisType.Auto,)),
        in_specs=(everywhere, replicates, everywhere),
        out_specs=PartitionSpec(None, "device"),
        check_vma=False,
    )(radii, drawn, threshold)


def draw(sweep: Sweep, length: int) -> tuple[np.ndarray, ...]:
    """Draws of all replicates, as NumPy arrays with the replicate in front."""
    rng = np.random.default_rng(0)
    count, hidden = sweep.replicates, sweep.hidden
    matrix = rng.standard_normal((count, hidden, hidden))
    matrix /= np.abs(np.linalg.eigvals(matrix)).max(axis=-1)[:, None, None]
    into = rng.standard_normal((count, hidden, FEATURES)) / FEATURES**0.5
    out = rng.standard_normal((count, FEATURES, hidden)) / hidden**0.5
    targets = rng.standard_normal((count, sweep.batch, FEATURES))
    inputs = rng.standard_normal((max(sweep.lengths), count, sweep.batch, FEATURES))[:length]
    return matrix, into, out, np.ascontiguousarray(inputs.swapaxes(0, 1)), targets


def main() -> None:
    sweep, way, seed = SWEEPS[sys.argv[1]], sys.argv[2], int(sys.argv[3])
    pairs = list(product(ACTIVATIONS, sweep.lengths)) if sys.argv[4:] else sweep.compiled_pairs(seed)
    function = {"vmap": vmapped, "map": mapped}[way]
    if way == "map":
        jax.config.update("jax_num_cpu_devices", DEVICES)
    radii = jnp.asarray(RADII)
    draws = {length: draw(sweep, length) for length in sweep.lengths}
    jax.block_until_ready(jax.jit(lambda x: jnp.tanh(x @ x.T))(jnp.ones((8, 8))))
    start = time.perf_counter()
    for activation, length in pairs:
        for clip, threshold in CLIPS:
            results = function(radii, draws[length], threshold, activation, clip)
            for result in results:
                np.asarray(result)
    seconds = time.perf_counter() - start
    cases = len(pairs) * len(CLIPS) * len(RADII) * sweep.replicates
    compiled = len(pairs) * len({clip for clip, _ in CLIPS})
    print(json.dumps({"seconds": seconds, "cases": cases, "compiled": compiled}))


if __name__ == "__main__":
    main()
