"""The data that `learners` draws."""

import numpy as np
import pytest
import xarray as xr

from gradlab.core.errors import UserMistake
from gradlab.figures import registry
from gradlab.figures.selection import NOT_RUN, OVERFLOWED

TEXT = np.dtypes.StringDType()
NORM, COSINE, ONLINE = "log10_gradient_norm", "cosine_to_bptt", "log10_online_gradient_norm"
WINDOWS = [1, 2, 5, 10, 20, 50]


def plot(ds):
    return registry.build("learners").plot(ds)


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def relative(ds):
    """Medians over replicates of the norms less full backpropagation's in the same replicate."""
    return np.median(ds[NORM].values - ds[NORM].values[0], axis=1)


def test_truncation_stands_against_its_window_and_others_are_levels(learners):
    figure = plot(learners)
    norm, cosine, _ = figure.axes
    expected = {norm: relative(learners), cosine: np.median(learners[COSINE].values, axis=1)}
    for ax, values in expected.items():
        full, windows, *levels = ax.lines
        np.testing.assert_array_equal(windows.get_xdata(), WINDOWS)
        np.testing.assert_allclose(windows.get_ydata(), values[1:7], rtol=1e-14, atol=0)
        for line, value in zip([full, *levels], values[[0, 7, 8, 9]], strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 50])
            np.testing.assert_allclose(line.get_ydata(), [value, value], rtol=1e-14, atol=0)
        assert ax.get_xlabel() == "window (time steps)"
        assert len(ax.collections) == 5
    assert norm.get_ylabel() == "log$_{10}$ gradient norm\nrelative to full BPTT"
    assert cosine.get_ylabel() == "cosine to the full\ngradient\n(dimensionless)"
    assert legend_texts(figure) == ["bptt", "truncated", "rtrl", "uoro", "snap1"]


def test_lines_that_lie_over_each_other_are_told_apart(learners):
    norm = plot(learners).axes[0]
    full, windows, *levels = norm.lines
    assert full.get_linewidth() > 1.5 * levels[0].get_linewidth()
    assert full.get_zorder() < levels[0].get_zorder()
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in norm.lines}) == 5
    assert not windows.is_dashed()
    assert all(line.is_dashed() for line in levels)


def test_windows_in_any_order_and_form_of_label(learners):
    names = [name.replace("truncated(", "truncated(window=") for name in learners["learner"].values]
    shuffled = learners.assign_coords(learner=np.array(names, dtype=TEXT)).isel(learner=[8, 3, 0, 6, 1])
    windows = next(line for line in plot(shuffled).axes[1].lines if line.get_marker() == "o")
    np.testing.assert_array_equal(windows.get_xdata(), [1, 5, 50])
    expected = np.median(learners[COSINE].values[[1, 3, 6]], axis=1)
    np.testing.assert_allclose(windows.get_ydata(), expected, rtol=1e-14, atol=0)


def test_other_settings_of_truncation_make_other_curves(learners):
    names = [f"truncated(window={k}, every={e})" for e in (1, 5) for k in (5, 10)]
    ds = learners.isel(learner=slice(4)).assign_coords(learner=np.array(names, dtype=TEXT))
    assert legend_texts(plot(ds)) == ["truncated(every=1)", "truncated(every=5)"]


def test_steps_as_they_are_made(learners):
    ax = plot(learners).axes[2]
    assert ax.get_xlabel() == "time (time steps)"
    for line, index in zip(ax.lines, (7, 8, 9), strict=True):
        expected = np.median(learners[ONLINE].values[index], axis=0)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(60))
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-14, atol=0)


def test_no_panel_for_steps_where_none_are_recorded(learners):
    assert len(plot(learners.drop_vars(ONLINE)).axes) == 2
    learners[ONLINE][:] = np.nan
    assert len(plot(learners).axes) == 2


