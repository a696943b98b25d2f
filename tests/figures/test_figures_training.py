"""The data that figures of a training draw, and what other figures make of a training."""

import re

import numpy as np
import pytest
import xarray as xr
from datasets import trained
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from test_figures import assert_apart, assert_on_the_page

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.figures import draw_all, registry, updates
from gradlab.figures.axes import norm_bound, rule_axis
from gradlab.figures.flow import reach
from gradlab.figures.selection import DIVERGED, NOT_RUN

OF_TRAINING = ("training", "norms", "flow", "success", "smoothness")
SPEC = {
    "title": "T",
    "measure": "train",
    "seed": 0,
    "replicates": 2,
    "network": {"hidden": 5, "spectrum": {"name": "orthogonal", "radius": 1.0}},
    "task": {"name": "temporal_order", "length": 12, "batch": 4},
    "training": {"updates": 8, "records": 5, "evaluate": 10, "optimiser": {"name": "sgd", "rate": 0.1}},
    "sweep": {"clip": ["off", {"name": "norm", "threshold": 0.5}], "task.length": [12, 15]},
}


def plot(name, ds, **options):
    return registry.build({"name": name, **options}).plot(ds)


def lines(ax, gid=None):
    return [line for line in ax.lines if gid is None or line.get_gid() == gid]


def curves(ax):
    """The medians: lines that are neither levels nor marks."""
    levels = ("chance", "diverged", "baseline")
    return [line for line in ax.lines if str(line.get_gid()).split(" ")[0] not in levels]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def small_print(figure):
    return figure.get_suptitle().replace("\n", " ")


def test_loss_and_metric_have_medians_over_replicates_by_rule(training):
    ds = training.isel(rate=[1])  # where nothing diverges
    figure = plot("training", ds)
    loss, metric = figure.axes
    for ax, record in ((loss, "loss"), (metric, "metric")):
        for line, values in zip(curves(ax), ds[record].isel(rate=0).values, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), ds["update"].values)
            np.testing.assert_allclose(line.get_ydata(), np.median(values, axis=0), rtol=1e-14, atol=0)
    assert loss.get_ylabel() == "loss (dimensionless)"
    assert metric.get_ylabel().replace("\n", " ") == "error rate (dimensionless)"
    assert legend_texts(figure) == ["off", "norm(0.5)", "best guess, inputs unseen"]
    (chance,) = lines(loss, "chance")
    assert chance.get_ydata()[0] == np.log(4.0)
    assert lines(metric, "chance") == []
    assert "3 replicates" in small_print(figure)
    assert "diverged" not in small_print(figure)


def test_other_axis_becomes_columns_unless_another_is_chosen(training):
    figure = plot("training", training)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["rate 0.01", "rate 0.1"]
    figure = plot("training", training, curve="rate", panel="clip")
    assert [ax.get_title() for ax in figure.axes[:2]] == ["off", "norm(0.5)"]
    assert legend_texts(figure)[:2] == ["0.01", "0.1"]


def test_diverged_run_counts_as_infinite_and_is_marked_where_it_ends(training):
    figure = plot("training", training)
    ax, half = figure.axes[0], training.sizes["update"] // 2
    values = training["loss"].values[0, 0].copy()
    values[0, half:] = np.inf
    np.testing.assert_allclose(curves(ax)[0].get_ydata(), np.median(values, axis=0), rtol=1e-14, atol=0)
    (mark,) = lines(ax, "diverged")
    assert mark.get_xdata()[0] == training["update"].values[half - 1]
    assert lines(figure.axes[1], "diverged") == []
    assert "1 of 12 runs diverged" in small_print(figure)
    assert "left out" not in small_print(figure)
    assert "last loss before divergence" in legend_texts(figure)


def test_curve_ends_where_most_runs_have_diverged(training):
    ds = training.copy(deep=True)
    half = ds.sizes["update"] // 2
    ds["status"][0, 0, 1] = DIVERGED
    for name in ("loss", "metric"):
        ds[name][0, 0, 1, half:] = np.nan
    line = curves(plot("training", ds).axes[0])[0]
    assert np.isfinite(line.get_ydata()[:half]).all()
    assert np.isnan(line.get_ydata()[half:]).all()


def test_solved_runs_that_stop_are_held_at_their_last_value(training):
    ds = training.isel(rate=[1]).copy(deep=True)
    ds["loss"][1, 0, :, 7:] = np.nan
    figure = plot("training", ds)
    held = curves(figure.axes[0])[1].get_ydata()
    assert (held[7:] == np.median(ds["loss"].values[1, 0, :, 6])).all()
    assert "3 runs stopped early and are held at their last values" in small_print(figure)


