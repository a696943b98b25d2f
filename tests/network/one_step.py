"""One step of a cell without the engine, forward and back, and its comparison with the oracle.

The oracle's formula gets matrices of zeros and the pre-activations as its nudges, so that only the
elementwise part is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import autograd
import autograd.numpy as anp
import numpy as np
import oracles

from gradlab.network.activations import registry as activations

HIDDEN, BATCH, CASES, LANES = 4, 3, 2, 2


@dataclass(eq=False)
class Step:
    """One step of a cell with random numbers, forward and back, and what went into it."""

    diagonal: np.ndarray
    z: np.ndarray
    old: list[np.ndarray]
    new: list[np.ndarray]
    local: np.ndarray
    saturation: np.ndarray
    direct: list[np.ndarray]  # adjoints before `complete`
    adjoint: list[np.ndarray]  # after `backward`
    dz: np.ndarray
    by_diagonal: np.ndarray | None


def take_step(cell, activation, t=0, dtype=np.float64, seed=0, scale=1.0, hidden=HIDDEN):
    random = np.random.RandomState(seed)
    blocks, one = len(cell.row_blocks), (CASES, hidden, BATCH)

    def draw(*shape):
        return (scale * random.standard_normal(shape)).astype(dtype)

    diagonal = draw(len(cell.diagonals), CASES, hidden, 1)
    z, old = draw(blocks, *one), [draw(*one) for _ in cell.state_parts]
    direct = [draw(LANES, *one) for _ in cell.state_parts]
    return run_step(cell, activation, t, diagonal, z, old, direct)


def run_step(cell, activation, t, diagonal, z, old, direct):
    blocks, one, dtype = len(z), z.shape[1:], z.dtype
    local = np.full((cell.local_parts, *one), np.nan, dtype)
    local[:blocks] = z
    new, kept = [np.full(one, np.nan, dtype) for _ in old], [part.copy() for part in old]
    saturation = np.full(one[0], np.nan, dtype)
    cell.forward(activation, t, diagonal, local, old, new, saturation)
    adjoint = [part.copy() for part in direct]
    dz = np.full((blocks, len(direct[0]), *one), np.nan, dtype)
    cell.complete(diagonal, local, adjoint)
    cell.backward(t, diagonal, local, adjoint, dz)
    by_diagonal = None
    if cell.diagonals:
        by_diagonal = np.full((len(cell.diagonals), *dz.shape[1:]), np.nan, dtype)
        cell.diagonal_gradient(local, dz, by_diagonal)
    for part, before in zip(old, kept, strict=True):
        np.testing.assert_array_equal(part, before, err_msg="the old state was written to")
    return Step(diagonal, z, old, new, local, saturation, direct, adjoint, dz, by_diagonal)


def oracle_step(xp, cell, activation, t, arrays):
    """Return the oracle's new state, new memory and arguments of activations."""
    z, old = arrays["z"], arrays["old"]
    n, blocks = old.shape[-2], z.shape[-2] // old.shape[-2]
    p = {
        "W": np.zeros((oracles.RECURRENT.get(cell.name, blocks) * n, n)),
        "U": np.zeros(((3 if cell.name == "gru" else blocks) * n, 1)),
        "b": np.zeros(((3 if cell.name == "gru" else blocks) * n, 1)),
        "bh": np.zeros((n, 1)),
        **{name: arrays[name] for name in cell.diagonals},
    }
    given = {**vars(cell), "diffusion": 0.0}  # the diffusion belongs to the matrix
    phi = lambda z: oracles.ACTIVATIONS[activation][0](xp, z)  # noqa: E731
    memory = arrays.get("memory", 0.0)
    x = np.zeros((1, 1))
    return oracles.STEPS[cell.name][0](xp, phi, p, old, old, memory, x, z, 0.0, t, given)


def oracle_gradients(cell, activation, t, arrays, weights):
    """Return the derivatives of the weighted sum of the new state parts by every array."""

    def total(xp, arrays):
        state, memory, _ = oracle_step(xp, cell, activation, t, arrays)
        result = (weights[0] * state).sum(axis=(-2, -1))
        return result if memory is None else result + (weights[1] * memory).sum(axis=(-2, -1))

    if not oracles.ACTIVATIONS[activation][1]:
        return autograd.grad(lambda arrays: total(anp, arrays))(arrays)
    gradients = {}
    for name, value in arrays.items():
        bumps = 1j * oracles.STEP * np.eye(value.size).reshape(value.size, *value.shape)
        slopes = total(np, {**arrays, name: value + bumps}).imag / oracles.STEP
        gradients[name] = slopes.reshape(value.shape)
    return gradients


def arrays_of(cell, step, case, sample):
    """Return one sample of one case as the oracle's arrays."""
    arrays = {
        "z": step.z[:, case, :, sample].reshape(-1, 1),
        "old": step.old[0][case, :, sample, None],
        **{name: step.diagonal[k, case] for k, name in enumerate(cell.diagonals)},
    }
    if len(step.old) > 1:
        arrays["memory"] = step.old[1][case, :, sample, None]
    return arrays


def check_step(cell, activation, t=0, rtol=1e-12, **options):
    """Compare a step and its way back with the oracle, sample by sample."""
    step = take_step(cell, activations.build(activation), t, **options)
    for case, sample in np.ndindex(CASES, BATCH):
        arrays = arrays_of(cell, step, case, sample)
        state, memory, met = oracle_step(np, cell, activation, t, arrays)
        close(step.new[0][case, :, sample, None], state, rtol, "state")
        if memory is not None:
            close(step.new[1][case, :, sample, None], memory, rtol, "memory")
        if cell.gated:
            close(cell.carry(step.local)[case, :, sample, None], oracles._logistic(np, met[1][1]), rtol)
        for lane in range(LANES):
            weights = [part[lane, case, :, sample, None] for part in step.direct]
            expected = oracle_gradients(cell, activation, t, arrays, weights)
            at = (lane, case, slice(None), sample)
            close(step.dz[:, *at].reshape(-1, 1), expected["z"], rtol, "dz")
            if cell.direct:
                close(step.adjoint[0][at][:, None], expected["old"], rtol, "old state")
            else:
                assert not expected["old"].any(), "a direct path that the cell does not claim"
            if memory is not None:
                close(step.adjoint[1][at][:, None], expected["memory"], rtol, "old memory")
            for k, name in enumerate(cell.diagonals):
                close(step.by_diagonal[k][at][:, None], expected[name], rtol, name)
    check_saturation(cell, activation, t, step, rtol)


def close(got, expected, rtol, what=""):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=0, err_msg=what)


def check_saturation(cell, activation, t, step, rtol):
    for case in range(CASES):
        slopes = []
        for sample in range(BATCH):
            _, _, met = oracle_step(np, cell, activation, t, arrays_of(cell, step, case, sample))
            slopes.append(oracles.mean_slope({"activation": activation}, met))
        close(step.saturation[case], np.mean(slopes), rtol, "saturation")
