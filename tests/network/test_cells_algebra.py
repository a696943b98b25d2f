"""Every cell of the catalogue on its own, without the engine: one step forward and back against an oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from one_step import CASES, HIDDEN, check_step, run_step, take_step

from gradlab.network.activations import registry as activations
from gradlab.network.cells import registry as cells
from gradlab.network.cells.antisymmetric import Antisymmetric
from gradlab.network.cells.clockwork import Clockwork
from gradlab.network.cells.gru import Gru
from gradlab.network.cells.linear_diagonal import LinearDiagonal
from gradlab.network.cells.peephole_lstm import PeepholeLstm

VARIANTS = [
    *({"name": name} for name in cells.names()),
    {"name": "clockwork", "periods": [1, 2]},
    {"name": "clockwork", "periods": [2, 3]},
    {"name": "clockwork", "periods": [3]},
    {"name": "antisymmetric", "step": 0.5, "diffusion": 0.0},
]
every_cell = pytest.mark.parametrize("table", VARIANTS, ids=str)
TIMES = (0, 1, 2, 3, 4, 6)


# --- the contract ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", activations.names())
@every_cell
def test_a_step_forward_and_back(table, activation):
    cell = cells.build(table)
    for t in TIMES if table["name"] == "clockwork" else (0, 3):
        check_step(cell, activation, t, rtol=1e-12 if activation in ("tanh", "relu") else 1e-11, seed=t)


@every_cell
def test_claims_fit_each_other(table):
    cell = cells.build(table)
    assert cell.state_parts[0] == "state"
    assert cell.local_parts >= len(cell.row_blocks) == len(cell.fed_blocks)
    assert set(cell.recurrent_blocks) <= set(cell.row_blocks)
    assert (cell.memory is not None) == cell.gated
    fed = dict(zip(cell.row_blocks, cell.fed_blocks, strict=True))
    assert all(fed[block] or block in cell.recurrent_blocks for block in cell.row_blocks)
    assert all(block in cell.recurrent_blocks or fed[block] for block in cell.row_blocks)
    step = take_step(cell, activations.build("tanh"))
    if not cell.gated:
        with pytest.raises(NotImplementedError, match="is not gated"):
            cell.carry(step.local)
    if not cell.diagonals:
        with pytest.raises(NotImplementedError, match="has no diagonals"):
            cell.diagonal_gradient(step.local, step.dz, step.dz)


@every_cell
def test_tie_is_the_transpose_of_effective(table):
    """``<G, effective(A + B) - effective(A)> = <tie(G), B>`` for every G and B."""
    cell = cells.build(table)
    gradient, a, b = np.random.RandomState(0).standard_normal((3, HIDDEN, HIDDEN))
    one = np.sum(gradient * (cell.effective(a + b) - cell.effective(a)))
    np.testing.assert_allclose(np.sum(cell.tie(gradient) * b), one, rtol=1e-12, atol=0)
    stacked = cell.tie(np.stack([gradient, 2 * gradient])[None])
    np.testing.assert_array_equal(stacked[0, 0], cell.tie(gradient))
    np.testing.assert_array_equal(stacked[0, 1], cell.tie(2 * gradient))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", activations.names())
@every_cell
def test_a_case_does_not_know_its_neighbours(table, activation, dtype):
    """Bit for bit the same alone and in a stack, and one lane as among several."""
    cell, phi = cells.build(table), activations.build(activation)
    for t in (0, 2, 3):
        together = take_step(cell, phi, t, dtype, scale=3.0)
        for case in range(CASES):
            cut = slice(case, case + 1)
            alone = run_step(
                cell,
                phi,
                t,
                together.diagonal[:, cut].copy(),
                together.z[:, cut].copy(),
                [part[cut].copy() for part in together.old],
                [part[:1, cut].copy() for part in together.direct],
            )
            for one, many in zip(alone.new, together.new, strict=True):
                assert one.tobytes() == many[cut].tobytes()
            assert alone.dz.tobytes() == together.dz[:, :1, cut].tobytes()
            first = 0 if cell.direct else 1
            for one, many in zip(alone.adjoint[first:], together.adjoint[first:], strict=True):
                assert one.tobytes() == many[:1, cut].tobytes()
            assert alone.saturation.tobytes() == together.saturation[cut].tobytes()


@every_cell
def test_float32_stays_float32_and_is_right_to_its_precision(table):
    cell = cells.build(table)
    step = take_step(cell, activations.build("tanh"), dtype=np.float32)
    wide = run_step(
        cell,
        activations.build("tanh"),
        0,
        *(np.asarray(a, np.float64) for a in (step.diagonal, step.z)),
        *([part.astype(np.float64) for part in parts] for parts in (step.old, step.direct)),
    )
    assert step.dz.dtype == np.float32
    # Sums of numbers of order one may cancel: the tolerance is of the largest entry.
    np.testing.assert_allclose(step.dz, wide.dz, rtol=1e-4, atol=1e-6 * np.abs(wide.dz).max())
    np.testing.assert_allclose(step.new[0], wide.new[0], rtol=1e-4, atol=1e-6)


@dataclass(frozen=True)
class LeakyGru(Gru):
    """Wrong on purpose: the update gate's part of the adjoint is dropped."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal, local, adjoint, dz)
        adjoint[0][...] = 0.0


@dataclass(frozen=True)
class UnscaledGru(Gru):
    """Wrong on purpose: one part in 1e10 of one block."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal, local, adjoint, dz)
        dz[2] *= 1.0 + 1e-10


@dataclass(frozen=True)
class BlindPeephole(PeepholeLstm):
    """Wrong on purpose: the memory does not hear of its peephole to the output gate."""

    def complete(self, diagonal, local, adjoint):
        super().complete(np.zeros_like(diagonal), local, adjoint)
        adjoint[1] -= diagonal[2] * local[3] * adjoint[0]


@dataclass(frozen=True)
class LateClock(Clockwork):
    """Wrong on purpose: adjoints of units that changed are handed on as well."""

    def backward(self, t, diagonal, local, adjoint, dz):
        np.multiply(local[0], adjoint[0], out=dz[0])


@dataclass(frozen=True)
class UnturnedDiagonal(LinearDiagonal):
    """Wrong on purpose: the rotation with its sign, not with its transpose."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal * np.array([1.0, -1.0]).reshape(2, 1, 1, 1), local, adjoint, dz)


@dataclass(frozen=True)
class HastyAntisymmetric(Antisymmetric):
    """Wrong on purpose: the length of the step is forgotten on the way back."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal, local, adjoint, dz)
        dz /= self.step


@pytest.mark.parametrize(
    "wrong",
    [LeakyGru(), UnscaledGru(), BlindPeephole(), LateClock(), UnturnedDiagonal(), HastyAntisymmetric()],
    ids=repr,
)
def test_a_wrong_cell_is_caught(wrong):
    """The negative control: what the check above is worth."""
    check_step(type(wrong).__bases__[0](), "tanh", 1)
    with pytest.raises(AssertionError, match="Mismatched"):
        check_step(wrong, "tanh", 1)