def test_metric_taken_at_some_updates_alone_is_drawn_there(training):
    ds = training.isel(rate=[1]).copy(deep=True)
    ds["metric"][..., 1::2] = np.nan
    line = curves(plot("training", ds).axes[1])[0]
    np.testing.assert_array_equal(line.get_xdata(), ds["update"].values[::2])


def test_levels_that_differ_between_curves_have_their_colours(training):
    chance = xr.zeros_like(training["chance"]) + xr.DataArray([1.2, 1.1], dims="clip")
    baseline = (chance - 1).expand_dims(predictor=["constant"], axis=-1)
    figure = plot("training", training.assign(chance=chance, baseline=baseline))
    rows = len(figure.axes) // 2
    for row, gid, heights in (
        (figure.axes[:rows], "chance", [1.2, 1.1]),
        (figure.axes[rows:], "baseline constant", [0.2, 0.1]),
    ):
        for ax in row:
            levels = lines(ax, gid)
            np.testing.assert_allclose([line.get_ydata()[0] for line in levels], heights, rtol=1e-14)
            assert [line.get_color() for line in levels] == [line.get_color() for line in curves(ax)]
    assert "simple predictor: constant" in legend_texts(figure)
    same = plot("training", training)  # one level of all curves has the colour of none
    assert {line.get_color() for line in lines(same.axes[0], "chance")} == {"black"}


def test_a_simple_predictor_is_a_labelled_line_where_it_is_one_value(training):
    without = plot("training", training)
    assert not any("baseline" in str(line.get_gid()) for ax in without.axes for line in ax.lines)
    values = np.full((*training["chance"].shape, 2), 0.4)
    values[..., 1] = 0.9
    values[:, :, 0, 1] = 0.7  # other runs of the same curve have another value
    names = {"predictor": ["bag_of_words", "constant"]}
    figure = plot(
        "training",
        training.assign_coords(names).assign(baseline=((*training["chance"].dims, "predictor"), values)),
    )
    rows = len(figure.axes) // 2
    for loss, metric in zip(figure.axes[:rows], figure.axes[rows:], strict=True):
        drawn = {str(line.get_gid()): set(line.get_ydata()) for line in metric.lines}
        assert drawn["baseline bag_of_words"] == {0.4}
        assert "baseline constant" not in drawn
        assert not any("baseline" in str(line.get_gid()) for line in loss.lines)
    texts = legend_texts(figure)
    assert "simple predictor: bag of words" in texts
    assert "simple predictor: constant" not in texts


def test_explosion_does_not_flatten_the_others(training):
    ds = training.isel(rate=[1]).copy(deep=True)
    ds["loss"][0, 0, :, 3:6] = 1e60
    figure = plot("training", ds)
    assert figure.axes[0].get_ylim()[1] < 1e3
    assert "loss beyond 100 times what runs begin with not shown" in small_print(figure)


@pytest.mark.parametrize(("factor", "scale"), [(1e-4, "log"), (0.5, "linear")])
def test_loss_over_decades_is_shown_by_its_logarithm(training, factor, scale):
    ds = training.isel(rate=[1]).copy(deep=True)
    ds["loss"][:] = np.geomspace(1.0, factor, ds.sizes["update"])
    ax = plot("training", ds).axes[0]
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert low < factor
    assert high > np.log(4.0)


def test_training_without_a_metric_has_its_loss_alone(training):
    assert len(plot("training", training.isel(rate=[1]).drop_vars("metric")).axes) == 1


def test_cases_that_did_not_run_are_counted(training):
    ds = training.copy(deep=True)
    ds["status"][1, 1, :2] = NOT_RUN
    figure = plot("training", ds)
    assert "cases left out: 2 not run" in small_print(figure)


RULES = ["off", "norm(0.5)", "value(0.1)", "adjoint_norm(0.1)", "adjoint_value(0.01)", "quantile(0.9)"]


@pytest.mark.parametrize(
    "rules", [RULES, [*RULES, "unitwise(0.01)", "per_sample(1.0)", "norm(1.0)", "norm(2.0)"]]
)
@pytest.mark.parametrize("name", OF_TRAINING)
def test_many_rules_have_room(rules, name):
    figure = plot(name, trained(clip=rules, length=[50, 100, 200], replicates=2))
    assert_on_the_page(figure)
    assert_apart(figure)
    assert all(ax.get_position().height * figure.get_figheight() > 0.3 for ax in figure.axes)


