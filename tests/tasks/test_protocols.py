"""Tasks with published protocols: places, ranges, classes, ends, and what a guess is worth.

Bounds of counts are five standard errors of the numbers drawn.
"""

from __future__ import annotations

import numpy as np
import pytest
from engine import task

from gradlab.core.errors import UserMistake

DRAWS = 20_000


def drawn(name, samples=DRAWS, **table):
    work = task(name, **table)
    return work, work.examples("training", 0, 0, 0, samples)


def assert_share(found, expected, draws=DRAWS):
    """Assert that a share found among so many draws is the one expected."""
    error = np.sqrt(np.maximum(expected * (1 - np.asarray(expected)), 1e-12) / draws)
    assert (np.abs(found - expected) < 5 * error).all(), (found, expected)


def assert_mean(values, expected):
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(values.size)


# --- adding and multiplication --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["hochreiter", "unit", "mean"])
def adding(request):
    work, e = drawn("adding", variant=request.param, length=60)
    return work, e, request.param


def marks(e):
    return e.inputs[:, 1] == 1.0


def test_lengths_of_adding(adding):
    work, e, variant = adding
    ends = e.weight.argmax(axis=0) + 1
    longest = {"hochreiter": 66, "unit": 60, "mean": 65}[variant]  # T + T/10 may be, 1.1 T may not
    assert work.steps == longest
    assert (e.weight.sum(axis=0) == 1).all()
    assert_share(np.bincount(ends)[60:] / DRAWS, 1 / (longest - 59))


def test_marks_of_adding(adding):
    _, e, variant = adding
    places = [np.flatnonzero(column) for column in marks(e).T]
    first, second = np.array([p for p in places if len(p) == 2]).T
    if variant == "hochreiter":
        assert max(first.max(), second.max()) == 29  # the first T/2 - 1 besides the other mark
        assert first.min() == 1  # the first step's own marker is -1
        ends = e.weight.argmax(axis=0)
        np.testing.assert_array_equal(e.inputs[0, 1], -1.0)
        np.testing.assert_array_equal(e.inputs[ends, 1, np.arange(DRAWS)], -1.0)
        assert set(np.unique(e.inputs[:, 1])) == {-1.0, 0.0, 1.0}
        assert_share(np.mean([len(p) == 1 for p in places]), 0.1 + 0.9 / 29)
        assert (first < 10).all()
    else:
        assert len(first) == DRAWS
        cut, last = (30, 60) if variant == "unit" else (6, 30)
        assert_share(np.bincount(first) / DRAWS, 1 / cut)
        assert_share(np.bincount(second)[cut:] / DRAWS, 1 / (last - cut))
        assert second.min() == cut
        assert set(np.unique(e.inputs[:, 1])) == {0.0, 1.0}


def test_targets_of_adding(adding):
    _, e, variant = adding
    total = (e.inputs[:, 0] * marks(e)).sum(axis=0)
    expected = {"hochreiter": 0.5 + total / 4, "unit": total, "mean": total / 2}[variant]
    np.testing.assert_allclose(e.targets.sum(axis=(0, 1)), expected, rtol=1e-14, atol=0)


def test_numbers_of_adding(adding):
    work, e, variant = adding
    lowest = -1.0 if variant == "hochreiter" else 0.0
    values = e.inputs[: work.length, 0]
    assert lowest <= values.min() < lowest + 1e-4
    assert 1 - 1e-4 < values.max() <= 1
    assert_mean(values, (1 + lowest) / 2)


def test_chance_of_adding(adding):
    work, e, variant = adding
    y = e.targets.sum(axis=(0, 1))
    assert_mean((y - (1.0 if variant == "unit" else 0.5)) ** 2, work.chance())
    published = {"hochreiter": 1 / 24, "unit": 1 / 6, "mean": 1 / 24}[variant]
    np.testing.assert_allclose(
        work.chance(), published, rtol=0.07 if variant == "hochreiter" else 1e-15, atol=0
    )
    outputs = np.full((len(work.looks()), 1, 1, DRAWS), 1.0 if variant == "unit" else 0.5)
    wrong, count = work.metric_of(outputs, e)
    assert count == DRAWS
    assert_share(wrong / count, work.baselines(0, 0)["constant"])


@pytest.mark.parametrize("variant", ["hochreiter", "unit", "mean"])
def test_multiplication(variant):
    work, e = drawn("multiplication", variant=variant, length=60)
    y = e.targets.sum(axis=(0, 1))
    product = np.where(marks(e), e.inputs[:, 0], 1.0).prod(axis=0)  # the one hidden on the first step is 1
    np.testing.assert_allclose(y, product, rtol=1e-14, atol=0)
    assert e.inputs[:, 0].min() >= 0
    assert_mean((y - y.mean()) ** 2, work.chance())
    shares = []
    for constant in (0.02, 0.04, 0.06, y.mean()):
        wrong, count = work.metric_of(np.full((len(work.looks()), 1, 1, DRAWS), constant), e)
        shares.append(wrong / count)
    assert_share(shares[1], work.baselines(0, 0)["constant"])
    assert min(shares) == shares[1]  # no other one does better


@pytest.mark.parametrize(("variant", "shortest"), [("hochreiter", 22), ("unit", 2), ("mean", 10)])
def test_the_shortest_sequence_has_a_place_for_every_mark(variant, shortest):
    e = drawn("adding", 500, variant=variant, length=shortest)[1]
    assert (marks(e).sum(axis=0) >= 1).all()
    with pytest.raises(UserMistake, match=rf"task\.length: expected an integer of at least {shortest} for"):
        task("adding", variant=variant, length=shortest - 1)
    with pytest.raises(
        UserMistake, match=r"task\.variant: expected the name of a variant.*Did you mean 'unit'"
    ):
        task("adding", variant="unitt")


