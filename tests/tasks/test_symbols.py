"""The task of symbols: one-hot inputs, and the next symbol as the target."""

from __future__ import annotations

import numpy as np
import pytest
from engine import case_of, network, probe_case, task

from gradlab.core.errors import UserMistake


def symbols(**table):
    return task("symbols", **{"features": 5, "batch": 40, "length": 100, **table})


def test_every_input_has_a_single_one():
    x = symbols().inputs(0, 100, 0, 0)
    assert x.shape == (100, 5, 40)
    np.testing.assert_array_equal(np.sort(x, axis=1)[:, :4], 0.0)
    np.testing.assert_array_equal(x.sum(axis=1), 1.0)
    np.testing.assert_array_equal(x.argmax(axis=1), symbols().symbols(0, 100, 0, 0))


def test_symbols_are_uniform_and_independent():
    drawn = task("symbols", features=4, batch=50).symbols(0, 1000, 0, 0)
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / drawn.size, 0.25, rtol=0.03, atol=0)
    pairs = np.bincount((4 * drawn[1:] + drawn[:-1]).ravel())
    np.testing.assert_allclose(pairs / pairs.sum(), 1 / 16, rtol=0.06, atol=0)


@pytest.mark.parametrize("field", ["seed", "replicate", "features", "batch"])
def test_symbols_depend_on_their_keys(field):
    keys = {"seed": 0, "replicate": 0, "features": 5, "batch": 40}

    def draw(**changed):
        k = {**keys, **changed}
        work = symbols(features=k["features"], batch=k["batch"])
        return work.symbols(0, 100, k["seed"], k["replicate"])[:, :40]

    one, other = draw(), draw(**{field: keys[field] + 1})
    assert 0.1 < (one == other).mean() < 0.3  # as often as chance has it


def test_the_target_is_the_next_symbol_also_across_the_end():
    work = symbols(length=7)
    one_hot = task("symbols", features=5, batch=40, length=7, loss="mse")
    for start, stop in [(0, 7), (6, 7), (2, 5)]:
        following = work.symbols(start + 1, stop + 1, 3, 1)
        np.testing.assert_array_equal(work.classes(start, stop, 3, 1), following)
        np.testing.assert_array_equal(one_hot.values(start, stop, 3, 1).argmax(axis=1), following)
    np.testing.assert_array_equal(one_hot.values(0, 6, 3, 1), work.inputs(1, 7, 3, 1))


def test_by_default_the_next_symbol_is_a_class():
    work = symbols()
    assert (work.loss, work.target, work.n_outputs) == ("cross_entropy", "next", 5)
    assert work.loss_entry.target_kind == "classes"


def test_random_targets_are_those_of_other_tasks():
    work, noise = symbols(target="random", outputs=3), task(features=5, outputs=3, batch=40, length=100)
    np.testing.assert_array_equal(work.classes(0, 9, 0, 0), noise.classes(0, 9, 0, 0))
    np.testing.assert_array_equal(work.values(0, 9, 0, 0), noise.values(0, 9, 0, 0))
    assert work.input_identity() == symbols().input_identity()
    assert work.identity() != symbols().identity()


def test_a_network_that_knows_nothing_loses_the_logarithm_of_the_alphabet():
    nothing = network(hidden=4, readout={"name": "constant", "value": 0.0})
    loss = probe_case(nothing, symbols(at="every", length=9))["loss"]
    np.testing.assert_allclose(loss, 9 * np.log(5.0), rtol=1e-14, atol=0)


def test_only_the_symbol_seen_has_a_gradient_by_the_input_weights():
    """One-hot inputs pick a column of U: a symbol that never comes teaches it nothing."""
    from engine import raw_gradients

    case = case_of(network(hidden=4), symbols(features=30, batch=2, length=5, at="every"))
    seen = np.unique(case.task.symbols(0, 5, 0, 0))
    moved = np.abs(raw_gradients(case)["weight_ih_l0"]).sum(axis=0) > 0
    np.testing.assert_array_equal(np.flatnonzero(moved), seen)
    assert len(seen) < 30


def test_mistakes():
    with pytest.raises(
        UserMistake, match=r'task\.target: expected "next" or "random", got \'nxt\'\. Did you mean \'next\'\?'
    ):
        symbols(target="nxt")
    with pytest.raises(
        UserMistake, match=r"task\.outputs: expected 5, one for each symbol .*, got 3\. Leave"
    ):
        symbols(outputs=3)
    with pytest.raises(UserMistake, match=r"task\.outputs: expected at least 2 classes for cross_entropy"):
        symbols(features=1)
