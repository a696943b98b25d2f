"""Every loss: value and slope against formulas in exact or high precision."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.tasks.losses import registry

LOSSES = registry.names()


def evaluate(name, output, target):
    loss, slope = registry.build(name).evaluate(np.asarray(output), np.asarray(target))
    return loss, slope


def targets_for(name, shape, rng):
    cases, outputs, batch = shape
    kind = registry.get(name).target_kind
    return rng.integers(outputs, size=(cases, batch)) if kind == "classes" else rng.normal(size=shape)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_and_case_and_sample_independence(name):
    rng = np.random.default_rng(0)
    output = rng.normal(size=(3, 4, 5))
    target = targets_for(name, output.shape, rng)
    loss, slope = evaluate(name, output, target)
    assert loss.shape == (3, 5)
    assert slope.shape == (3, 4, 5)
    for c in range(3):
        for b in range(5):
            one = evaluate(name, output[c : c + 1, :, b : b + 1], target[c : c + 1, ..., b : b + 1])
            np.testing.assert_allclose(one[0][0, 0], loss[c, b], rtol=1e-14, atol=0)
            np.testing.assert_allclose(one[1][0, :, 0], slope[c, :, b], rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_case_has_the_same_bits_alone_and_in_a_stack(name):
    rng = np.random.default_rng(1)
    output = rng.normal(size=(7, 5, 3)) * np.geomspace(0.01, 300, 7)[:, None, None]
    target = targets_for(name, output.shape, rng)
    loss, slope = evaluate(name, output, target)
    for c in range(7):
        one_loss, one_slope = evaluate(name, output[c : c + 1], target[c : c + 1])
        assert one_loss.tobytes() == loss[c : c + 1].tobytes()
        assert one_slope.tobytes() == slope[c : c + 1].tobytes()


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_left_alone(name):
    rng = np.random.default_rng(2)
    output = rng.normal(size=(2, 3, 4))
    target = targets_for(name, output.shape, rng)
    kept = output.copy(), target.copy()
    evaluate(name, output, target)
    np.testing.assert_array_equal(output, kept[0])
    np.testing.assert_array_equal(target, kept[1])


def test_mse_by_hand():
    """Outputs (1, 3) against (0, 1): ((1)^2 + (2)^2)/2 = 2.5; slope 2 (o - y)/2 = (1, 2)."""
    loss, slope = evaluate("mse", [[[1.0], [3.0]]], [[[0.0], [1.0]]])
    assert loss.tolist() == [[2.5]]
    assert slope.tolist() == [[[1.0], [2.0]]]


def test_unit_by_hand():
    loss, slope = evaluate("unit", [[[1.0], [3.0]]], [[[0.6], [0.8]]])
    assert loss[0, 0] == pytest.approx(3.0, rel=1e-15)
    assert slope.tolist() == [[[0.6], [0.8]]]


@given(st.lists(st.floats(-600, 600), min_size=2, max_size=6), st.data())
def test_cross_entropy_against_exact_sums(outputs, data):
    """Against exactly rounded sums of exponentials, also where the target is nearly certain."""
    y = data.draw(st.integers(0, len(outputs) - 1))
    loss, slope = evaluate("cross_entropy", np.array(outputs)[None, :, None], np.array([[y]]))
    others = [
        Fraction(math.exp(o - outputs[y])) if o - outputs[y] < 700 else None
        for k, o in enumerate(outputs)
        if k != y
    ]
    if None in others:
        np.testing.assert_allclose(slope[0, y, 0], -1.0, rtol=1e-13, atol=0)
        np.testing.assert_allclose(loss[0, 0], max(outputs) - outputs[y], rtol=2e-3, atol=0)
        return
    rest = sum(others)
    np.testing.assert_allclose(loss[0, 0], math.log1p(rest), rtol=2e-13, atol=1e-300)  # below is subnormal
    np.testing.assert_allclose(slope[0, y, 0], -float(rest / (1 + rest)), rtol=2e-13, atol=1e-300)
    assert abs(slope.sum()) <= 1e-15 * len(outputs)


@pytest.mark.parametrize("gap", [1.0, 20.0, 40.0, 300.0, 690.0])
def test_cross_entropy_keeps_its_digits_when_the_target_is_nearly_certain(gap):
    """``softmax - 1`` is exactly 0 from a gap of 37 on; the truth is -exp(-gap)."""
    loss, slope = evaluate("cross_entropy", [[[gap], [0.0]]], [[0]])
    p = math.exp(-gap) / (1 + math.exp(-gap))
    np.testing.assert_allclose(slope[0, :, 0], [-p, p], rtol=1e-14, atol=0)
    np.testing.assert_allclose(loss[0, 0], math.log1p(math.exp(-gap)), rtol=1e-14, atol=0)


def test_cross_entropy_never_overflows():
    loss, slope = evaluate("cross_entropy", [[[1e300], [0.0], [-1e300]]], [[1]])
    np.testing.assert_allclose(loss, 1e300, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(slope[0, :, 0], [1.0, -1.0, 0.0])


def test_cross_entropy_of_equal_outputs_is_the_log_of_their_number():
    for q in (2, 3, 10):
        loss, slope = evaluate("cross_entropy", np.full((1, q, 1), 7.0), np.zeros((1, 1), dtype=int))
        np.testing.assert_allclose(loss, math.log(q), rtol=1e-15, atol=0)
        np.testing.assert_allclose(slope[0, :, 0], [1 / q - 1, *[1 / q] * (q - 1)], rtol=1e-15, atol=0)
