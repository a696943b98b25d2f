"""What panels tell the eye: curves under curves, levels, scales in common, titles that say all."""

import numpy as np
import pytest
import xarray as xr
from datasets import trained
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from test_figures import assert_apart

import gradlab
from gradlab.figures import panels, registry, selection

TEXT = np.dtypes.StringDType()
STATE = "log10_state_gradient_norm"


def plot(name, ds, **options):
    return registry.build({"name": name, **options}).plot(ds)


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ordinary(ax):
    return [line for line in ax.lines if line.get_gid() is None]


# --- one curve under another ----------------------------------------------------------------------------


def test_a_curve_under_others_is_wider_than_they_are():
    down = -np.arange(100.0)
    found = panels.widths(np.stack([down, down - 0.5, down - 50.0, down + 0.2]), 0.8)
    np.testing.assert_allclose(found, [3.2, 2.0, 0.8, 0.8], rtol=1e-14, atol=0)


def test_a_curve_that_ends_early_covers_none_that_goes_on():
    long, short = -np.arange(10.0), np.where(np.arange(10) < 5, -np.arange(10.0), -np.inf)
    assert panels.widths(np.stack([long, short]), 1.0) == [1.0, 1.0]
    assert panels.widths(np.stack([short, long]), 1.0) == [2.2, 1.0]
    assert panels.widths(np.full((2, 3), np.nan), 1.0) == [1.0, 1.0]


def test_the_profile_shows_two_equal_curves(cells):
    twice = cells.isel(activation=[0])
    twice[STATE][1] = twice[STATE][0]
    widths = [line.get_linewidth() for line in ordinary(plot("profile", twice, curve="cell").axes[0])]
    assert widths == [2.0, 0.8, 0.8, 0.8]


# --- the level ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "there"), [(0.0, True), (30.0, False)])
@pytest.mark.parametrize("name", ["cells", "profile"])
def test_a_level_only_where_the_curves_start_together(name, start, there, cells):
    moved = cells.assign({STATE: cells[STATE] + start * xr.DataArray([1.0, 0.0, 0.0, 0.0], dims="cell")})
    figure = plot(name, moved, curve="cell")
    assert ("no change" in legend_texts(figure)) is there
    assert any(line.get_gid() == "level" for ax in figure.axes for line in ax.lines) is there


# --- scales in common -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ends", "alike"), [((10.0, 9.0), True), ((10.0, 2.0), False)])
def test_panels_have_one_scale_where_they_reach_about_as_far(ends, alike):
    axes = Figure().subplots(1, 3)
    for ax, end in zip(axes, ends, strict=False):
        ax.plot([0.0, end])
    empty = axes[2].get_ylim()
    panels.share_heights(axes)
    assert (axes[0].get_ylim() == axes[1].get_ylim()) is alike
    assert axes[0].get_ylim()[1] >= 10.0
    assert axes[2].get_ylim() == empty


# --- titles and names -----------------------------------------------------------------------------------


def test_titles_name_what_is_zipped_to_the_panels(cells):
    spectra = np.array(["ginibre(radius=1.0)", "identity(radius=1.0)"], dtype=TEXT)
    both = cells.assign_coords(spectrum=("activation", spectra), gain=("activation", [1.0, 2.0]))
    titles = ["tanh, ginibre(radius=1.0)", "relu, identity(radius=1.0)"]
    assert selection.titles_of(both, "activation") == titles
    assert plot("cells", both).axes[0].get_title() == "tanh, ginibre\n(radius=1.0)"
    alike = cells.assign_coords(spectrum=("activation", spectra[[0, 0]]))
    assert selection.titles_of(alike, "activation") == ["tanh", "relu"]


def test_true_and_false_say_of_what():
    ds = xr.Dataset(coords={"bidirectional": np.array(["false", "true"], dtype=TEXT)})
    assert selection.titles_of(ds, "bidirectional") == ["bidirectional: false", "bidirectional: true"]


def test_layers_are_counted_and_say_from_where(layers):
    assert selection.axis_label(layers, "layer") == "layer (0 is next to the input)"
    assert plot("cells", layers).legends[0].get_title().get_text() == "layer (0 is next to the input)"


@pytest.mark.parametrize("columns", [2, 4, 5])
def test_words_of_several_lines_leave_panels_their_height(columns):
    short, long = (
        trained(cell=[label.format(i) for i in range(columns)])
        for label in ("elman({})", "lstm(forget_bias={}.0), ginibre(radius=1.0), normal(0.4)")
    )
    long = long.assign_coords({f"what_was_set_{i}": 0.25 for i in range(12)})
    heights = []
    for ds in (short, long):
        figure = plot("norms", ds)
        assert_apart(figure)
        heights.append([ax.get_window_extent().height / figure.dpi for ax in figure.axes])
    np.testing.assert_allclose(heights[1], heights[0], rtol=0.03)


# --- one activation, and points that were filtered out --------------------------------------------------


def test_activations_are_those_of_the_dataset(small):
    assert len(plot("activations", small).axes) == 2
    one = small.isel(activation=0, drop=True)
    one.attrs["activation"] = "leaky_relu(0.1)"
    (ax,) = plot("activations", one).axes
    np.testing.assert_allclose(ax.lines[2].get_ydata()[0], -0.4, rtol=1e-14, atol=0)  # 0.1 of -4


def test_the_map_leaves_points_white_that_were_filtered_out(small):
    assert "not in the sweep" not in legend_texts(plot("phase", small))
    small["case_key"][0] = ""
    small["status"][0] = selection.NOT_RUN
    figure = plot("phase", small)
    assert "not in the sweep" in legend_texts(figure)
    assert "no rate, or gradient zero" not in legend_texts(figure)
    (white,) = [c for c in figure.axes[0].collections if c.get_gid() == "outside"]
    assert len(white.get_paths()) == small.sizes["length"]
    assert to_rgb(white.get_facecolor()[0][:3]) == (1.0, 1.0, 1.0)
    small["case_key"][0] = "k"
    assert "no rate, or gradient zero" in legend_texts(plot("phase", small))


@pytest.mark.parametrize(
    ("activation", "axis", "slopes"),
    [
        ({"name": "leaky_relu", "slope": 0.3}, {}, [0.3]),
        ("leaky_relu", {"network.activation.slope": [0.1, 0.5]}, [0.1, 0.5]),
        ("tanh", {"network.activation": ["leaky_relu", {"name": "leaky_relu", "slope": 0.7}]}, [0.01, 0.7]),
    ],
)
def test_activations_are_drawn_with_their_own_settings(activation, axis, slopes):
    task = {"name": "noise", "features": 2, "batch": 2, "length": 4}
    table = {"network": {"hidden": 3, "activation": activation}, "task": task}
    figure = plot("activations", gradlab.run(table | ({"sweep": axis} if axis else {})))
    drawn = [ax.lines[2].get_ydata()[0] / -4.0 for ax in figure.axes]
    np.testing.assert_allclose(drawn, slopes, rtol=1e-14, atol=0)
