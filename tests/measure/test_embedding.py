"""An embedding: a vector of its own for every symbol, and the gradients by the table and by what reads it."""

from __future__ import annotations

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from engine import assert_norms, case_of, network, probe_case, task

from gradlab.measure.probe import Block, Run, View, probe

CELLS = ("elman", "lstm", "gru", "jordan", "peephole_lstm", "antisymmetric")


def embedded(cell="elman", **table):
    spectrum = {"name": "ginibre", "gain": 1.2}
    return network(**{"cell": cell, "hidden": 4, "embedding": 3, "spectrum": spectrum, **table})


def symbols(**table):
    return task("symbols", **{"features": 7, "batch": 3, "length": 6, "at": "every", **table})


def test_looking_up_is_the_product_with_one_hot_vectors():
    case = case_of(embedded(), symbols())
    table, drawn = case.parameters["weight_embedding"], case.task.symbols(0, 6, 0, 0)
    assert table.shape == (3, 7)
    np.testing.assert_array_equal(case.inputs @ table.T, table.T[drawn])


def test_the_network_reads_the_vectors_looked_up():
    case = case_of(embedded(bias={"name": "normal", "gain": 0.4}), symbols())
    p, state = case.parameters, np.zeros((3, 4))
    looked_up = p["weight_embedding"].T[case.task.symbols(0, 6, 0, 0)]
    for x, states in zip(looked_up, case.forward()["states"], strict=True):
        state = np.tanh(state @ p["weight_hh_l0"].T + x @ p["weight_ih_l0"].T + p["bias_ih_l0"])
        np.testing.assert_allclose(states, state, rtol=1e-12, atol=0)


def test_a_table_of_ones_in_place_of_symbols_is_no_embedding():
    """Without it the one-hot vectors themselves are read: another width, and no table."""
    plain = case_of(network(hidden=4), symbols()).parameters
    assert plain["weight_ih_l0"].shape == (4, 7)
    assert "weight_embedding" not in plain


def gradients(case):
    """Return the gradients by all parameters and by the table, in reverse mode over the naive equations."""
    problem, parameters = oracles.problem_of(case)
    table = case.parameters["weight_embedding"]
    nudges = {"z": np.zeros((6, 4 * oracles.STEPS[problem["cell"]][1], 3)), "h": np.zeros((6, 4, 3))}

    def loss(parameters, table):
        read = problem | {"inputs": anp.matmul(table, problem["inputs"])}
        return oracles.simulate(anp, read, parameters, nudges)[0]

    return (*autograd.grad(loss, (0, 1))(parameters, table),)


def norm(*arrays):
    return np.sqrt(sum((array**2).sum() for array in arrays))


@pytest.mark.parametrize("cell", CELLS)
def test_the_norm_of_all_gradients(cell):
    case = case_of(embedded(cell), symbols())
    by_parameter, by_table = gradients(case)
    got = probe_case(case.network, case.task)
    assert_norms(got["log10_gradient_norm"], norm(*by_parameter.values(), by_table), 1e-12)
    without = norm(*by_parameter.values())
    assert norm(by_table) > 1e-3 * without  # or the table's share would not show


def test_every_gradient_by_itself():
    """Clipping by value acts on single entries, so its norm knows where each of them stands."""
    from gradlab.learning.clipping import registry as clipping

    case = case_of(embedded(), symbols())
    by_parameter, by_table = gradients(case)
    for threshold in (1e-4, 0.01, 0.1):
        rule = clipping.build({"name": "value", "threshold": threshold}, "clip")
        got = probe_case(case.network, case.task, rule)["log10_clipped_gradient_norm"]
        clipped = [np.clip(g, -threshold, threshold) for g in (*by_parameter.values(), by_table)]
        assert_norms(got, norm(*clipped), 1e-12, str(threshold))


@pytest.mark.parametrize(
    "learner", [{"name": "truncated", "window": 6}, {"name": "rtrl"}], ids=lambda table: table["name"]
)
def test_exact_learners_make_the_same_gradient(learner):
    from gradlab.learning.clipping import registry as clipping
    from gradlab.learning.learners import registry as learners

    run, off = Run(embedded(), 0, 0), clipping.build({"name": "off"}, "clip")
    views = (View(symbols(), off), View(symbols(), off, learners.build(learner, "learner")))
    records = probe(Block((run,), views))
    whole, own = records["log10_gradient_norm"][0]
    np.testing.assert_allclose(own, whole, rtol=0, atol=1e-13)
    assert records["learner_bias"][0, 1] < 1e-12
