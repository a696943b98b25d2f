"""Products a few rows at a time: the same numbers, and the same bits alone as in a stack."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.core.products import AT_ONCE, parts_of, product

SHAPES = [
    (5, 3, 2),
    (64, 73, 32),
    (256, 265, 32),
    (512, 40, 64),
    (257, 260, 32),
    (30, 40, 1000),
    (96, 1, 20_000),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_is_the_product_and_has_the_bits_it_has_alone(shape):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, rows, inner)), rng.normal(size=(2, 3, inner, columns))
    out = np.full((2, 3, rows, columns), np.nan)
    assert product(left, right, out) is out
    scale = np.abs(left) @ np.abs(right)
    assert (np.abs(out - np.einsum("cij,lcjk->lcik", left, right)) <= 1e-13 * scale).all()
    alone = np.empty((1, 1, rows, columns))
    for lane, case in np.ndindex(2, 3):
        product(left[case : case + 1], right[lane : lane + 1, case : case + 1], alone)
        assert alone[0, 0].tobytes() == out[lane, case].tobytes()


def test_parts_are_equal_and_small_wherever_they_can_be():
    for shape in SHAPES:
        parts, (rows, inner, columns) = parts_of(*shape), shape
        assert rows % parts == 0
        fewer = [rows // n for n in range(1, parts) if rows % n == 0]
        assert parts == 1 or rows // parts * inner * columns <= AT_ONCE
        assert all(each * inner * columns > AT_ONCE for each in fewer)
    assert parts_of(64, 73, 32) == 1
    assert parts_of(256, 265, 32) == 4
    assert parts_of(257, 260, 32) == 1  # a prime number of rows has no equal parts


def test_out_may_lie_between_other_things():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(2, 256, 200)), rng.normal(size=(2, 200, 64))
    around = np.zeros((2, 260, 64))
    product(left, right, around[:, 2:258])
    np.testing.assert_allclose(around[:, 2:258], left @ right, rtol=0, atol=1e-12)
    assert not around[:, :2].any()
    assert not around[:, 258:].any()
