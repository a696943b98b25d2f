"""Factors of views: looking whether any may fall changes none of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from engine import clip
from hypothesis import example, given
from hypothesis import strategies as st

from gradlab.core.scaled import DEAD
from gradlab.learning.views import Views

CASES, BATCH = 2, 3
STEPS = st.lists(
    st.tuples(
        st.lists(st.floats(1e-38, 1e38), min_size=2 * CASES * BATCH, max_size=2 * CASES * BATCH),
        st.integers(-1200, 1200),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def views(threshold: float) -> Views:
    """Two lanes, each with its raw view and one that is rescaled."""
    rules = [clip("off"), clip("adjoint_norm", threshold=threshold)]
    return Views([rules, rules], CASES, BATCH)


def factors(known: Views) -> list[Fraction]:
    pairs = zip(known.mantissa.ravel().tolist(), known.exponent.ravel().tolist(), strict=True)
    return [Fraction(mantissa) * Fraction(2) ** power for mantissa, power in pairs]


# So small that they are rounded: what is just beyond the bound must not be taken for within.
@example([([1e38] * 12, 0, False), ([1e38 * (1 + 4e-6)] * 12, 0, False)], 2e-300)
@example([([1e-38] * 12, 0, False), ([1e-38 * (1 + 4e-6)] * 12, 0, False)], 1e-318)
@given(STEPS, st.sampled_from([1e-318, 2e-300, 1e-20, 0.1, 1.0, 1e200]))
def test_looking_first_changes_no_factor(steps: list, threshold: float) -> None:
    """Against views that find their factors anew at every time step, and against the rule itself."""
    quick, slow = views(threshold), views(threshold)
    slow._near = lambda squares, exponent: True
    allowed = [Fraction(1)] * (CASES * BATCH)
    for numbers, power, dies in steps:
        squares = np.array(numbers).reshape(2, CASES, BATCH)
        exponent = np.full(squares.shape, power)
        if dies:
            squares[0, 0, 0], exponent[0, 0, 0] = 0.0, DEAD
        for one in (quick, slow):
            with np.errstate(divide="ignore"):  # of dead samples, as where the engine calls it
                one.update(squares, exponent)
        assert factors(quick) == factors(slow)
        for sample, (square, size) in enumerate(zip(squares[1].flat, exponent[1].flat, strict=True)):
            length = Fraction(float(np.sqrt(square))) * Fraction(2) ** int(size)
            allowed[sample] = min(allowed[sample], Fraction(threshold) / length)
    np.testing.assert_array_equal(quick.acted, slow.acted)
    held = factors(quick)[-CASES * BATCH :]
    assert all(abs(got / most - 1) < 1e-15 for got, most in zip(held, allowed, strict=True))


@pytest.mark.parametrize("power", [0, -900, 900])
def test_factors_are_found_only_where_one_may_fall(monkeypatch: pytest.MonkeyPatch, power: int) -> None:
    known, found = views(1.0), []
    monkeypatch.setattr(np, "frexp", lambda x, frexp=np.frexp: (found.append(1), frexp(x))[1])
    exponent = np.full((2, CASES, BATCH), power)
    for square in (4.0, 3.99, 3.0, 3.9999999999, 4.000001):
        found.clear()
        known.update(np.full(exponent.shape, square), exponent)
        falls = square > 3.9999 and power >= 0
        assert bool(found) == falls


def test_a_factor_that_was_folded_in_falls_again() -> None:
    """From 4 to 1, folded in; then 2 must fall to 1 once more, and the lane beside it stays where it was."""
    known = Views([[clip("adjoint_norm", threshold=1.0)]] * 2, CASES, BATCH)
    exponent, adjoint = np.zeros((2, CASES, BATCH), dtype=np.int64), np.ones((CASES, 4, BATCH))
    known.update(np.full(exponent.shape, 16.0), exponent)
    known.fold(0, [adjoint], exponent[0])
    known.update(np.stack([np.full((CASES, BATCH), 4.0), np.full((CASES, BATCH), 0.25)]), exponent * 0)
    assert set(factors(known)[: CASES * BATCH]) == {Fraction(1, 2)}
    assert set(factors(known)[CASES * BATCH :]) == {Fraction(1, 4)}
    np.testing.assert_array_equal(np.ldexp(adjoint, exponent[0][:, None]), 0.25)
