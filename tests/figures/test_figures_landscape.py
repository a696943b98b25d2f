"""The data that `landscape` draws."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from gradlab.core.errors import UserMistake
from gradlab.figures import draw_all, registry


def plot(ds):
    return registry.build("landscape").plot(ds)


def image(ax):
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return np.ma.filled(mesh.get_array().astype(float), np.nan), mesh.norm


def descents(ax):
    return [line for line in ax.lines if line.get_gid() == "descent"]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_images_are_those_of_the_surface(landscape):
    figure = plot(landscape)
    loss, norm = figure.axes[:2]
    surface = landscape["surface_loss"].values[0, 0]
    shown = np.where(np.isfinite(surface), np.log10(np.minimum(surface, 1e9)), np.nan)
    np.testing.assert_allclose(image(loss)[0], shown, rtol=1e-14, atol=0)
    slope = landscape["log10_surface_gradient_norm"].values[0, 0]
    np.testing.assert_allclose(
        image(norm)[0], np.where(np.isfinite(slope), slope, np.nan), rtol=1e-14, atol=0
    )
    for ax in (loss, norm):
        assert ax.get_xlim() == (-1.0, 1.0)
        assert ax.get_ylim() == (0.0, 2.0)


def test_a_minimum_of_zero_does_not_take_all_colours(landscape):
    values, scale = image(plot(landscape).axes[0])
    assert np.nanmin(values) == pytest.approx(-12.0)
    assert scale.vmax == np.nanmax(values)
    assert scale.vmin == scale.vmax - 6.0


def test_surface_of_one_value_has_colours(landscape):
    ds = landscape.copy(deep=True)
    ds["surface_loss"][:] = 1.0
    assert image(plot(ds).axes[0])[1].vmin < 0.0 < image(plot(ds).axes[0])[1].vmax


def test_every_rule_has_its_way(landscape):
    figure = plot(landscape)
    for ax in figure.axes[:2]:
        for line, rule in zip(descents(ax), ("off", "norm(0.5)"), strict=True):
            one = landscape.sel(clip=rule, replicate=0)
            np.testing.assert_array_equal(line.get_xdata(), one["descent_first"].values)
            np.testing.assert_array_equal(line.get_ydata(), one["descent_second"].values)
    assert len({line.get_color() for line in descents(figure.axes[0])}) == 2
    assert legend_texts(figure) == ["off", "norm(0.5)", "overflowed"]


def test_landscape_without_descents(landscape):
    figure = plot(landscape.isel(update=[0]))
    assert descents(figure.axes[0]) == []
    assert legend_texts(figure) == ["overflowed"]


def test_one_rule_alone(landscape):
    figure = plot(landscape.isel(clip=[1]))
    assert len(descents(figure.axes[0])) == 1
    assert "clip: norm(0.5)" in figure.get_suptitle()


def test_axes_have_the_names_of_the_lines(landscape):
    body = plot(landscape).subfigs[0]
    assert body.get_supxlabel() == "weight (dimensionless)"
    assert body.get_supylabel() == "bias (dimensionless)"


def test_only_its_own_figure_shows_a_landscape(landscape):
    figures = draw_all(landscape)
    assert isinstance(figures["landscape"], Figure)
    for name in ("training", "norms", "flow", "success", "smoothness", "profile", "clipping"):
        assert f"figure '{name}': expected" in str(figures[name])


def test_probe_has_no_landscape(small):
    with pytest.raises(
        UserMistake, match="figure 'landscape': expected a dataset with the variables 'surface_loss', "
    ):
        plot(small)


def test_what_replicate_is_shown_is_said(landscape):
    one = landscape.isel(replicate=[0])
    two = xr.concat([one, one.assign_coords(replicate=[1])], "replicate")
    assert "replicate: 0" in plot(two).get_suptitle()
    assert "replicate" not in plot(one).get_suptitle()


def test_what_has_no_colour_is_explained(landscape):
    ds = landscape.copy(deep=True)
    ds["surface_loss"][..., 0, :] = 0.0
    ds["log10_surface_gradient_norm"][..., 0, :] = -np.inf
    figure = plot(ds)
    assert {"zero gradient", "overflowed"} <= set(legend_texts(figure))
    loss, norm = figure.axes[:2]
    assert [c.get_gid() for c in loss.collections if c.get_gid()] == []  # below the scale, as the bar says
    (zero,) = [c for c in norm.collections if c.get_gid() == "zero"]
    shown = ~np.ma.getmaskarray(zero.get_array()).reshape(7, 9)
    assert shown[0].all()
    assert not shown[1:].any()
    assert "zero gradient" not in legend_texts(plot(landscape))


def test_the_bar_says_where_losses_lie_beyond_it(landscape):
    bars = [ax for ax in plot(landscape).axes[2:] if hasattr(ax, "_colorbar")]
    assert [ax._colorbar.extend for ax in bars] == ["min", "neither"]
    ds = landscape.copy(deep=True)
    ds["surface_loss"] = ds["surface_loss"] + 1.0
    bars = [ax for ax in plot(ds).axes[2:] if hasattr(ax, "_colorbar")]
    assert [ax._colorbar.extend for ax in bars] == ["neither", "neither"]
