"""The extended Kalman filter: against closed forms of Bayesian regression."""

from __future__ import annotations

import numpy as np
import pytest
from engine import network, task

from gradlab.core.errors import UserMistake
from gradlab.learning.learners import registry
from gradlab.learning.learners.kalman import Kalman, kalman_update, unit_groups
from gradlab.network.cells import registry as cells

RANDOM = np.random.RandomState(0)


def filtered(weights, covariances, columns, observations, *, process=0.0, noise=0.3):
    """Run the filter over a linear model, whose derivatives are its inputs."""
    for jacobian, target in observations:
        outputs = sum(jacobian[own].T @ w for own, w in zip(columns, weights, strict=True))
        weights, covariances = kalman_update(
            weights,
            covariances,
            [jacobian[own] for own in columns],
            target - outputs,
            process_noise=process,
            measurement_noise=noise,
        )
    return weights, covariances


def observations(count, weights, outputs):
    return [
        (RANDOM.standard_normal((weights, outputs)), RANDOM.standard_normal(outputs)) for _ in range(count)
    ]


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("noise", [0.3, "matrix"])
def test_a_linear_model_is_bayesian_ridge_regression(outputs, noise):
    prior, mean = 2.5, RANDOM.standard_normal(6)
    if noise == "matrix":
        root = RANDOM.standard_normal((outputs, outputs))
        noise = root @ root.T + np.eye(outputs)
    seen = observations(15, 6, outputs)
    (got,), (covariance,) = filtered([mean], [prior * np.eye(6)], [slice(0, 6)], seen, noise=noise)
    inverse = np.linalg.inv(np.eye(outputs) * noise if np.ndim(noise) == 0 else noise)
    precision = np.eye(6) / prior + sum(h @ inverse @ h.T for h, _ in seen)
    wanted = np.linalg.solve(precision, mean / prior + sum(h @ inverse @ d for h, d in seen))
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=0)
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(covariance, covariance.T)


def test_decoupled_is_global_where_groups_are_independent():
    """No observation sees weights of two groups, so no covariance between them ever arises."""
    groups = [np.array([0, 3]), np.array([1, 2, 4])]
    seen = []
    for i, (jacobian, target) in enumerate(observations(12, 5, 1)):
        jacobian[groups[i % 2]] = 0.0
        seen.append((jacobian, target))
    prior = np.diag(RANDOM.uniform(0.5, 2.0, 5))
    start = RANDOM.standard_normal(5)
    (whole,), (covariance,) = filtered([start], [prior], [slice(0, 5)], seen, process=0.01)
    parts, covariances = filtered(
        [start[g] for g in groups], [prior[np.ix_(g, g)] for g in groups], groups, seen, process=0.01
    )
    for own, part, left in zip(groups, parts, covariances, strict=True):
        np.testing.assert_allclose(part, whole[own], rtol=1e-12, atol=0)
        np.testing.assert_allclose(left, covariance[np.ix_(own, own)], rtol=1e-12, atol=1e-15)
    # The negative control: where both are seen at once, they are not the same.
    mixed = observations(12, 5, 1)
    (whole,), _ = filtered([start], [prior], [slice(0, 5)], mixed)
    parts, _ = filtered([start[g] for g in groups], [prior[np.ix_(g, g)] for g in groups], groups, mixed)
    assert np.abs(parts[0] - whole[groups[0]]).max() > 1e-3


def test_one_update_by_the_equations():
    """A, K and P as they are written, with an explicit inverse."""
    sizes, outputs, noise, process = (3, 2), 2, 0.7, 0.05
    weights = [RANDOM.standard_normal(n) for n in sizes]
    roots = [RANDOM.standard_normal((n, n)) for n in sizes]
    covariances = [root @ root.T for root in roots]
    jacobians, error = [RANDOM.standard_normal((n, outputs)) for n in sizes], RANDOM.standard_normal(outputs)
    A = np.linalg.inv(
        noise * np.eye(outputs) + sum(h.T @ p @ h for h, p in zip(jacobians, covariances, strict=True))
    )
    moved, left = kalman_update(
        weights, covariances, jacobians, error, process_noise=process, measurement_noise=noise
    )
    for w, p, h, got, remaining in zip(weights, covariances, jacobians, moved, left, strict=True):
        K = p @ h @ A
        np.testing.assert_allclose(got, w + K @ error, rtol=1e-12, atol=0)
        wanted = p - K @ h.T @ p + process * np.eye(len(w))
        np.testing.assert_allclose(remaining, wanted, rtol=1e-11, atol=1e-13)


def test_process_noise_keeps_the_filter_awake():
    """Without it the variance of a weight seen n times is 1 / (1 / P + n / R); with it, it has a floor."""
    seen = [(np.ones((1, 1)), np.zeros(1))] * 200
    _, (without,) = filtered([np.zeros(1)], [np.eye(1)], [slice(0, 1)], seen, noise=1.0)
    np.testing.assert_allclose(without, 1.0 / 201.0, rtol=1e-12, atol=0)
    _, (kept,) = filtered([np.zeros(1)], [np.eye(1)], [slice(0, 1)], seen, noise=1.0, process=0.01)
    floor = (0.01 + np.sqrt(0.01**2 + 4 * 0.01)) / 2  # the positive root of P^2 - Q P - Q R
    np.testing.assert_allclose(kept, floor, rtol=1e-9, atol=0)


@pytest.mark.parametrize("cell", cells.names())
def test_units_share_out_all_entries(cell):
    entry = cells.build(cell)
    blocks, n, columns, outputs = len(entry.row_blocks), 4, 7, 3
    shapes = [(blocks * n, columns), *[(len(entry.diagonals) * n, 1)] * bool(entry.diagonals)]
    groups = unit_groups(entry, n, 1, [*shapes, (outputs, n + 1)])
    size = blocks * n * columns + len(entry.diagonals) * n + outputs * (n + 1)
    assert len(groups) == n + outputs
    np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(size))
    affine = np.arange(blocks * n * columns).reshape(blocks, n, columns)
    np.testing.assert_array_equal(groups[1][: blocks * columns], affine[:, 1].ravel())
    np.testing.assert_array_equal(groups[-1], np.arange(size - (n + 1), size))


def test_units_of_several_layers_with_an_embedding():
    """Two directions of two units with 6 columns each, 1 output, a table of 3 rows and 4 columns."""
    groups = unit_groups(cells.build("elman"), 2, 2, [(2, 6), (2, 6), (1, 5), (3, 4)])
    assert [len(group) for group in groups] == [6] * 4 + [5] + [4] * 3
    np.testing.assert_array_equal(np.concatenate(groups), np.arange(2 * 12 + 5 + 12))


def test_what_it_refuses():
    for table in (
        {"groups": "layer"},
        {"measurement_noise": 0},
        {"process_noise": -1},
        {"initial_covariance": 0},
    ):
        with pytest.raises(UserMistake, match=next(iter(table))):
            registry.build({"name": "kalman", **table})
    with pytest.raises(UserMistake, match="softmax"):
        Kalman().check_network(network(hidden=4, output="softmax"), "learner")
    Kalman().check_network(network(hidden=4, output="logistic"), "learner")
    settings, job = network(hidden=8), task(features=2, outputs=1, batch=1)
    assert Kalman("unit").bytes_needed(settings, job) < Kalman().bytes_needed(settings, job) / 4
