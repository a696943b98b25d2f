"""What is particular to each cell: gates that are shut, clocks, eigenvalues, settings."""

from __future__ import annotations

import numpy as np
import pytest
from one_step import BATCH, CASES, HIDDEN, run_step, take_step

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.network.activations import registry as activations
from gradlab.network.cells import registry as cells
from gradlab.network.cells.antisymmetric import Antisymmetric
from gradlab.network.cells.clockwork import Clockwork
from gradlab.network.cells.gru import Gru
from gradlab.network.cells.linear_diagonal import LinearDiagonal
from gradlab.network.cells.peephole_lstm import PeepholeLstm
from gradlab.network.settings import NetworkSettings
from gradlab.network.spectra import registry as spectra


def constant_step(cell, z, old, direct, activation="tanh", t=0, diagonal=None):
    """Take a step in which every unit of a block has the same pre-activation."""
    one = (1, HIDDEN, 1)
    pre = np.array(z, dtype=np.float64).reshape(-1, 1, 1, 1) * np.ones(one)
    diagonal = np.zeros((len(cell.diagonals), *one)) if diagonal is None else diagonal
    states = [np.full(one, value) for value in old]
    return run_step(
        cell, activations.build(activation), t, diagonal, pre, states, [np.full((1, *one), d) for d in direct]
    )


def test_gru_with_its_update_gate_shut_carries_everything_unchanged():
    """At z_u = 800 the gate is 1 to the last bit: state and adjoint pass as they are."""
    step = constant_step(Gru(), [0.3, 800.0, 0.2, 0.1], [0.7], [1.3])
    np.testing.assert_array_equal(step.new[0], step.old[0])
    np.testing.assert_array_equal(step.adjoint[0], step.direct[0])


@pytest.mark.parametrize("z_u", [4.2, 20.0, 40.0, 300.0])
def test_gru_near_its_shut_gate_keeps_relative_precision(z_u):
    """``1 - u`` is e/(1 + e) with e = exp(-z_u), which is 0 to ``1.0 - u`` from 37 on."""
    r = 1 / (1 + np.exp(-0.3))
    argument = 0.1 + r * 0.2
    step = constant_step(Gru(), [0.3, z_u, 0.2, 0.1], [0.7], [1.3])
    rest = np.exp(-z_u) / (1 + np.exp(-z_u))
    slope = rest * 1.3 / np.cosh(argument) ** 2
    expected = [0.2 * r * (1 - r) * slope, None, r * slope, slope]
    expected[1] = (0.7 - np.tanh(argument)) * rest / (1 + np.exp(-z_u)) * 1.3
    for block, value in enumerate(expected):
        np.testing.assert_allclose(step.dz[block], value, rtol=1e-13, atol=0)


def test_gru_with_its_gates_open_is_the_elman_cell():
    """Reset gate 1 and update gate 0: ``h = phi(a + q)``; both blocks get Elman's dz, the gates nothing."""
    gru = constant_step(Gru(), [800.0, -800.0, 0.4, -0.1], [0.7], [1.3])
    elman = constant_step(cells.get("elman")(), [0.4 - 0.1], [0.7], [1.3])
    np.testing.assert_allclose(gru.new[0], elman.new[0], rtol=1e-15, atol=0)
    np.testing.assert_allclose(gru.dz[2], elman.dz[0], rtol=1e-14, atol=0)
    np.testing.assert_array_equal(gru.dz[2], gru.dz[3])
    assert not gru.dz[:2].any()
    assert not gru.adjoint[0].any()


def test_peepholes_of_zero_are_the_lstm():
    """Bit for bit: the peephole LSTM adds zeros."""
    tables = ("lstm", "peephole_lstm")
    z, old, direct = (np.random.RandomState(0).standard_normal((k, CASES, HIDDEN, BATCH)) for k in (4, 2, 2))
    steps = []
    for cell in (cells.get(name)() for name in tables):
        diagonal = np.zeros((len(cell.diagonals), CASES, HIDDEN, 1))
        adjoints = [d[None] for d in direct]
        steps.append(run_step(cell, activations.build("tanh"), 0, diagonal, z, list(old), adjoints))
    for one, other in zip(*([*s.new, s.dz, s.adjoint[1], s.saturation] for s in steps), strict=True):
        np.testing.assert_array_equal(one, other)


def test_peepholes_are_drawn_with_the_spread_asked_for():
    stream = np.random.RandomState(0)
    drawn = PeepholeLstm(peephole=0.5).draw_diagonals(None, 2000, stream)
    assert drawn.shape == (3, 2000)
    np.testing.assert_allclose(drawn.std(axis=1), 0.5, rtol=0.05, atol=0)
    np.testing.assert_array_equal(
        PeepholeLstm(peephole=0.0).draw_diagonals(None, 3, stream), np.zeros((3, 3))
    )


