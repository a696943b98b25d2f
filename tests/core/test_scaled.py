"""Numbers outside floating point: exactness, and independence of how a number is divided."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradlab.core.scaled import DEAD, add_scaled, ldexp, log2_of, log2_total, renormalise, window

EXPONENTS = st.integers(-20_000, 20_000)
MANTISSAS = st.floats(1e-60, 1e60)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_renormalising_changes_no_number(dtype):
    """Value by value as exact fractions: mantissa * 2^exponent before and after."""
    rng = np.random.default_rng(0)
    scale = 2.0 ** rng.integers(-100, 100, size=(2, 3, 1, 5))
    parts = [(rng.normal(size=(2, 3, 4, 5)) * scale).astype(dtype) for _ in range(2)]
    parts[0][0, 1, :, 2] = parts[1][0, 1, :, 2] = 0.0
    exponent = rng.integers(-(10**6), 10**6, size=(2, 3, 5))
    kept, old = [p.copy() for p in parts], exponent.copy()
    where = np.array([[True, True, False], [False, True, True]])
    renormalise(parts, exponent, where)
    for part, before in zip(parts, kept, strict=True):
        for place in np.ndindex(part.shape):
            lane, case, _, sample = place
            shift = int(exponent[lane, case, sample] - old[lane, case, sample])
            assert Fraction(float(part[place])) * Fraction(2) ** shift == Fraction(float(before[place]))
            if not where[lane, case]:
                assert shift == 0
    peak = np.maximum(*(np.abs(p).max(axis=2) for p in parts))[where]
    assert ((peak == 0) | ((peak >= 0.5) & (peak < 1))).all()


@given(MANTISSAS, EXPONENTS)
def test_log2_of_a_square(square, exponent):
    got = log2_of(np.array(square), np.array(exponent))
    np.testing.assert_allclose(got, 0.5 * math.log2(square) + exponent, rtol=1e-15, atol=1e-14)


@given(MANTISSAS, EXPONENTS, st.integers(-200, 200))
def test_log2_does_not_depend_on_the_division(square, exponent, moved):
    """The same number with another power of two has the same logarithm, bit for bit."""
    one = log2_of(np.array(square), np.array(exponent))
    assert one == log2_of(np.array(math.ldexp(square, 2 * moved)), np.array(exponent - moved))


@given(st.lists(st.tuples(st.one_of(st.just(0.0), MANTISSAS), EXPONENTS), min_size=1, max_size=6))
def test_log2_of_a_total_against_exact_sums(terms):
    squares, exponents = (np.array(x) for x in zip(*terms, strict=True))
    got = log2_total(squares, exponents)
    exact = sum(Fraction(s) * Fraction(4) ** e for s, e in terms)
    if exact == 0:
        assert got == -np.inf
        return
    bits = exact.numerator.bit_length() - exact.denominator.bit_length()
    mantissa = float(exact / Fraction(2) ** bits)
    np.testing.assert_allclose(got, 0.5 * (bits + math.log2(mantissa)), rtol=1e-15, atol=1e-14)


@given(
    st.floats(allow_nan=False),
    st.one_of(st.integers(-2300, 2300), st.sampled_from([DEAD, -DEAD, 2**62, -(2**62)])),
)
def test_times_a_power_of_two_is_the_nearest_number(number, power):
    try:
        expected = math.ldexp(number, power)
    except OverflowError:
        expected = math.copysign(math.inf, number)
    with np.errstate(all="ignore"):
        got = ldexp(np.full(9, number), np.full(9, power))
    assert got.tolist() == [expected] * 9
    assert np.signbit(got).tolist() == [math.copysign(1.0, expected) < 0] * 9


SIGNED = st.one_of(st.just(0.0), st.floats(-1e60, -1e-60), st.floats(1e-60, 1e60))
PAIRS = st.one_of(st.just((0.0, 0.0)), st.tuples(SIGNED, SIGNED))
POWERS = st.one_of(st.just(0), st.integers(-300, 300), st.integers(-9000, 9000))


@given(PAIRS, PAIRS, PAIRS, POWERS, POWERS)
@example((1.0, 2.0), (0.0, 1.0), (0.0, 0.0), 0, 5000)
@example((0.0, 0.0), (0.0, 0.0), (1.0, -3.0), 5000, 0)
@example((0.0, 0.0), (1.0, 0.0), (1.0, -3.0), 0, -5000)
@example((0.0, 0.0), (0.0, 0.0), (1.0, 2.0), DEAD, 17)
@example((1.0, 2.0), (3.0, 4.0), (0.0, 0.0), 17, DEAD)
def test_a_sum_of_scaled_numbers_against_exact_sums(first, second, values, power, size):
    """To the unit in the last place of the largest; what is zero on a far scale hides nothing."""
    parts, powers = [np.array(pair)[:, None] for pair in (first, second)], np.array([power])
    add_scaled(parts, powers, np.array(values)[:, None], np.array([size]))

    def exact(pair, power):
        return [Fraction(x) * Fraction(2) ** power if x else Fraction(0) for x in pair]

    own, other, added = exact(first, power), exact(second, power), exact(values, size)
    expected = [[a + b for a, b in zip(own, added, strict=True)], other]
    largest = max(abs(x) for x in (*own, *other, *added))
    for part, wanted in zip(parts, expected, strict=True):
        for x, y in zip(exact(part[:, 0].tolist(), int(powers[0])), wanted, strict=True):
            assert abs(x - y) <= largest * Fraction(2) ** -52


def test_zero_is_minus_infinity_whatever_its_exponent():
    assert log2_of(np.array(0.0), np.array(9999)) == -np.inf
    assert log2_total(np.array([0.0, 0.0]), np.array([9999, -5])) == -np.inf


def test_a_dead_sample_with_a_high_exponent_hides_nothing():
    got = log2_total(np.array([0.0, 4.0]), np.array([5000, -5000]))
    assert got == -4999.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_windows_leave_room_for_squares_of_products(dtype):
    """A gradient is adjoint times state, summed; its square must stay in range."""
    w, largest = window(dtype), np.log2(float(np.finfo(dtype).max))
    assert 2 * (w.adjoint + w.accumulate + w.state) < largest
    assert -2 * (2 * w.adjoint) > np.log2(float(np.finfo(dtype).tiny))