def test_steps_of_the_widest_window_stand_for_all(learners):
    learners[ONLINE][1:7] = learners[ONLINE].values[7] + np.arange(6)[:, None, None]
    figure = plot(learners)
    assert len(figure.axes[2].lines) == 4
    expected = np.median(learners[ONLINE].values[6], axis=0)
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), expected, rtol=1e-14, atol=0)
    assert "truncated at each time step: truncated(50)" in figure.get_suptitle().replace("\n", " ")


def test_learners_without_windows_stand_at_their_names(learners):
    ds = learners.sel(learner=["bptt", "uoro", "truncated(5)"]).drop_vars(ONLINE)
    figure = plot(ds)
    values = [relative(ds), np.median(ds[COSINE].values, axis=1)]
    for ax, expected in zip(figure.axes, values, strict=True):
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["bptt", "uoro", "truncated(5)"]
        assert [float(line.get_xdata()[0]) for line in ax.lines] == [0, 1, 2]
        np.testing.assert_allclose([line.get_ydata()[0] for line in ax.lines], expected, rtol=1e-14, atol=0)
        assert ax.get_xlabel() == "learner"
    assert figure.legends == []


def test_without_full_backpropagation_norms_are_as_they_are(learners):
    ds = learners.isel(learner=slice(1, None))
    norm = plot(ds).axes[0]
    assert norm.get_ylabel() == "log$_{10}$ norm of the\nparameter gradient"
    expected = np.median(ds[NORM].values[:6], axis=1)
    np.testing.assert_allclose(norm.lines[0].get_ydata(), expected, rtol=1e-14, atol=0)


def test_windows_on_an_axis_of_their_own(learners):
    ds = learners.isel(learner=slice(1, 7)).drop_vars(ONLINE)
    ds = ds.rename(learner="window").assign_coords(window=WINDOWS)
    figure = plot(ds)
    (line,) = figure.axes[1].lines
    np.testing.assert_array_equal(line.get_xdata(), WINDOWS)
    np.testing.assert_allclose(line.get_ydata(), np.median(ds[COSINE].values, axis=1), rtol=1e-14, atol=0)
    assert legend_texts(figure) == ["truncated"]


def test_windows_beside_learners(learners):
    """As two sweep tables united: truncation ran at every window, full backpropagation at one."""
    windows = learners.isel(learner=slice(1, 7)).rename(learner="window").assign_coords(window=WINDOWS)
    full = learners.isel(learner=0, drop=True).expand_dims(window=WINDOWS).copy(deep=True)
    full["status"][[0, 1, 3, 4, 5]] = NOT_RUN
    names = np.array(["bptt", "truncated"], dtype=TEXT)
    ds = xr.concat([full, windows], dim="learner").assign_coords(learner=names).drop_vars(ONLINE)
    figure = plot(ds)
    level, line = figure.axes[0].lines
    np.testing.assert_array_equal(level.get_ydata(), [0.0, 0.0])
    np.testing.assert_allclose(line.get_ydata(), relative(learners)[1:7], rtol=1e-14, atol=0)
    assert legend_texts(figure) == ["bptt", "truncated"]


def test_zero_gradients_one_replicate_and_overflow(learners):
    one = learners.isel(replicate=[0]).copy(deep=True)
    one[NORM][1] = -np.inf
    one[COSINE][1] = np.nan
    figure = plot(one)
    assert not any(ax.collections for ax in figure.axes)
    assert np.isfinite(figure.axes[0].lines[1].get_ydata()).sum() == 5
    one[NORM][0] = -np.inf  # against a gradient of zero no length is anything
    assert plot(one).axes[0].texts[0].get_text() == "all gradients are zero"
    one["status"][:] = OVERFLOWED
    assert [ax.texts[0].get_text() for ax in plot(one).axes] == ["all cases overflowed"] * 2


def test_learners_needs_learners(learners):
    with pytest.raises(
        UserMistake, match=r"the axis 'learner' or 'window', got one with no axes\. Sweep over"
    ):
        plot(learners.isel(learner=0))