@pytest.mark.parametrize(("key", "bad"), [("peephole", -1.0), ("forget_bias", float("nan"))])
def test_peephole_settings_are_checked(key, bad):
    with pytest.raises(UserMistake, match=rf"cell\.{key}: expected a finite number"):
        cells.build({"name": "peephole_lstm", key: bad})


def test_clockwork_changes_only_the_modules_whose_time_it_is():
    cell = Clockwork(periods=(1, 2, 3, 6))
    changed = {
        0: (1, 1, 1, 1),
        1: (1, 0, 0, 0),
        2: (1, 1, 0, 0),
        3: (1, 0, 1, 0),
        4: (1, 1, 0, 0),
        6: (1, 1, 1, 1),
    }
    for t, modules in changed.items():
        step = take_step(cell, activations.build("tanh"), t, hidden=8)
        units = np.repeat(modules, 2).astype(bool)
        np.testing.assert_array_equal(step.new[0][:, ~units], step.old[0][:, ~units])
        np.testing.assert_array_equal(step.adjoint[0][..., ~units, :], step.direct[0][..., ~units, :])
        assert not step.dz[..., ~units, :].any()
        assert not step.adjoint[0][..., units, :].any()
        assert (step.new[0][:, units] != step.old[0][:, units]).all()


def test_clockwork_without_a_tick_is_not_saturated():
    step = take_step(Clockwork(periods=(2, 3)), activations.build("tanh"), 1)
    np.testing.assert_array_equal(step.saturation, 1.0)
    np.testing.assert_array_equal(step.new[0], step.old[0])


def test_clockwork_modules_see_themselves_and_slower_ones():
    expected = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    np.testing.assert_array_equal(Clockwork(periods=(1, 4)).mask(4), np.array(expected, bool))
    drawn = spectra.build({"name": "ginibre", "radius": 0.9}).draw(8, 0, 0, mask=Clockwork().mask(8))
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(drawn.matrix)).max(), 0.9, rtol=1e-12, atol=0)
    assert not drawn.matrix[~Clockwork().mask(8)].any()


@pytest.mark.parametrize("periods", [[], [2, 1], [1, 1], [0, 1], [1.5], [True, 2], ["a"]], ids=str)
def test_clockwork_periods_are_checked(periods):
    with pytest.raises(UserMistake, match=r"cell\.periods(\[\d\])?: expected (at least one|an integer)"):
        cells.build({"name": "clockwork", "periods": periods})


def test_clockwork_modules_are_of_equal_size():
    Clockwork().check_size(8)
    with pytest.raises(UserMistake, match=r"hidden: expected a multiple of 4, .*, got 6\. .*cell\.periods"):
        Clockwork().check_size(6)
    assert cells.build({"name": "clockwork", "periods": [1.0, 3]}) == Clockwork(periods=(1, 3))


@pytest.mark.parametrize(
    ("key", "bad"), [("step", 0.0), ("step", -1.0), ("diffusion", -0.1), ("step", float("inf"))]
)
def test_antisymmetric_settings_are_checked(key, bad):
    with pytest.raises(UserMistake, match=rf"cell\.{key}: expected a finite number (above|of at least) 0"):
        cells.build({"name": "antisymmetric", key: bad})


def test_antisymmetric_matrix_has_imaginary_eigenvalues_shifted_by_the_diffusion():
    drawn = np.random.RandomState(0).standard_normal((5, 5))
    effective = Antisymmetric(diffusion=0.25).effective(drawn)
    np.testing.assert_allclose(np.linalg.eigvals(effective).real, -0.25, rtol=1e-13, atol=0)
    assert Antisymmetric().effective(drawn.astype(np.float32)).dtype == np.float32


# --- the linear recurrent unit -----------------------------------------------------------------------

FAMILIES = [
    {"name": "normal", "radius": 0.9},
    {"name": "normal", "eigenvalues": [0.5, -0.25, [0.1, 0.7], 0.5, 0.3]},
    {"name": "ginibre", "radius": 0.8},
    {"name": "symmetric", "radius": 0.8},
    {"name": "antisymmetric", "radius": 0.8},
    {"name": "identity", "radius": 0.8},
    {"name": "ginibre", "radius": 0.0},
]


