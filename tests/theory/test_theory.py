"""Predictions against direct simulation with matrix powers."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad

from gradlab.core.errors import UserMistake
from gradlab.theory import bounds, meanfield, slopes

RNG = np.random.default_rng


def adjoint_norms(matrix, lags, derivatives=None, seed=0):
    """log10 norms of (W^T D)^k applied to one random vector; renormalised at every step."""
    vector = RNG(seed).standard_normal(matrix.shape[0])
    log, logs = np.log10(np.linalg.norm(vector)), []
    vector /= np.linalg.norm(vector)
    for k in range(lags):
        logs.append(log)
        vector = matrix.T @ (vector if derivatives is None else derivatives[k] * vector)
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


@pytest.mark.parametrize("bias", [-40.0, -1.0, 0.0, 1.0, 5.0])
def test_lstm_memory_slope_is_the_forget_gate(bias):
    factor = 1.0 / (1.0 + np.exp(-bias))
    memory = factor ** np.arange(5)
    np.testing.assert_allclose(
        np.diff(np.log10(memory)), np.full(4, slopes.lstm_memory_slope(bias)), rtol=1e-12, atol=0
    )


def test_lstm_memory_slope_keeps_its_digits_for_open_gates():
    np.testing.assert_allclose(
        slopes.lstm_memory_slope(50.0), -np.exp(-50.0) / np.log(10.0), rtol=1e-14, atol=0
    )


def test_norm_bound_holds_and_the_radius_version_does_not():
    w = ginibre(40, 0.9)
    norm, radius = np.linalg.norm(w, 2), np.abs(np.linalg.eigvals(w)).max()
    logs = adjoint_norms(w, 30, RNG(1).uniform(0.9, 1.0, (30, 40)))
    growth, lags = logs - logs[0], np.arange(30)
    assert (growth <= bounds.norm_bound(norm, 1.0, lags) + 1e-12).all()
    powers = bounds.log10_power_norms(w, 10)
    assert (powers[1:] > bounds.norm_bound(radius, 1.0, np.arange(11))[1:]).all()


def test_norm_bound_counts_the_derivative():
    np.testing.assert_allclose(bounds.norm_bound(2.0, 0.25, [0, 1, 4]), [0.0, -np.log10(2), -4 * np.log10(2)])


def test_bound_of_zero_matrix_at_lag_zero_is_one():
    np.testing.assert_array_equal(bounds.norm_bound(0.0, 1.0, [0, 1, 2]), [0.0, -np.inf, -np.inf])


def test_symmetric_bound_is_the_norm_of_powers():
    a = ginibre(16, 1.0)
    w = a + a.T
    radius = np.abs(np.linalg.eigvalsh(w)).max()
    np.testing.assert_allclose(
        bounds.log10_power_norms(w, 50)[1:],
        bounds.symmetric_bound(float(radius), np.arange(51))[1:],
        rtol=1e-12,
        atol=0,
    )


def test_power_norms_show_transient_growth_and_leave_the_range_of_floats():
    w = np.array([[0.5, 10.0], [0.0, 0.5]])
    logs = bounds.log10_power_norms(w, 4000)
    assert logs[1] > 1.0
    assert logs[-1] < -1000
    # W^k = 0.5^k [[1, 20 k], [0, 1]]: its norm is 0.5^k times that of the second factor.
    expected = 4000 * np.log10(0.5) + np.log10(np.linalg.norm([[1, 20 * 4000.0], [0, 1]], 2))
    np.testing.assert_allclose(logs[-1], expected, rtol=1e-12, atol=0)


def test_power_norms_of_a_nilpotent_matrix_end():
    np.testing.assert_array_equal(bounds.log10_power_norms(np.eye(3, k=-1), 4), [0, 0, 0, -np.inf, -np.inf])


@pytest.mark.parametrize("call", [bounds.norm_bound, lambda n, _, k: bounds.symmetric_bound(n, k)])
def test_negative_lags_are_refused(call):
    with pytest.raises(UserMistake, match="lags: expected numbers of at least 0"):
        call(1.0, 1.0, [-1, 0])


def test_power_norms_refuse_a_matrix_that_is_not_square():
    with pytest.raises(UserMistake, match=r"matrix: expected finite numbers of shape \(2, 2\)"):
        bounds.log10_power_norms(np.ones((2, 3)), 4)


def relu(z):
    return np.maximum(z, 0.0)


def relu_derivative(z):
    return (z > 0).astype(float)


def tanh_derivative(z):
    return 1.0 / np.cosh(np.clip(z, -300, 300)) ** 2


def hard_tanh(z):
    return np.clip(z, -1.0, 1.0)


def hard_tanh_derivative(z):
    return (np.abs(z) < 1.0).astype(float)


def simulate(value, derivative, gain, drive, n=1500, warm=40, lags=12):
    """Slope of a wide Elman network with weights shared over time."""
    w, rng = ginibre(n, gain, 3), RNG(4)
    h, slopes_at = np.zeros(n), []
    for _ in range(warm + lags):
        z = w @ h + np.sqrt(drive) * rng.standard_normal(n)
        h = value(z)
        slopes_at.append(derivative(z))
    logs = adjoint_norms(w, lags + 1, slopes_at[::-1])
    return (logs[-1] - logs[0]) / lags


@pytest.mark.parametrize(
    ("value", "derivative", "gain", "drive"),
    [
        (np.tanh, tanh_derivative, 0.8, 0.5),
        (np.tanh, tanh_derivative, 1.5, 1.0),
        (np.tanh, tanh_derivative, 2.5, 0.1),
        (np.tanh, tanh_derivative, 5.0, 0.5),
        (hard_tanh, hard_tanh_derivative, 1.5, 0.1),
        (relu, relu_derivative, 1.2, 0.5),
    ],
)
def test_mean_field_slope_is_that_of_a_wide_network(value, derivative, gain, drive):
    predicted = meanfield.mean_field_slope(value, derivative, gain, drive)
    # Twelve steps of 1500 units: the mean of the log factor scatters by about 1 / sqrt(1500 * 12) / ln 10.
    np.testing.assert_allclose(simulate(value, derivative, gain, drive), predicted, rtol=0, atol=0.012)


@pytest.mark.parametrize(
    ("function", "edge", "tolerance"),
    [
        (tanh_derivative, 0.0, 1e-12),
        (hard_tanh, 1.0, 1e-6),
        (hard_tanh_derivative, 1.0, 5e-4),
        (np.cos, 0.0, 1e-12),
    ],
)
@pytest.mark.parametrize("variance", [1e-6, 0.3, 2.0, 90.0, 1e4])
def test_gaussian_means_are_those_of_adaptive_quadrature(function, edge, tolerance, variance):
    """Also where the function changes within a small part of a standard deviation."""

    def integrand(z):
        return function(np.sqrt(variance) * z) ** 2 * np.exp(-z * z / 2)

    parts = sorted({0.0, min(edge / np.sqrt(variance), 12.0), min(3 / np.sqrt(variance), 12.0), 12.0})
    halves = [
        quad(integrand, *ends, epsabs=0, epsrel=1e-13, limit=2000)[0] for ends in itertools.pairwise(parts)
    ]
    ours = meanfield.gaussian_mean(lambda z: function(z) ** 2, variance)
    np.testing.assert_allclose(ours, 2 * sum(halves) / np.sqrt(2 * np.pi), rtol=tolerance, atol=0)


def test_the_mean_field_slope_of_the_sine_has_a_closed_form_far_above_criticality():
    predicted = meanfield.mean_field_slope(np.sin, np.cos, 12.0)
    np.testing.assert_allclose(predicted, np.log10(12**2 / 2) / 2, rtol=1e-12, atol=0)


def test_relu_slope_agrees_with_quadrature_below_at_and_above_criticality():
    for gain in (0.5, np.sqrt(2.0), 3.0):
        by_quadrature = meanfield.mean_field_slope(relu, relu_derivative, gain, 0.3)
        np.testing.assert_allclose(10**by_quadrature, 10 ** meanfield.relu_slope(gain), rtol=1e-12, atol=0)


def test_linear_mean_field_is_the_gain():
    slope = meanfield.mean_field_slope(lambda z: z, np.ones_like, 0.7)
    np.testing.assert_allclose(slope, np.log10(0.7), rtol=1e-12, atol=0)


def test_stationary_variance_of_tanh_dies_below_gain_one_and_solves_its_equation_above():
    assert meanfield.stationary_variance(np.tanh, 0.9) == 0.0
    q = meanfield.stationary_variance(np.tanh, 1.7)
    samples = np.tanh(np.sqrt(q) * RNG(0).standard_normal(400_000))
    np.testing.assert_allclose(1.7**2 * np.mean(samples**2), q, rtol=5e-3, atol=0)


def test_stationary_variance_of_growing_activity_is_infinite():
    assert meanfield.stationary_variance(relu, 1.6, 0.1) == np.inf


@pytest.mark.parametrize(("gain", "drive", "where"), [(-1.0, 0.0, "gain"), (1.0, np.nan, "drive")])
def test_mean_field_refuses_what_is_no_gain_or_drive(gain, drive, where):
    with pytest.raises(UserMistake, match=f"{where}: expected a finite number of at least 0"):
        meanfield.mean_field_slope(np.tanh, tanh_derivative, gain, drive)
