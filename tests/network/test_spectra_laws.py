"""The laws that spectrum families are named after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlab.network.spectra import registry


def draw(name: str, size: int, replicate: int = 0, **settings: Any) -> np.ndarray:
    return registry.build({"name": name, **settings}).draw(size, 11, replicate).matrix


def test_ginibre_fills_the_disc_evenly() -> None:
    moduli = np.abs(np.linalg.eigvals(draw("ginibre", 400, gain=1.0)))
    np.testing.assert_allclose([np.mean(moduli**2), np.mean(moduli < 0.5)], [0.5, 0.25], rtol=0.1)


def test_orthogonal_is_haar() -> None:
    """Moments of the trace: tr Q has mean 0 and variance 1, tr Q^2 has mean 1 (n >= 2)."""
    draws = [draw("orthogonal", 5, k, radius=1.0) for k in range(1200)]
    traces = np.array([np.trace(q) for q in draws])
    squares = np.array([np.trace(q @ q) for q in draws])
    assert all(np.abs(q @ q.T - np.eye(5)).max() < 1e-14 for q in draws)
    assert abs(traces.mean()) < 4 / np.sqrt(1200)
    assert abs(np.mean(traces**2) - 1.0) < 4 * np.sqrt(2.0 / 1200)
    assert abs(squares.mean() - 1.0) < 4 * squares.std() / np.sqrt(1200)
    firsts = np.array([q[0, 0] for q in draws])  # without the sign correction it has one sign only
    np.testing.assert_allclose(np.mean(firsts > 0), 0.5, atol=4 * 0.5 / np.sqrt(1200))
    np.testing.assert_allclose(np.mean(firsts**2), 1 / 5, rtol=0.15)
    np.testing.assert_allclose(np.mean([np.linalg.det(q) > 0 for q in draws]), 0.5, atol=0.06)


@pytest.mark.parametrize("name", ["symmetric", "antisymmetric"])
def test_semicircle(name: str) -> None:
    w = draw(name, 400, gain=1.0)
    assert np.array_equal(w.T, w if name == "symmetric" else -w)
    levels = np.linalg.eigvalsh(w if name == "symmetric" else 1j * w)
    np.testing.assert_allclose([levels.min(), levels.max()], [-2.0, 2.0], rtol=0.05)
    np.testing.assert_allclose([np.mean(levels**2), np.mean(levels**4)], [1.0, 2.0], rtol=0.05)


@pytest.mark.parametrize("size", [1, 6, 7])
def test_normal_ring_lies_on_the_circle(size: int) -> None:
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(draw("normal", size, radius=0.9))), 0.9, rtol=1e-13)


def test_normal_disc_is_uniform() -> None:
    moduli = np.abs(np.linalg.eigvals(draw("normal", 401, eigenvalues="disc")))
    assert moduli.max() <= 1.0
    np.testing.assert_allclose(np.mean(moduli**2), 0.5, rtol=0.12)


@pytest.mark.parametrize("name", ["normal", "nonnormal"])
def test_listed_eigenvalues_are_had(name: str) -> None:
    listed = [0.5, [0.3, 0.4], -0.25, [0.9, 0]]
    wanted = np.array([0.5, 0.3 + 0.4j, 0.3 - 0.4j, -0.25, 0.9])
    matrix = draw(name, 5, eigenvalues=listed)
    np.testing.assert_allclose(
        np.sort_complex(np.linalg.eigvals(matrix)), np.sort_complex(wanted), rtol=1e-10
    )
    scaled = draw(name, 5, eigenvalues=listed, radius=1.8)
    np.testing.assert_allclose(scaled, 2.0 * matrix, rtol=1e-9)


def test_nonnormal_grows_before_it_decays() -> None:
    w = draw("nonnormal", 64, radius=0.9, feed_forward=2.0)
    powers = [np.linalg.norm(np.linalg.matrix_power(w, k), 2) for k in range(1, 400)]
    assert max(powers) > 10.0
    assert powers[-1] < 1e-3


def test_feed_forward_is_relative_and_orders_the_departure() -> None:
    departures = [
        registry.build({"name": "nonnormal", "feed_forward": f, "radius": r}).draw(32, 0, 0).henrici_departure
        for f in (0.0, 0.5, 1.0, 4.0)
        for r in (0.5, 2.0)
    ]
    assert departures[::2] == departures[1::2]
    assert departures[0] < 1e-13
    assert departures[::2] == sorted(departures[::2])
    assert departures[-1] > 0.9


def test_singular_values_are_spread_as_said() -> None:
    values = np.linalg.svd(draw("singular", 9, spread=0.25), compute_uv=False)
    np.testing.assert_allclose(values, np.linspace(1.25, 0.75, 9), rtol=1e-13)
    assert draw("singular", 1, spread=0.25) in (-1.0, 1.0)


def test_delay_line_is_a_chain_that_ends() -> None:
    w = draw("delay_line", 5, norm=0.5)
    assert np.array_equal(w, 0.5 * np.eye(5, k=-1))
    assert np.linalg.norm(np.linalg.matrix_power(w, 4), 2) == 0.5**4
    assert not np.linalg.matrix_power(w, 5).any()
    drawn = registry.build({"name": "delay_line", "norm": 2.0}).draw(64, 0, 0)
    assert (drawn.radius, drawn.norm, drawn.henrici_departure) == (0.0, 2.0, 1.0)


def test_sparse_rows_have_their_connections() -> None:
    w = draw("sparse", 60, gain=1.0, connections=7)
    assert (np.count_nonzero(w, axis=1) == 7).all()
    assert np.count_nonzero(w.any(axis=0)) > 50, "columns are chosen at random"
    full = draw("sparse", 40, gain=1.0, connections=40)
    assert np.count_nonzero(full) == 1600


def test_heavy_tails() -> None:
    with_variance = np.abs(draw("heavy_tailed", 300, gain=1.0, nu=5.0)) * np.sqrt(300)
    np.testing.assert_allclose(np.sqrt(np.mean(with_variance**2)), 1.0, rtol=0.03)
    cauchy = np.abs(draw("heavy_tailed", 300, gain=2.0, nu=1.0)) * np.sqrt(300)
    np.testing.assert_allclose(np.median(cauchy), 2.0, rtol=0.03)  # the scale parameter of a Cauchy law
    assert cauchy.max() > 1e3


def test_low_rank_has_its_rank() -> None:
    values = np.linalg.svd(draw("low_rank", 50, gain=1.0, rank=3, noise=0.0), compute_uv=False)
    assert values[2] > 1.0
    assert values[3] < 1e-12
    noisy = np.linalg.svd(draw("low_rank", 50, gain=1.0, rank=3, noise=0.5), compute_uv=False)
    assert noisy[3] > 0.1
    np.testing.assert_allclose(
        draw("low_rank", 300, gain=1.0, rank=40, noise=1.0).std() * np.sqrt(300), 1.0, rtol=0.05
    )


def test_constant_is_all_ones() -> None:
    assert np.array_equal(draw("constant", 3, value=1.0), np.ones((3, 3)))
    np.testing.assert_allclose(draw("constant", 4, radius=1.0), np.full((4, 4), 0.25), rtol=1e-15)