def test_norms_before_and_after_with_the_threshold_and_the_share(training):
    ds = training.sel(rate=0.1)
    figure = plot("norms", ds)
    off, rule, share_off, share = figure.axes
    assert [ax.get_title() for ax in (off, rule)] == ["off", "norm(0.5)"]
    for name in ("log10_gradient_norm", "log10_clipped_gradient_norm"):
        (line,) = lines(rule, name)
        median = np.median(ds[name].values[1], axis=0)
        np.testing.assert_allclose(line.get_ydata(), median, rtol=1e-14, atol=0)
    (bound,) = lines(rule, "threshold")
    assert bound.get_ydata()[0] == np.log10(0.5)
    assert lines(off, "threshold") == []
    np.testing.assert_allclose(
        share.lines[0].get_ydata(), ds["clip_active_share"].values[1, 0], rtol=1e-14, atol=0
    )
    assert (share_off.lines[0].get_ydata() == 0).all()
    assert legend_texts(figure) == ["before clipping", "after clipping", "threshold"]


def test_norms_of_a_diverged_run_are_there_until_it_ends(training):
    line = lines(plot("norms", training.isel(replicate=[0], rate=0)).axes[0], "log10_gradient_norm")[0]
    assert np.isfinite(line.get_ydata()).sum() == training.sizes["update"] // 2


def test_norms_far_apart_have_each_their_scale(training):
    ds = training.copy(deep=True)
    ds["log10_gradient_norm"][0] *= 100
    figure = plot("norms", ds)
    assert "each column on its own scale" in small_print(figure)
    assert figure.axes[0].get_ylim() != figure.axes[1].get_ylim()
    assert plot("norms", training).axes[0].get_ylim() == plot("norms", training).axes[1].get_ylim()


def test_share_that_is_not_known_says_so(training):
    ds = training.copy(deep=True)
    ds["clip_active_share"][1] = np.nan
    assert plot("norms", ds).axes[3].texts[0].get_text() == "not known"


@pytest.mark.parametrize(
    ("label", "bound"),
    [
        ("norm(0.5)", 0.5), ("norm(threshold=2.0)", 2.0), ("per_sample(1e-3)", 1e-3), ("value(0.5)", None),
        ("adjoint_norm(0.1)", None), ("quantile(0.9)", None), ("off", None),
    ],
)  # fmt: skip
def test_threshold_is_that_of_rules_that_bound_the_norm(training, label, bound):
    ds = training.isel(clip=0).assign_coords(clip=label)
    assert norm_bound(ds) == bound


def test_threshold_as_an_axis_of_numbers():
    ds = trained(threshold=[0.5, 2.0]).assign_attrs(clip="norm")
    assert rule_axis(ds) == "threshold"
    figure = plot("norms", ds)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["threshold 0.5", "threshold 2"]
    bounds = [lines(ax, "threshold")[0].get_ydata()[0] for ax in figure.axes[:2]]
    np.testing.assert_allclose(bounds, np.log10([0.5, 2.0]), rtol=1e-14)


