"""The share of runs that solved their task, and smoothness along the way."""

import numpy as np
import pytest
from scipy.stats import binomtest, linregress
from test_figures_training import legend_texts, lines, plot, small_print

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.figures.selection import DIVERGED, NOT_RUN, sliced
from gradlab.figures.smoothness import fitted
from gradlab.figures.success import wilson


@pytest.mark.parametrize("runs", [1, 3, 5, 40])
def test_wilson_interval_is_that_of_scipy(runs):
    for solved in range(runs + 1):
        low, high = wilson(solved, runs)
        other = binomtest(solved, runs).proportion_ci(method="wilson")
        np.testing.assert_allclose([low, high], [other.low, other.high], rtol=1e-12, atol=1e-15)


def test_no_runs_have_no_interval():
    assert np.isnan(wilson([0, 0], [0, 0])).all()


def test_share_solved_by_length_and_rule(success):
    ds = success.copy(deep=True)
    ds["solved_at"][1, 2, 1:] = -1
    figure = plot("success", ds)
    (ax,) = figure.axes
    off, rule = [bar.lines[0] for bar in ax.containers]
    np.testing.assert_array_equal(off.get_ydata(), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(rule.get_ydata(), [1.0, 1.0, 0.2])
    (segments,) = ax.containers[1].lines[2]
    low, high = wilson(1, 5)
    np.testing.assert_allclose(segments.get_segments()[2][:, 1], [low, high], rtol=1e-12)
    assert (off.get_xdata() < rule.get_xdata()).all()  # side by side
    np.testing.assert_allclose(rule.get_xdata(), [50, 100, 200], rtol=0.05)
    assert legend_texts(figure) == ["off", "norm(0.5)"]
    assert "solved: few wrong" in small_print(figure)
    assert ax.get_xlabel() == "sequence length (time steps)"


def test_runs_that_did_not_run_are_no_failures_and_diverged_ones_are(success):
    ds = success.copy(deep=True)
    ds["status"][1, 0, :3] = NOT_RUN
    ds["status"][1, 1, :2], ds["solved_at"][1, 1, :2] = DIVERGED, -1
    rule = plot("success", ds).axes[0].containers[1].lines[0]
    np.testing.assert_allclose(rule.get_ydata(), [1.0, 0.6, 1.0], rtol=1e-14)


@pytest.fixture(scope="module")
def regularised():
    return gradlab.run(
        {
            "measure": "train",
            "network": {"hidden": 4},
            "task": {"name": "temporal_order", "batch": 3},
            "training": {"updates": 2, "evaluate": 10},
            "sweep": {
                "clip": ["off", {"name": "norm", "threshold": 1.0}],
                "training.omega": [0.0, 0.5],
                "task.length": [10, 12],
                "where": 'omega == 0 or clip != "off"',
            },
        }
    )


@pytest.mark.parametrize("name", ["success", "training"])
def test_rules_with_and_without_the_regulariser_are_curves_and_pairs_that_were_not_run_are_none(
    regularised, name
):
    figure = plot(name, regularised)
    labels = [text for text in legend_texts(figure) if "guess" not in text and "predictor" not in text]
    assert labels == ["off", "norm(1.0)", "norm(1.0), omega 0.5"]
    assert "omega:" not in small_print(figure)


def test_regulariser_that_is_chosen_is_an_axis_of_its_own(regularised):
    figure = plot("training", regularised, curve="omega", panel="length")
    assert {"0", "0.5"} <= set(legend_texts(figure))


def test_cut_is_where_most_cases_were_run(regularised):
    cut = sliced(regularised, ("clip", "length"))
    assert "omega: 0" in cut.words


def test_success_without_lengths_is_against_another_number(training):
    ax = plot("success", training).axes[0]
    assert ax.get_xlabel() == "rate (dimensionless)"


def test_success_needs_numbers_and_a_criterion(training):
    with pytest.raises(UserMistake, match=r"an axis of numbers, got one with clip.*task\.length"):
        plot("success", training.isel(rate=0))
    with pytest.raises(UserMistake, match=r"option 'x'.*an axis of numbers, got clip"):
        plot("success", training, x="clip")
    with pytest.raises(UserMistake, match=r"a criterion of success, got the task temporal_order"):
        plot("success", training.assign_attrs(criterion=""))


def test_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(50)
    y = 0.7 * x + 0.2 * rng.standard_normal(50) + 3.0
    other = linregress(x, y)
    np.testing.assert_allclose(fitted(x, y), [other.slope, other.intercept, other.rvalue], rtol=1e-12)
    assert fitted(x[:2], y[:2]) is None
    assert fitted(np.ones(9), y[:9]) is None


def test_smoothness_against_norm_with_its_slope_in_words(training):
    ds = training.sel(rate=0.1).copy(deep=True)
    ds["smoothness"][1, 0, 3] = 0.0
    figure = plot("smoothness", ds)
    (ax,) = figure.axes
    points = lines(ax, "points")
    np.testing.assert_allclose(points[0].get_xdata(), ds["log10_gradient_norm"].values[0].ravel(), rtol=1e-14)
    np.testing.assert_allclose(points[0].get_ydata(), 0.5 + 0.9 * points[0].get_xdata(), rtol=0, atol=1e-12)
    assert points[1].get_xdata().size == points[0].get_xdata().size - 1
    assert legend_texts(figure) == [f"{name}: slope 0.90, correlation 1.00" for name in ("off", "norm(0.5)")]
    assert "1 points of no or infinite smoothness or norm left out" in small_print(figure)
    assert len({line.get_marker() for line in points}) == 2
