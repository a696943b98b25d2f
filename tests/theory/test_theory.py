"""Predictions against direct simulation with matrix powers."""

import numpy as np
import pytest

from gradlab.core.errors import UserMistake
from gradlab.theory import slopes

RNG = np.random.default_rng


def adjoint_norms(matrix, lags, seed=0):
    """log10 norms of (W^T)^k applied to one random vector; renormalised at every step."""
    vector = RNG(seed).standard_normal(matrix.shape[0])
    log, logs = np.log10(np.linalg.norm(vector)), []
    vector /= np.linalg.norm(vector)
    for _ in range(lags):
        logs.append(log)
        vector = matrix.T @ vector
        log += np.log10(np.linalg.norm(vector))
        vector /= np.linalg.norm(vector)
    return np.array(logs)


def ginibre(n, gain, seed=0):
    return RNG(seed).standard_normal((n, n)) * gain / np.sqrt(n)


@pytest.mark.parametrize("radius", [0.3, 0.97, 1.0, 1.5])
def test_orthogonal_slope_is_the_slope_at_every_lag(radius):
    q, _ = np.linalg.qr(ginibre(24, 1.0))
    steps = np.diff(adjoint_norms(radius * q, 200))
    np.testing.assert_allclose(10.0**steps, 10.0 ** slopes.orthogonal_slope(radius), rtol=1e-12, atol=0)


def test_orthogonal_slope_of_radius_zero_is_minus_infinity():
    np.testing.assert_array_equal(slopes.orthogonal_slope([0.0, 1.0]), [-np.inf, 0.0])


@pytest.mark.parametrize("bad", [-0.1, np.nan])
def test_negative_radius_is_refused(bad):
    with pytest.raises(UserMistake, match="radius: expected numbers of at least 0"):
        slopes.orthogonal_slope(bad)


@pytest.mark.parametrize(
    ("cell", "spectrum", "activation", "exact"),
    [
        ("elman", "orthogonal", "identity", True),
        ("elman", "identity", "identity", True),
        ("elman", "orthogonal", "tanh", False),
        ("elman", "symmetric", "identity", False),
        ("lstm", "orthogonal", "identity", False),
    ],
)
def test_where_the_slope_is_exact(cell, spectrum, activation, exact):
    assert slopes.is_exact(cell, spectrum, activation) is exact
