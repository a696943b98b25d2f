"""Sums of outer products: exact scaling, and terms that may be spared."""

import numpy as np
import pytest

from gradlab.learning.accumulate import Sums
from gradlab.learning.clipping import registry as clips
from gradlab.measure.probe import Block, Run, View, probe
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import registry as tasks


def block(activation: str, cell: str, dtype: str) -> Block:
    runs = tuple(
        Run(
            NetworkSettings.build(
                {
                    "cell": cell,
                    "hidden": 6,
                    "activation": activation,
                    "dtype": dtype,
                    "spectrum": {"name": "ginibre", "radius": radius},
                }
            ),
            0,
            replicate,
        )
        for radius in (0.2, 0.6, 1.4)
        for replicate in range(2)
    )
    rules = (
        "off",
        {"name": "value", "threshold": 1e-3},
        {"name": "adjoint_norm", "threshold": 1e-2},
        {"name": "adjoint_value", "threshold": 1e-3},
    )
    views = tuple(
        View(
            tasks.build({"name": "noise", "length": length, "batch": 3, "features": 2, "at": at}),
            clips.build(rule),
        )
        for length, at in ((300, "final"), (160, [3, 150]))
        for rule in rules
    )
    return Block(runs, views)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("cell", "activation"), [("elman", "tanh"), ("elman", "logistic"), ("elman", "relu"), ("lstm", "tanh")]
)
def test_sparing_terms_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, cell: str, activation: str, dtype: str
) -> None:
    spared = 0
    original = Sums.unmoved_by

    def counting(self: Sums, size: np.ndarray, refresh: bool) -> np.ndarray:
        nonlocal spared
        result = original(self, size, refresh)
        spared += int(result.sum())
        return result

    whole = block(activation, cell, dtype)
    # Runs one by one, so that a view is spared as soon as its own case allows.
    parts = [Block((run,), whole.views) for run in whole.runs]
    monkeypatch.setattr("gradlab.learning.gradients.SPARING", 0)  # small as these networks are
    monkeypatch.setattr(Sums, "unmoved_by", counting)
    quick = [probe(part) for part in parts]
    together = probe(whole)
    if activation != "relu":  # whole columns of a rectified network's gradient may stay zero
        assert spared > 100
    monkeypatch.setattr(Sums, "unmoved_by", lambda self, size, refresh: np.zeros(len(size), dtype=bool))
    slow = probe(whole)
    for name, values in slow.items():
        np.testing.assert_array_equal(together[name], values, err_msg=name)
        np.testing.assert_array_equal(np.concatenate([part[name] for part in quick]), values, err_msg=name)


def test_a_term_at_the_bound_does_not_move_the_sum() -> None:
    """The bound is checked where it is tightest: entries that are powers of two, terms of both signs."""
    total = np.zeros((1, 1, 1, 2, 2))
    sums = Sums(total)
    sums.add(0, np.eye(2)[None, None], np.array([[[1.0, 2.0], [4.0, 0.5]]]))
    before = sums.total.copy()
    low = -1.0 - (np.finfo(np.float64).nmant + 4)
    size = np.array([[low]])
    assert sums.unmoved_by(size, refresh=True)[0]
    assert not sums.unmoved_by(size + 1e-9, refresh=False)[0]
    for sign in (1.0, -1.0):
        sums.add(0, np.full((1, 1, 2, 2), sign), np.full((1, 2, 2), 2.0 ** (low - 1)))
        np.testing.assert_array_equal(sums.total, before)


def test_a_zero_entry_is_never_passed_over() -> None:
    """Where an entry is still exactly zero, any term changes it."""
    sums = Sums(np.zeros((1, 1, 1, 2, 2)))
    sums.add(0, np.eye(2)[None, None], np.array([[[1.0, 0.0], [1.0, 1.0]]]))
    assert not sums.unmoved_by(np.array([[-1e6]]), refresh=True)[0]


def test_a_sum_follows_its_terms_far_below_and_far_above() -> None:
    """The first term sets the power of two, a larger one moves it, a smaller one is added in place."""
    sums = Sums(np.zeros((1, 1, 1, 1, 1)))
    one = np.ones((1, 1, 1, 1))
    for power, expected in ((-5000, -5000.0), (-4990, -4990.0 + np.log2(1 + 2.0**-10)), (3000, 3000.0)):
        scale = sums.scales(np.full((1, 1, 1), power), None)
        assert scale is not None
        sums.add(0, one * scale[0][:, None, :], one[0])
        value = np.log2(float(sums.total[0, 0, 0, 0, 0])) + float(sums.exponent[0, 0])
        np.testing.assert_allclose(value, expected, rtol=1e-15)