def test_flow_is_the_median_over_update_and_lag(training):
    ds = training.sel(rate=0.1)
    figure = plot("flow", ds)
    for ax, values in zip(figure.axes[:2], ds["log10_state_gradient_norm"].values, strict=True):
        (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
        median = np.median(values, axis=0).T
        np.testing.assert_allclose(np.ma.getdata(mesh.get_array()), median, rtol=1e-14, atol=0)
        drawn = lines(ax, "reach")[-1].get_ydata()
        first = [np.argmax(column < column[0] - 2) or 19 for column in median.T]
        np.testing.assert_array_equal(drawn, first)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["off", "norm(0.5)"]
    assert drawn[-1] > drawn[0]  # it learns to reach farther back


def test_reach_of_what_never_fades_is_the_last_lag():
    image = np.array([[0.0, 0.0, np.nan], [-1.0, -3.0, np.nan], [-1.5, -9.0, np.nan]])
    np.testing.assert_array_equal(reach(image, np.array([0, 5, 10])), [10.0, 5.0, np.nan])


def test_flow_shows_zeros_and_what_is_beyond_its_colours(training):
    ds = training.sel(rate=0.1).copy(deep=True)
    ds["log10_state_gradient_norm"][0, :, :, 15:] = -np.inf
    ds["log10_state_gradient_norm"][0, :, 3, 0] = 60.0
    figure = plot("flow", ds)
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    assert mesh.norm.vmax < 10
    assert "zero gradient" in legend_texts(figure)


@pytest.mark.parametrize("name", OF_TRAINING)
def test_probe_is_refused_and_told_why(small, name):
    mistake = draw_all(small.assign(loss=small["growth_rate"]))[name]
    assert isinstance(mistake, UserMistake)
    assert re.search('Only a training has .*: measure = "train"', str(mistake))
    assert "Add " not in str(mistake)
    assert "Add " not in str(mistake)
    assert len(mistake.problems) == 1


@pytest.mark.parametrize(("name", "measure"), [("credit", "probe"), ("landscape", "landscape")])
def test_training_is_refused_by_figures_of_other_measures_and_told_which(training, name, measure):
    with pytest.raises(
        UserMistake, match=rf'Only a {measure} has (it|them): measure = "{measure}" in the spec'
    ):
        plot(name, training)


def test_what_a_training_did_not_record_can_be_asked_for(training):
    with pytest.raises(UserMistake, match=r"variable 'smoothness'.*Add it to `record`"):
        plot("smoothness", training.drop_vars("smoothness"))


def test_profile_of_a_training_is_that_of_its_last_update(training):
    figure = plot("profile", training)
    last = training["log10_state_gradient_norm"].sel(clip="off", update=999).values
    values = np.where(training["status"].sel(clip="off").values[..., None] == 1, last, np.nan)
    for line, median in zip(figure.axes[0].lines, np.nanmedian(values, axis=1), strict=False):
        np.testing.assert_allclose(line.get_ydata(), median, rtol=1e-14, atol=0)
    assert "update: 999" in small_print(figure)
    assert "cases left out: 1 diverged" in small_print(figure)


def test_profile_of_a_chosen_update(training):
    figure = plot("profile", training.isel(update=0))
    assert "update: 0" in small_print(figure)


def test_theory_of_drawn_weights_is_not_that_of_trained_ones(training):
    ds = training.assign_attrs(cell="elman", spectrum="orthogonal", activation="identity")
    ds = ds.assign_coords(rate=("rate", [0.9, 1.0])).rename(rate="radius")
    assert lines(plot("profile", ds).axes[0], "exact") == []


def test_runs_that_stopped_are_taken_at_their_own_last_update(training):
    ds = training.isel(rate=[1]).copy(deep=True)
    ds["log10_state_gradient_norm"][0, 0, 1, 8:] = np.nan
    ds["loss"][0, 0, 1, 9:] = np.nan
    cut = updates.at_last_update(ds)
    record = "log10_state_gradient_norm"
    assert "update" not in cut.dims
    np.testing.assert_array_equal(cut[record][0, 0, 1], ds[record][0, 0, 1, 7])
    np.testing.assert_array_equal(cut[record][0, 0, 0], ds[record][0, 0, 0, -1])
    assert float(cut["loss"][0, 0, 1]) == float(ds["loss"][0, 0, 1, 8])
    assert "update: the last of each run" in small_print(plot("profile", ds))


def test_records_that_some_cases_have_not_end_no_run(training):
    ds = training.copy(deep=True)
    ds["clip_active_share"][:] = np.nan
    ds["smoothness"][1] = np.nan
    ds["metric"][..., 5:] = np.nan
    assert int(updates.at_last_update(ds)["update"]) == 999


def test_probe_has_no_last_update(small):
    assert updates.at_last_update(small) is small


@pytest.mark.parametrize("name", ["phase", "credit", "learners", "paths", "landscape", "memory"])
def test_other_figures_refuse_a_training(training, name):
    assert f"figure '{name}': expected" in str(draw_all(training)[name])


@pytest.mark.filterwarnings("error")
def test_a_run_has_every_figure():
    record = [
        "loss",
        "metric",
        "chance",
        "solved_at",
        "smoothness",
        "log10_gradient_norm",
        "clip_active_share",
    ]
    record += ["log10_clipped_gradient_norm", "log10_state_gradient_norm"]
    ds = gradlab.run(SPEC | {"record": record})
    assert isinstance(ds, xr.Dataset)
    figures = draw_all(ds)
    for name in (*OF_TRAINING, "profile", "lengths", "clipping"):
        assert isinstance(figures[name], Figure), figures[name]
    assert [ax.get_title() for ax in figures["training"].axes[:2]] == ["length 12", "length 15"]
    points = lines(figures["smoothness"].axes[0], "points")
    assert sum(line.get_xdata().size for line in points) == 2 * 2 * ds.sizes["update"]
