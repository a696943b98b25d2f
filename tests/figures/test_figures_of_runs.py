"""Figures of real runs, where what they say depends on how the data came about."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.figures import registry

SMALL = {"network": {"hidden": 4}, "task": {"name": "noise", "features": 2, "batch": 2, "length": 6}}


def ran(**more):
    spec = {**SMALL, **more}
    spec["network"] = {**SMALL["network"], **more.get("network", {})}
    return gradlab.run(spec)


def lines(figure, gid):
    return [line for ax in figure.axes for line in ax.lines if line.get_gid() == gid]


@pytest.fixture(scope="module")
def orthogonal():
    sweep = {"network.spectrum.radius": [0.8, 1.0]}
    return ran(network={"activation": "identity", "spectrum": {"name": "orthogonal"}}, sweep=sweep)


@pytest.mark.parametrize(
    ("record", "exact"),
    [
        ("log10_state_gradient_norm", 2),
        ("log10_preactivation_gradient_norm", 2),
        ("mean_log10_sample_gradient_norm", 2),
        ("saturation", 0),
        ("log10_weight_gradient_norm", 0),
        ("std_log10_sample_gradient_norm", 0),
    ],
)
def test_theory_is_drawn_beside_the_norms_that_it_is_of(orthogonal, record, exact):
    figure = registry.build({"name": "profile", "record": record}).plot(orthogonal)
    assert len(lines(figure, "exact")) == exact


def test_profile_refuses_records_with_further_dimensions():
    ds = ran(record=["log10_credit_norm", "log10_state_gradient_norm"])
    with pytest.raises(UserMistake, match="expected a record against lag, got log10_credit_norm"):
        registry.build({"name": "profile", "record": "log10_credit_norm"}).plot(ds)


def test_figures_find_renamed_axes():
    sweep = {
        "network.activation": ["tanh", "relu"],
        "task.length": [4, 6],
        "clip": ["off", {"name": "norm", "threshold": 0.1}],
        "rename": {"network.activation": "phi", "task.length": "T", "clip": "rule"},
    }
    ds = ran(sweep=sweep)
    for name in ("lengths", "clipping"):
        assert registry.build(name).plot(ds).axes
        assert registry.build({"name": name, "curve": "phi"}).plot(ds).axes
    titles = [
        ax.get_title(loc="left") or ax.get_title() for ax in registry.build("activations").plot(ds).axes
    ]
    assert [title.split()[-1] for title in titles] == ["tanh", "relu"]


def test_rows_and_columns_of_maps_tell_what_is_zipped_with_them():
    sweep = {
        "network.cell": ["elman", "gru"],
        "network.activation": ["tanh", "relu"],
        "network.spectrum": [{"name": "ginibre", "radius": 1.0}, {"name": "identity", "radius": 1.0}],
        "zip": [["network.activation", "network.spectrum"]],
    }
    ax = registry.build("phase").plot(ran(sweep=sweep)).axes[0]
    texts = [text.get_text() for text in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    assert any("relu" in text and "identity" in text for text in texts)


def test_a_band_goes_on_where_its_lower_edge_is_zero():
    ds = ran(replicates=3)
    norms = np.full((3, 6), -1.0) * np.arange(6) * np.array([[1.0], [2.0], [3.0]])
    norms[0, 3:] = -np.inf
    ds["log10_state_gradient_norm"].values[...] = norms.reshape(ds["log10_state_gradient_norm"].shape)
    ax = registry.build("profile").plot(ds).axes[0]
    (band,) = ax.collections
    assert max(x for x, _ in band.get_paths()[0].vertices) == 5.0
    assert ax.get_ylim()[0] > -100.0


def test_data_without_status_are_drawn():
    spec = {
        "measure": "train",
        "network": {"hidden": 3},
        "task": {"name": "sentiment", "batch": 4},
        "training": {"updates": 3, "evaluate": 20},
    }
    ds = gradlab.run(spec)
    assert registry.build("training").plot(ds[["loss", "metric", "chance", "baseline"]]).axes


def test_one_update_has_one_tick():
    spec = {"measure": "train", "network": {"hidden": 3}, "task": {"name": "sentiment", "batch": 4}}
    ds = gradlab.run({**spec, "training": {"updates": 1, "evaluate": 20}})
    figure = registry.build("training").plot(ds)
    figure.draw_without_rendering()
    assert all(list(ax.get_xticks()) == [0] for ax in figure.axes)


def test_flow_shows_the_lags_of_what_it_shows():
    spec = {
        "measure": "train",
        "network": {"hidden": 3},
        "task": {"name": "level", "batch": 2},
        "training": {"updates": 4, "records": 4, "evaluate": 4},
        "sweep": {"task.length": [2, 12]},
    }
    ds = gradlab.run(spec)
    figure = registry.build("flow").plot(ds.sel(length=[2]))
    assert figure.axes[0].get_ylim() == (-0.5, 1.5)


@pytest.mark.parametrize(
    "radii", [[0.95, 0.99, 1.0, 1.5], [1e-9, 1e9], [1e150, 1e200], [0.5, 1.0], [0.8, 1.0, 1.2]]
)
def test_ticks_do_not_run_into_each_other(radii):
    sweep = {"network.spectrum.radius": radii, "network.activation": ["tanh", "logistic"]}
    sweep["task.length"] = [5, 6]
    figure = registry.build("phase").plot(ran(network={"spectrum": "orthogonal"}, sweep=sweep))
    figure.draw_without_rendering()
    for ax in figure.axes[:2]:
        labels = [label for label in ax.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        assert all(one.x1 <= next_one.x0 for one, next_one in itertools.pairwise(boxes))
        assert all(len(label.get_text()) < 12 for label in labels)