def drawn_diagonals(family, hidden=6):
    matrix = spectra.build(family).draw(hidden, 0, 0).matrix
    return matrix, LinearDiagonal().draw_diagonals(matrix, hidden, np.random.RandomState(0))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_linear_diagonal_has_the_eigenvalues_of_the_matrix(family):
    matrix, (d, r) = drawn_diagonals(family)
    own = np.diag(d) + np.diag(r) @ np.roll(np.eye(6), 3, axis=0)
    expected = np.sort_complex(np.linalg.eigvals(matrix).round(9))
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(own).round(9)), expected, rtol=0, atol=1e-8)
    # Pairs share their diagonal and turn opposite ways; real eigenvalues do not turn.
    np.testing.assert_array_equal(r[:3], -r[3:])
    turning = r[:3] != 0
    np.testing.assert_array_equal(d[:3][turning], d[3:][turning])
    assert (r[3:] >= 0).all()


def test_linear_diagonal_scales_with_its_family():
    """A radius axis turns the same complex numbers: order and angles stay."""
    _, one = drawn_diagonals({"name": "ginibre", "radius": 0.5}, 40)
    _, other = drawn_diagonals({"name": "ginibre", "radius": 0.9}, 40)
    np.testing.assert_allclose(other, one * 1.8, rtol=1e-11, atol=1e-14)


def test_linear_diagonal_is_complex_multiplication():
    """Twenty steps of the cell are the powers of complex eigenvalues, in complex arithmetic."""
    m, steps = 3, 20
    random = np.random.RandomState(0)
    values = random.uniform(0.5, 1.0, m) * np.exp(1j * random.uniform(0.2, 3.0, m))
    diagonal = np.array([[*values.real, *values.real], [*-values.imag, *values.imag]])[:, None, :, None]
    z = random.standard_normal((steps, m)) + 1j * random.standard_normal((steps, m))
    expected = sum(values ** (steps - 1 - t) * z[t] for t in range(steps))
    state = np.zeros((1, 2 * m, 1))
    for t in range(steps):
        new, local = np.empty_like(state), np.array([*z[t].real, *z[t].imag]).reshape(1, 1, -1, 1)
        LinearDiagonal().forward(activations.build("tanh"), t, diagonal, local.copy(), [state], [new], None)
        state = new
    np.testing.assert_allclose(state[0, :m, 0] + 1j * state[0, m:, 0], expected, rtol=1e-12, atol=0)


def test_linear_diagonal_normalisation():
    """``sqrt(1 - |lambda|^2)``: white inputs then give states of variance 1 whatever the eigenvalue."""
    _, diagonals = drawn_diagonals({"name": "normal", "radius": 0.9})
    np.testing.assert_allclose(
        LinearDiagonal(normalised=True).input_scale(diagonals), np.sqrt(1 - 0.81), rtol=1e-12, atol=0
    )
    assert LinearDiagonal(normalised=False).input_scale(diagonals) is None
    close_to_one = np.array([[1 - 1e-12, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        LinearDiagonal(normalised=True).input_scale(close_to_one), [np.sqrt(2e-12), 1.0], rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("radius", [1.0, 1.2])
def test_linear_diagonal_normalisation_needs_the_unit_disc(radius):
    _, diagonals = drawn_diagonals({"name": "identity", "radius": radius})
    message = r"normalised: expected every eigenvalue inside .* got a radius of .*normalised = false"
    with pytest.raises(UserMistake, match=message):
        LinearDiagonal(normalised=True).input_scale(diagonals)


def test_a_radius_that_leaves_nothing_to_normalise_with_is_told_before_anything_runs():
    table = {"cell": {"name": "linear_diagonal", "normalised": True}, "hidden": 4}
    with pytest.raises(UserMistake, match=r"network\.spectrum\.radius: expected a radius below 1 .* got 1\."):
        NetworkSettings.build({**table, "spectrum": {"name": "ginibre", "radius": 1.0}})
    NetworkSettings.build({**table, "spectrum": {"name": "ginibre", "radius": 0.99}})


def test_linear_diagonal_units_come_in_pairs():
    LinearDiagonal().check_size(4)
    with pytest.raises(UserMistake, match=r"hidden: expected an even number .*, got 5\. .*take 6"):
        LinearDiagonal().check_size(5)
    with pytest.raises(ValueError, match="takes its eigenvalues from a matrix"):
        LinearDiagonal().draw_diagonals(None, 4, np.random.RandomState(0))


def test_linear_diagonal_does_not_use_the_activation():
    one, other = (take_step(LinearDiagonal(), activations.build(name)) for name in ("tanh", "relu"))
    np.testing.assert_array_equal(one.new[0], other.new[0])
    np.testing.assert_array_equal(one.saturation, 1.0)


@pytest.mark.parametrize(
    "cell",
    [
        Clockwork(periods=(1, 5)),
        PeepholeLstm(peephole=0.2),
        LinearDiagonal(normalised=True),
        Antisymmetric(0.5),
    ],
    ids=repr,
)
def test_settings_build_the_same_cell_again(cell):
    assert cells.build(settings_of(cell)) == cell
    assert cells.build({"name": cell.name}) != cell
