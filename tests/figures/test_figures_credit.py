"""The data that `credit` draws."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from gradlab.core.errors import UserMistake
from gradlab.figures import registry, style
from gradlab.figures.selection import OVERFLOWED

RECORD = "log10_credit_norm"


def plot(ds, **options):
    return registry.build({"name": "credit", **options}).plot(ds)


def meshes(ax):
    return [c for c in ax.collections if isinstance(c, QuadMesh)]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def matrix(ds, radius):
    """Loss time by state time, from the definition."""
    median = np.median(ds[RECORD].values[radius], axis=0)
    steps = median.shape[0]
    image = np.full((steps, steps), np.nan)
    for loss in range(steps):
        for state in range(loss + 1):
            image[loss, state] = median[loss, loss - state]
    return image


def test_loss_time_stands_against_state_time(credit):
    figure = plot(credit.isel(radius=[1]))
    ax = figure.axes[0]
    (mesh,) = meshes(ax)
    np.testing.assert_allclose(mesh.get_array().filled(np.nan), matrix(credit, 1), rtol=1e-14, atol=0)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 49.5), (49.5, -0.5))
    assert ax.get_xlabel() == "time of the state (time steps)"
    assert ax.get_ylabel() == "time of the loss (time steps)"
    bar = figure.axes[1].get_ylabel().replace("\n", " ")
    assert bar == "log$_{10}$ norm of the credit of a state for a later loss"
    assert "zero gradient" not in legend_texts(figure)


def test_a_few_values_of_an_axis_have_panels_on_one_scale(credit):
    figure = plot(credit)
    assert [ax.get_title() for ax in figure.axes[:4]] == [
        "radius 0.7",
        "radius 0.85",
        "radius 1.1",
        "radius 1.2",
    ]
    assert "radius: 4 of 5" in figure.get_suptitle()
    shown = [matrix(credit, i) for i in (0, 1, 3, 4)]
    for ax, image in zip(figure.axes, shown, strict=False):
        (mesh,) = meshes(ax)
        np.testing.assert_allclose(mesh.get_array().filled(np.nan), image, rtol=1e-14, atol=0)
        assert (mesh.norm.vmin, mesh.norm.vmax) == (np.nanmin(shown), np.nanmax(shown))


def test_labels_come_before_numbers_as_panels(credit):
    names = np.array(["tanh", "relu"], dtype=np.dtypes.StringDType())
    ds = xr.concat([credit, credit], dim="activation").assign_coords(activation=names)
    assert [ax.get_title() for ax in plot(ds).axes[:2]] == ["tanh", "relu"]
    assert "radius: 1" in plot(ds).get_suptitle()
    assert plot(ds, panel="radius").axes[0].get_title() == "radius 0.7"


def test_zero_gradients_have_a_colour_of_their_own_and_a_key(credit):
    far = credit["lag"] >= 30
    credit[RECORD] = credit[RECORD].where(~(far & credit[RECORD].notnull()), -np.inf)
    figure = plot(credit.isel(radius=0))
    image, zero = meshes(figure.axes[0])
    assert legend_texts(figure) == ["zero gradient"]
    loss, state = np.mgrid[:50, :50]
    np.testing.assert_array_equal(~np.ma.getmaskarray(zero.get_array()), loss - state >= 30)
    figure.canvas.draw()
    shown = zero.get_facecolors()[(loss - state >= 30).ravel()]
    np.testing.assert_array_equal(shown[:, :3], np.broadcast_to(to_rgb(style.PALE), (len(shown), 3)))
    assert np.isfinite([image.norm.vmin, image.norm.vmax]).all()


def test_only_zero_gradients(credit):
    credit[RECORD] = credit[RECORD].where(credit[RECORD].isnull(), -np.inf)
    figure = plot(credit.isel(radius=0))
    figure.canvas.draw()
    assert legend_texts(figure) == ["zero gradient"]


def test_times_that_a_shorter_case_has_not_are_left_out(credit):
    both = credit.isel(radius=[0, 0]).rename(radius="length").assign_coords(length=[20, 50])
    both[RECORD] = (
        both[RECORD].where(both["loss_time"] < both["length"]).transpose(*credit[RECORD].dims[1:], ...)
    )
    figure = plot(both.transpose("length", "replicate", ...))
    assert [meshes(ax)[0].get_array().shape for ax in figure.axes[:2]] == [(20, 20), (50, 50)]
    assert [ax.get_xlim()[1] for ax in figure.axes[:2]] == [19.5, 49.5]


def test_fewer_lags_than_loss_times_leave_the_far_past_out(credit):
    ds = credit.isel(radius=[0], lag=slice(10))
    (mesh,) = meshes(plot(ds).axes[0])
    loss, state = np.mgrid[:50, :50]
    shown = (loss >= state) & (loss - state < 10)
    np.testing.assert_array_equal(~np.ma.getmaskarray(mesh.get_array()), shown)


def test_one_time_step_and_one_replicate(credit):
    figure = plot(credit.isel(radius=0, loss_time=[0], lag=[0], replicate=[0]))
    figure.canvas.draw()
    (mesh,) = meshes(figure.axes[0])
    np.testing.assert_array_equal(mesh.get_array(), [[credit[RECORD].values[0, 0, 0, 0]]])
    assert "replicates" not in figure.get_suptitle()


def test_overflowed_cases_are_left_out_and_said(credit):
    credit["status"][0] = OVERFLOWED
    credit[RECORD][0] = np.inf
    figure = plot(credit)
    assert figure.axes[0].texts[0].get_text() == "all cases overflowed"
    assert "cases left out: 4 overflowed" in figure.get_suptitle()
    figure.canvas.draw()


def test_many_time_steps_are_thinned_and_it_is_said():
    steps = 1200
    lag, loss = np.arange(steps), np.arange(steps)[:, None]
    value = np.where(lag <= loss, -0.01 * lag + 0.001 * loss, np.nan)
    coords = {"replicate": [0], "loss_time": np.arange(steps), "lag": lag}
    ds = xr.Dataset({RECORD: (("replicate", "loss_time", "lag"), value[None])}, coords)
    figure = plot(ds)
    (mesh,) = meshes(figure.axes[0])
    expected = np.full((400, 400), np.nan)
    row, column = np.tril_indices(400)
    expected[row, column] = value[3 * row, 3 * (row - column)]
    np.testing.assert_array_equal(mesh.get_array().filled(np.nan), expected)
    assert "one time step in 3 drawn" in figure.get_suptitle()


def test_credit_needs_loss_times(credit):
    with pytest.raises(
        UserMistake, match=f"a record {RECORD} over loss_time, got one over radius, replicate, lag"
    ):
        plot(credit.isel(loss_time=-1))
