"""The worked examples: numbers that were known before the program was."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import gradlab

Ran = Callable[..., xr.Dataset]
WEIGHTS = (1.0, 1.01, 0.99, 0.01)


def log10_power(weight: float, power: int) -> float:
    """Return log10(weight ** power) of the float `weight`, exactly rational until the logarithm."""
    exact = Fraction(weight) ** power
    top, bottom = exact.numerator, exact.denominator
    shift = top.bit_length() - bottom.bit_length()
    rest = Fraction(top, bottom << shift) if shift >= 0 else Fraction(top << -shift, bottom)
    return shift * math.log10(2.0) + math.log10(rest)


def test_the_logarithm_of_a_power_is_exact_beyond_the_range_of_floats() -> None:
    assert log10_power(2.0, 5) == pytest.approx(math.log10(32.0), rel=1e-15, abs=0.0)
    assert log10_power(0.01, 999) == pytest.approx(-1998.0, rel=1e-14, abs=0.0)


@pytest.mark.parametrize("weight", WEIGHTS[:3])
def test_after_a_thousand_steps_the_state_is_the_weight_to_the_power_999(weight: float, folder: Path) -> None:
    states = gradlab.draw(folder / "thousand-steps.toml", weight=weight).forward()["states"]
    assert states.shape == (1000, 1, 1)
    exact = float(Fraction(weight) ** 999)
    np.testing.assert_allclose(states[-1, 0, 0], exact, rtol=1e-13, atol=0.0)
    assert exact == pytest.approx({1.0: 1.0, 1.01: 20751.6, 0.99: 4.36e-5}[weight], rel=1e-3, abs=0.0)


def test_a_state_below_the_range_of_floats_is_zero_from_step_163_on(folder: Path) -> None:
    states = gradlab.draw(folder / "thousand-steps.toml", weight=0.01).forward()["states"][:, 0, 0]
    tiny = np.finfo(np.float64).tiny
    assert states[153] > tiny > states[154] > 0.0  # step 154 is at index 153
    assert states[161] > 0.0
    assert not states[162:].any()


@pytest.mark.parametrize("weight", WEIGHTS)
def test_adjoints_are_right_at_every_lag_down_to_1e_minus_1998(weight: float, ran: Ran) -> None:
    ds = ran("thousand-steps").sel(weight=weight).isel(replicate=0)
    exact = [log10_power(weight, lag) for lag in range(1000)]
    np.testing.assert_allclose(ds["log10_state_gradient_norm"], exact, rtol=1e-12, atol=0.0)
    np.testing.assert_allclose(ds["growth_rate"], math.log10(weight), rtol=1e-12, atol=0.0)
    assert int(ds["regime"]) == int(np.sign(math.log10(weight)))


@pytest.mark.parametrize("weight", WEIGHTS[:3])
def test_the_derivative_is_999_shares_of_the_weight_to_the_power_998(weight: float, ran: Ran) -> None:
    shares = ran("thousand-steps")["log10_weight_gradient_norm"].sel(weight=weight).isel(replicate=0).values
    np.testing.assert_allclose(10.0 ** shares[:999], weight**998, rtol=1e-11, atol=0.0)
    assert shares[999] == -np.inf  # no state before the first step
    np.testing.assert_allclose((10.0**shares).sum(), 999 * weight**998, rtol=1e-11, atol=0.0)


def test_shares_are_zero_exactly_where_the_earlier_state_is_rounded_to_zero(ran: Ran, folder: Path) -> None:
    shares = ran("thousand-steps")["log10_weight_gradient_norm"].sel(weight=0.01).isel(replicate=0).values
    states = gradlab.draw(folder / "thousand-steps.toml", weight=0.01).forward()["states"][:, 0, 0]
    earlier = np.concatenate([[0.0], states[:-1]])[::-1]  # by lag
    np.testing.assert_array_equal(np.isneginf(shares), earlier == 0.0)
    normal = earlier >= np.finfo(np.float64).tiny
    assert normal.sum() == 154
    np.testing.assert_allclose(shares[normal], log10_power(0.01, 998), rtol=1e-12, atol=0.0)


def test_all_ones_gives_4_12_32(folder: Path) -> None:
    case = gradlab.draw(folder / "all-ones.toml")
    assert all((p == (0.0 if "bias" in name else 1.0)).all() for name, p in case.parameters.items())
    assert case.inputs[:, 0].tolist() == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]
    forward = case.forward()
    assert forward["states"][:, 0].tolist() == [[2.0, 2.0], [6.0, 6.0], [16.0, 16.0]]
    assert forward["outputs"][:, 0].tolist() == [[4.0, 4.0], [12.0, 12.0], [32.0, 32.0]]


def test_all_ones_backward_by_hand(ran: Ran) -> None:
    ds = ran("all-ones").isel(replicate=0)
    assert float(ds["loss"]) == 4**2 + 12**2 + 32**2
    # dL/do = o on each of two outputs; V^T dL/do = 2 o; W^T doubles what comes from later
    adjoint = np.array([2 * 32, 2 * 64 + 2 * 12, 2 * 152 + 2 * 4])
    norms = 10.0 ** ds["log10_state_gradient_norm"].values
    np.testing.assert_allclose(norms, adjoint * math.sqrt(2), rtol=1e-14, atol=0.0)
    shares = 10.0 ** ds["log10_weight_gradient_norm"].values  # four equal entries, norm 2 times one
    np.testing.assert_allclose(shares[:2], [2 * 64 * 6, 2 * 152 * 2], rtol=1e-14, atol=0.0)
    assert shares[2] == 0.0


def logistic(z: float) -> float:
    """Return 1 / (1 + exp(-z))."""
    return 1.0 / (1.0 + math.exp(-z))


def test_the_lstm_by_hand_follows_its_equations_to_the_last_digits(folder: Path) -> None:
    case = gradlab.draw(folder / "lstm-by-hand.toml")
    forward = case.forward()
    memory = 0.0
    for t, (x1, x2, x3) in enumerate(case.inputs[:, 0].tolist()):
        memory = logistic(100 * x2 + 10) * memory + logistic(100 * x2 - 10) * x1
        y = logistic(100 * x3 - 10) * memory
        np.testing.assert_allclose(forward["memories"][t, 0, 0], memory, rtol=1e-14, atol=0.0)
        np.testing.assert_allclose(forward["outputs"][t, 0, 0], y, rtol=1e-14, atol=0.0)


def test_the_lstm_by_hand_gives_the_table_up_to_what_the_gates_leak(folder: Path) -> None:
    case = gradlab.draw(folder / "lstm-by-hand.toml")
    forward = case.forward()
    x1, x2, x3 = case.inputs[:, 0].T
    assert x1.tolist() == [1, 3, 2, 4, 2, 1, 3, 6, 1]
    assert x2.tolist() == [0, 1, 0, 1, 0, 0, -1, 1, 0]
    assert x3.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    memory = np.array([0, 3, 3, 7, 7, 7, 0, 6, 6])
    y = np.array([0, 0, 0, 0, 0, 7, 0, 0, 6])
    # Absolute, for the table holds zeros: a step leaks at most s(-10) of the input and of the memory.
    leak = logistic(-10.0) * np.cumsum(x1 + memory + 7)
    assert (np.abs(forward["memories"][:, 0, 0] - memory) <= leak).all()
    assert (np.abs(forward["outputs"][:, 0, 0] - y) <= leak).all()
    assert leak.max() < 0.01
    assert case.targets[:, 0, 0].tolist() == y.tolist()
