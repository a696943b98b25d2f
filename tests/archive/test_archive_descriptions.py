"""What the descriptions of variables say that cannot be read off their names, measured."""

import numpy as np
import pytest

import gradlab
from gradlab.archive.variables import VARIABLES

ADJOINT = [{"name": "adjoint_norm", "threshold": 1e-2}, {"name": "adjoint_value", "threshold": 3e-3}]


def measured(record, **settings):
    """Return the only case of a small spec, with one setting or more changed."""
    network = {"hidden": 6, "spectrum": {"name": "ginibre", "gain": 1.2}, **settings.pop("network", {})}
    task = {"name": "noise", "features": 2, "batch": 3, "length": 9, **settings.pop("task", {})}
    spec = {"network": network, "task": task, "record": list(record), **settings}
    return gradlab.run(spec).isel(replicate=0), gradlab.draw(spec)


@pytest.mark.parametrize("clip", ADJOINT, ids=lambda clip: clip["name"])
def test_norms_before_and_after_a_rule_on_adjoints(clip):
    """Before is without the rule, after with it: equal is neither, where it acts."""
    record = ["log10_gradient_norm", "log10_clipped_gradient_norm"]
    off, _ = measured(record)
    got, _ = measured(record, clip=clip)
    assert got["log10_gradient_norm"] == off["log10_gradient_norm"]
    assert got["log10_clipped_gradient_norm"] < off["log10_clipped_gradient_norm"]
    assert "scope adjoint" in VARIABLES["log10_clipped_gradient_norm"].description


@pytest.mark.parametrize("clip", ADJOINT, ids=lambda clip: clip["name"])
@pytest.mark.parametrize("name", ["log10_path_gradient_norm", "log10_credit_norm"])
def test_paths_and_credit_are_those_without_clipping(name, clip):
    options = {"network": {"cell": "lstm"}, "task": {"at": "every"}}
    off, _ = measured([name], **options)
    got, _ = measured([name, "log10_memory_gradient_norm"], clip=clip, **options)
    np.testing.assert_array_equal(got[name], off[name])
    assert "without any clipping" in VARIABLES[name].description
    if name == "log10_path_gradient_norm":  # the profile, in contrast, is that of the clipped pass
        assert (got["log10_memory_gradient_norm"] < got[name].sel(path="total") - 0.1).any()


def test_the_memory_is_clipped_before_its_own_output_gate_is_seen():
    """So in a batch of one the norm on record exceeds the threshold, by what passes through the output."""
    clip = {"name": "adjoint_norm", "threshold": 1e-2}
    record = ["log10_state_gradient_norm", "log10_memory_gradient_norm"]
    got, _ = measured(record, network={"cell": "lstm"}, task={"batch": 1, "at": "every"}, clip=clip)
    state, memory = (10.0 ** got[name] for name in record)
    assert (state <= 1e-2 * (1 + 1e-12)).all()
    assert (np.hypot(state, memory) > 1e-2).any()
    assert (memory <= 2e-2).all()  # what arrives, and at most the state's share


def test_the_matrix_of_a_jordan_cell_is_cut_out_of_the_one_described():
    spectrum = {"name": "ginibre", "norm": 1.0}
    got, case = measured(
        ["norm_drawn"], network={"cell": "jordan", "spectrum": spectrum}, task={"outputs": 2}
    )
    weights = case.parameters["weight_hh_l0"]
    assert weights.shape == (6, 2)
    assert got["norm_drawn"] == 1.0
    assert np.linalg.norm(weights, 2) < 1.0


def test_the_matrix_of_an_antisymmetric_cell_is_what_multiplies_the_state():
    got, case = measured(["norm_drawn", "henrici_departure"], network={"cell": "antisymmetric"})
    a = case.parameters["weight_hh_l0"]
    multiplied = a - a.T - 0.01 * np.eye(len(a))
    np.testing.assert_allclose(got["norm_drawn"], np.linalg.norm(multiplied, 2), rtol=1e-13)
    assert got["henrici_departure"] < 1e-14


def test_a_loss_may_overflow_where_no_state_does():
    network = {"activation": "identity", "spectrum": {"name": "orthogonal", "radius": 3.0}}
    got, case = measured(["loss"], network=network, task={"length": 400})
    assert np.isfinite(case.forward()["states"]).all()
    assert got["loss"] == np.inf
    assert got["first_overflow"] == -1


def test_lag_below_the_top_of_a_bidirectional_network_begins_at_the_last_step():
    network = {"layers": 2, "bidirectional": True}
    got, _ = measured(["log10_state_gradient_norm"], network=network, task={"at": [5]})
    there = np.isfinite(got["log10_state_gradient_norm"]).sum("lag")
    assert there.sel(layer=0).values.tolist() == [9, 9]
    assert there.sel(layer=1).values.tolist() == [6, 4]  # steps 5 to 0, and in reverse steps 8 to 5


def test_the_spread_over_samples_of_which_some_have_no_gradient_is_infinite():
    network = {"activation": "relu", "hidden": 2}
    got, _ = measured(["std_log10_sample_gradient_norm"], network=network, task={"batch": 40})
    assert np.isposinf(got["std_log10_sample_gradient_norm"]).any()


def test_the_regime_is_the_sign_of_a_rate_beyond_twice_its_error():
    spec = {
        "network": {"hidden": 16},
        "task": {"name": "noise", "length": 20},
        "replicates": 4,
        "record": ["growth_rate", "growth_rate_standard_error", "regime"],
        "sweep": {"network.spectrum.radius": {"start": 1.5, "stop": 4.0, "num": 41}},
    }
    ds = gradlab.run(spec)
    rate, error = ds["growth_rate"], ds["growth_rate_standard_error"]
    np.testing.assert_array_equal(ds["regime"], np.sign(rate) * (abs(rate) > 2 * error))
    assert set(np.unique(ds["regime"])) == {-1, 0, 1}
    assert ((abs(rate) > error) & (abs(rate) < 2 * error)).any()  # where once the error would say otherwise


def test_chance_is_the_loss_of_one_who_sees_no_input():
    """Who sees the word alone, and remembers none, does better: only at the two places he has to guess."""
    spec = {"measure": "train", "task": {"name": "slots"}, "training": {"updates": 1, "evaluate": 10}}
    task = gradlab.draw(spec).task
    told = task.examples("training", 0, 0, 0, 4000).targets
    shares = np.bincount(told.ravel()) / told.size
    chance = gradlab.run({**spec, "record": ["chance"]})["chance"].item()
    np.testing.assert_allclose(chance, -len(told) * (shares * np.log(shares)).sum(), rtol=1e-3)
    assert 2 * np.log(2) < chance
    assert "sees no input" in VARIABLES["chance"].description


def test_a_state_that_underflows_leaves_no_share_in_the_weight_gradient():
    network = {"hidden": 1, "activation": "identity", "spectrum": {"name": "constant", "value": 0.01}}
    task = {"name": "impulse", "features": 1, "batch": 1, "length": 200, "loss": "unit"}
    record = ["log10_weight_gradient_norm", "log10_state_gradient_norm"]
    got, case = measured(record, network=network, task=task)
    before = np.concatenate([[0.0], case.forward()["states"][:-1, 0, 0]])
    there = np.isfinite(got["log10_weight_gradient_norm"].values[::-1])
    np.testing.assert_array_equal(there, before != 0.0)
    assert there.sum() < 199  # of as many steps with a state before them
    assert np.isfinite(got["log10_state_gradient_norm"]).all()
