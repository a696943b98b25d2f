"""The map of what trainings reached, and what its cells share with other maps."""

import numpy as np
import pytest
from datasets import trained
from matplotlib.collections import QuadMesh
from test_figures_training import legend_texts, lines, plot, small_print

from gradlab.core.errors import UserMistake
from gradlab.figures.selection import DIVERGED, NOT_RUN


def mesh(ax):
    (found,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    return found.get_array()


def marked(ax, gid):
    return sum(len(c.get_paths()) for c in ax.collections if c.get_gid() == gid)


def test_medians_stand_at_their_rule_and_rate(training):
    figure = plot("metric", training)
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["off", "norm(0.5)"]
    assert ax.yaxis_inverted()
    expected = np.median(training["final_metric"].values, axis=-1)
    np.testing.assert_allclose(mesh(ax), expected, rtol=1e-14, atol=0)
    assert any(one.get_ylabel() == "error rate (dimensionless)" for one in figure.axes)
    assert "1 of 12 runs diverged" in small_print(figure)


def test_dots_where_most_runs_met_the_criterion(training):
    ds = training.copy(deep=True)
    ds["solved_at"][1, 1] = [500, -1, -1]
    figure = plot("metric", ds)
    (dots,) = lines(figure.axes[0], "solved")
    np.testing.assert_allclose(dots.get_xydata(), [[0.01, 1.0]], rtol=1e-14)
    assert "criterion met by most" in legend_texts(figure)


@pytest.mark.parametrize(("gone", "hatched"), [(1, 0), (2, 1), (3, 1)])
def test_a_cell_is_hatched_where_the_median_run_diverged(training, gone, hatched):
    ds = training.copy(deep=True)
    ds["status"][0, 0, :gone], ds["final_metric"][0, 0, :gone] = DIVERGED, np.inf
    figure = plot("metric", ds)
    assert marked(figure.axes[0], "diverged") == hatched
    assert ("half of the runs or more diverged" in legend_texts(figure)) == bool(hatched)
    assert np.isfinite(mesh(figure.axes[0]).compressed()).all()


def test_cells_without_a_run_are_grey_and_those_left_out_white(training):
    ds = training.copy(deep=True)
    ds["status"][0, 1] = NOT_RUN
    ds["case_key"][1, 0] = ""
    figure = plot("metric", ds)
    assert {"no metric", "not in the sweep"} <= set(legend_texts(figure))
    assert marked(figure.axes[0], "outside") == 1


def test_simple_predictors_are_lines_in_the_bar_where_they_are_on_its_scale(training):
    levels = [0.3, 0.9, np.nan]
    shape = (*training["final_metric"].shape, 3)
    ds = training.assign(
        baseline=((*training["final_metric"].dims, "predictor"), np.broadcast_to(levels, shape).copy()),
        predictor=["mean", "last", "none"],
    )
    figure = plot("metric", ds)
    bar = figure.axes[-1]
    assert [line.get_ydata()[0] for line in lines(bar, "baseline")] == [0.3]
    assert "simple predictors" in legend_texts(figure)
    assert "simple predictors" not in legend_texts(plot("metric", training))


def test_axes_as_told_and_others_are_panels():
    ds = trained(clip=["off", "norm(0.5)"], rate=[0.01, 0.1], length=[50, 100, 200], diverge=False)
    figure = plot("metric", ds, x="length")
    assert figure.axes[0].get_title() == "rate 0.01"
    assert figure.axes[0].get_shared_y_axes().joined(*figure.axes[:2])
    assert all(ax.yaxis_inverted() for ax in figure.axes[:2])
    turned = plot("metric", ds.sel(rate=0.1), x="clip", y="length").axes[0]
    np.testing.assert_allclose(
        mesh(turned), np.median(ds["final_metric"].sel(rate=0.1).values, axis=-1).T, rtol=1e-14
    )


def test_two_axes_are_needed(training):
    with pytest.raises(UserMistake, match="expected a dataset with two axes"):
        plot("metric", training.isel(rate=0))
    with pytest.raises(UserMistake, match="two different axes"):
        plot("metric", training, x="clip", y="clip")


@pytest.mark.parametrize(
    ("rates", "texts"),
    [
        (np.logspace(-2, 1, 7), ["0.01", "0.032", "0.1", "0.32", "1", "3.2", "10"]),
        ([0.125, 0.25, 0.5, 1.0], ["0.125", "0.25", "0.5", "1"]),
        ([12.5, 25.0, 50.0, 100.0, 200.0], ["12.5", "25", "50", "100", "200"]),
    ],
)
def test_numbers_of_a_geometric_scale_are_short_and_true(rates, texts):
    figure = plot("metric", trained(clip=["off", "norm(0.5)"], rate=rates))
    figure.canvas.draw()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == texts
