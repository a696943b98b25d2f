"""Indices of set entries: what NumPy's own search gives, at every density."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.core.indices import indices_of


@pytest.mark.parametrize("size", [0, 1, 7, 8, 64, 1000, 4096, 4099])
@pytest.mark.parametrize("density", [0.0, 0.005, 0.03, 0.08, 0.2, 1.0])
def test_as_the_plain_search(size, density):
    rng = np.random.default_rng(size)
    for _ in range(5):
        mask = rng.random(size) < density
        np.testing.assert_array_equal(indices_of(mask), np.flatnonzero(mask))


def test_first_and_last_of_a_word():
    for number in range(8):
        mask = np.zeros(400, dtype=bool)
        mask[number::56] = True
        assert indices_of(mask).tolist() == list(range(number, 400, 56))
