"""Numbers outside floating point: exactness, and independence of how a number is divided."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
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
POWERS = st.one_of(st.just(0), st.integers(-300, 300), st.integers(-9000, 9000), st.just(DEAD))


@given(st.lists(SIGNED, min_size=6, max_size=6), POWERS, POWERS)
def test_a_sum_of_scaled_numbers_against_exact_sums(numbers, power, size):
    """To the unit in the last place of the largest; what is zero on a far scale hides nothing."""
    zero = (power == DEAD, size == DEAD)  # what is dead is zero
    first, second, values = (np.array(numbers[i : i + 2])[:, None] for i in (0, 2, 4))
    first, second, values = first * (not zero[0]), second * (not zero[0]), values * (not zero[1])
    before = [[Fraction(float(x)) for x in part[:, 0]] for part in (first, second, values)]
    powers, sizes = np.array([power]), np.array([size])
    add_scaled([first, second], powers, values, sizes)
    common = max([p for p, parts in ((power, before[:2]), (size, before[2:])) if any(map(any, parts))] or [0])

    def on_common(numbers, power):
        return [x * Fraction(2) ** (power - common) if x else x for x in numbers]

    own, other, added = on_common(before[0], power), on_common(before[1], power), on_common(before[2], size)
    expected = [[a + b for a, b in zip(own, added, strict=True)], other]
    largest = max(abs(x) for x in (*own, *other, *added))
    for part, exact in zip((first, second), expected, strict=True):
        for x, y in zip(part[:, 0], exact, strict=True):
            got = on_common([Fraction(float(x))], int(powers[0]))[0]
            assert abs(got - y) <= largest * Fraction(2) ** -52


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