# --- temporal order, random permutation -----------------------------------------------------------------


@pytest.mark.parametrize(("bits", "tenths"), [(2, (1, 5)), (3, (1, 3, 6))])
@pytest.mark.parametrize("length", [10, 50, 57])
def test_temporal_order(bits, tenths, length):
    work, e = drawn("temporal_order", bits=bits, length=length)
    symbols = e.inputs.argmax(axis=1)
    np.testing.assert_array_equal(e.inputs.sum(axis=1), 1.0)
    assert (work.features, work.n_outputs) == (6, 2**bits)
    counts = (symbols < 2).sum(axis=0)
    assert (counts == bits).all()
    places = np.array([np.flatnonzero(column < 2) for column in symbols.T]).T
    classes = np.zeros(DRAWS, dtype=int)
    for tenth, place in zip(tenths, places, strict=True):
        low, high = tenth * length // 10, (tenth + 1) * length // 10
        assert (place.min(), place.max()) == (low, high - 1)
        assert_share(np.bincount(place)[low:] / DRAWS, 1 / (high - low))
        classes = 2 * classes + symbols[place, np.arange(DRAWS)]
    np.testing.assert_array_equal(e.targets[-1], classes)
    assert_share(np.bincount(classes) / DRAWS, 0.5**bits)
    assert_share(np.bincount(symbols[0])[2:] / DRAWS, 1 / 4)
    np.testing.assert_allclose(work.chance(), bits * np.log(2), rtol=1e-15, atol=0)
    assert work.baselines(0, 0) == {"constant": 1 - 0.5**bits}


def test_mistakes_of_temporal_order():
    with pytest.raises(UserMistake, match=r"task\.bits: expected 2 or 3, got 4"):
        task("temporal_order", bits=4)
    with pytest.raises(UserMistake, match=r"task\.length: expected an integer of at least 10, got 9"):
        task("temporal_order", length=9)


def test_random_permutation():
    work, e = drawn("random_permutation", 5000, length=20)
    symbols = e.inputs.argmax(axis=1)
    assert e.inputs.shape == (20, 100, 5000)
    np.testing.assert_array_equal(e.targets[-1], symbols[0])
    assert_share(symbols[0].mean(), 0.5, 5000)
    assert set(np.unique(symbols[1:])) == set(range(2, 100))
    assert_share(np.bincount(symbols[1:].ravel())[2:] / (19 * 5000), 1 / 98, 19 * 5000)
    assert work.chance() == np.log(2)


# --- recall -----------------------------------------------------------------------------------------------


def test_copy_memory():
    work, e = drawn("copy_memory", 5000, length=30)
    seen = e.inputs.argmax(axis=1)
    assert (work.steps, work.features, work.n_outputs) == (50, 10, 9)
    assert set(np.unique(seen[:10])) == set(range(8))
    np.testing.assert_array_equal(seen[10:39], 8)  # T - 1 blanks
    np.testing.assert_array_equal(seen[39], 9)
    np.testing.assert_array_equal(seen[40:], 8)
    np.testing.assert_array_equal(e.targets[:40], 8)  # T + 10 blanks
    np.testing.assert_array_equal(e.targets[40:], seen[:10])
    assert_share(np.bincount(seen[:10].ravel()) / 50_000, 1 / 8, 50_000)
    np.testing.assert_allclose(work.chance(), 10 * np.log(8) / 50, rtol=1e-15, atol=0)


def test_the_memoryless_loss_of_copy_memory_is_the_weighted_sum_over_its_steps():
    """Sure of the blanks, and of nothing afterwards: what the engine sums, by the task's own loss."""
    work, e = drawn("copy_memory", 7, length=30)
    outputs = np.zeros((50, 1, 9, 7))
    outputs[:40, :, 8] = 800.0
    outputs[40:, :, 8] = -800.0
    steps = zip(outputs, e.targets, e.weight, strict=True)
    loss = sum(work.loss_entry.evaluate(o, t[None])[0] * w for o, t, w in steps)
    np.testing.assert_allclose(loss, work.chance(), rtol=1e-14, atol=0)
    wrong, count = work.metric_of(outputs, e)
    assert count == 70
    assert wrong == (e.targets[40:] != 0).sum()  # of equals the first is taken


def test_noiseless_memorization():
    work, e = drawn("noiseless_memorization", 5000, n_pos=4, n_values=3, length=12)
    seen = e.inputs.argmax(axis=1)
    assert (work.steps, work.features, work.n_outputs) == (20, 5, 4)
    np.testing.assert_array_equal(seen[4:16], 3)  # as many blanks as the length says
    np.testing.assert_array_equal(seen[16], 4)
    np.testing.assert_array_equal(e.targets[:16], 3)
    np.testing.assert_array_equal(e.targets[16:], seen[:4])
    assert_share(np.bincount(seen[:4].ravel()) / 20_000, 1 / 3, 20_000)
    assert work.chance() == pytest.approx(4 * np.log(3) / 20, rel=1e-15)
    assert work.baselines(0, 0)["constant"] == pytest.approx(80 / 81, rel=1e-15)


def test_a_memorized_sequence_is_right_only_if_all_of_it_is():
    work, e = drawn("noiseless_memorization", 10, n_pos=4, n_values=3, length=12)
    outputs = np.eye(4)[e.targets].transpose(0, 2, 1)[:, None].copy()
    assert work.metric_of(outputs, e) == (0.0, 10)
    outputs[-2, :, :, :3] = np.roll(outputs[-2, :, :, :3], 1, axis=1)  # one symbol of three sequences
    assert work.metric_of(outputs, e) == (3.0, 10)
    outputs[0] = 0.0  # what is said before the marker does not count
    assert work.metric_of(outputs, e) == (3.0, 10)
