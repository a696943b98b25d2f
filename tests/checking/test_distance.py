"""How far numbers are apart, at the edges of floating point."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.checking.distance import compare, distances, worst_first

INF, NAN = np.inf, np.nan
TINY = np.nextafter(0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "different", "apart"),
    [
        (1.0, 1.0, 0.0, False, -1.0),
        (NAN, NAN, 0.0, False, -1.0),
        (NAN, -NAN, 0.0, False, -1.0),
        (INF, INF, 0.0, False, -1.0),
        (0.0, -0.0, 0.0, False, 0.0),
        (0.0, TINY, 0.0, True, TINY),
        (INF, -INF, 1.0, True, INF),
        (INF, 1e308, 1.0, True, INF),
        (NAN, 1.0, 1e9, True, INF),
        (1.0, 1.5, 0.2, False, 0.2),  # 0.5 of 1 + 1.5
        (1.0, 1.5, 0.19, True, 0.2),
        (2.0**100, 2.0**101, 0.5, False, 0.5),
        (1e-30, 2e-30, 1e-29, False, 1e-30),
        (1e308, -1e308, 0.5, True, INF),
    ],
)
def test_one_number(a: float, b: float, tolerance: float, different: bool, apart: float) -> None:
    for one, other in ((a, b), (b, a)):
        found, gap = distances(np.array([one]), np.array([other]), tolerance)
        assert (bool(found[0]), float(gap[0])) == (different, apart)


def test_a_case_is_its_worst_number() -> None:
    a = np.zeros((3, 2, 2))
    b = a.copy()
    b[1, 0, 1], b[1, 1, 1], b[2, 0, 0] = 1e-9, 3.0, 1e-9
    found, gap = distances(a, b, 1e-6)
    assert found.tolist() == [False, True, False]
    assert gap.tolist() == [-1.0, 0.75, 1e-9 / (1 + 1e-9)]


def test_integers_and_texts_are_the_same_or_not() -> None:
    found, gap = distances(np.array([1, 2], np.int8), np.array([1, 3], np.int8), 10.0)
    assert (found.tolist(), gap.tolist()) == ([False, True], [-1.0, INF])
    text = np.dtypes.StringDType()
    found, gap = distances(np.array(["a", "b"], text), np.array(["a", "c"], text), 10.0)
    assert (found.tolist(), gap.tolist()) == ([False, True], [-1.0, INF])


def test_no_cases() -> None:
    assert compare("x", np.zeros((0, 3)), np.zeros((0, 3)), 0.0, lambda i: {}).identical == 0


def test_the_worst_is_named_and_comes_first() -> None:
    a = np.zeros(4)
    one = compare("one", a, np.array([0.0, 1.0, 5.0, 2.0]), 0.0, lambda i: {"case": i})
    other = compare("other", a, np.array([0.0, 0.0, 9.0, 0.0]), 10.0, lambda i: {"case": i})
    same = compare("same", a, a, 0.0, lambda i: {"case": i})
    assert (one.worst, one.at, one.identical, one.within, one.different) == (5 / 6, {"case": 2}, 1, 0, 3)
    assert (other.worst, other.within, other.different) == (0.9, 1, 0)
    assert (same.worst, same.at) == (0.0, {})
    assert [c.name for c in worst_first([same, one, other])] == ["other", "one", "same"]


def test_numbers_of_any_size_compare() -> None:
    large = compare("large", np.array([1e37]), np.array([1e37 * (1 + 1e-15)]), 1e-6, lambda i: {})
    small = compare("small", np.array([0.5]), np.array([0.5 + 1e-9]), 1e-6, lambda i: {})
    assert [c.name for c in worst_first([large, small])] == ["small", "large"]
