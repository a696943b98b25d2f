"""The data that `cells` and `paths` draw."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from gradlab.core.errors import UserMistake
from gradlab.figures import registry
from gradlab.figures.axes import axis_of
from gradlab.figures.selection import OVERFLOWED

TEXT = np.dtypes.StringDType()
STATE, MEMORY = "log10_state_gradient_norm", "log10_memory_gradient_norm"
PATH = "log10_path_gradient_norm"


def plot(name, ds, **options):
    return registry.build({"name": name, **options}).plot(ds)


def titled(figure, title):
    return next(ax for ax in figure.axes if ax.get_title() == title)


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_cells_draws_states_solid_and_memories_dashed_in_the_cells_colour(cells):
    figure = plot("cells", cells)
    assert [ax.get_title() for ax in figure.axes] == ["tanh", "relu"]
    lines = curves(titled(figure, "relu"))
    assert [line.is_dashed() for line in lines] == [False] * 4 + [True] * 2  # two cells have a memory
    for line, (record, cell) in zip(
        lines, [(STATE, i) for i in range(4)] + [(MEMORY, 2), (MEMORY, 3)], strict=True
    ):
        expected = np.median(cells[record].values[cell, 1], axis=0)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-14, atol=0)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(100))
    assert [line.get_color() for line in lines[4:]] == [line.get_color() for line in lines[2:4]]
    assert len({line.get_color() for line in lines}) == 4
    assert legend_texts(figure) == ["elman", "gru", "lstm", "peephole", "state", "memory", "no change"]


def test_cells_draws_bands_where_replicates_spread(cells):
    assert len(titled(plot("cells", cells), "tanh").collections) == 6
    one = plot("cells", cells.isel(replicate=[0]))
    assert len(titled(one, "tanh").collections) == 0
    assert "replicates" not in one.get_suptitle()


@pytest.mark.parametrize("absent", [True, False])
def test_cells_without_memories(cells, absent):
    cells[MEMORY][:] = np.nan
    figure = plot("cells", cells.drop_vars(MEMORY) if absent else cells)
    assert "memory" not in legend_texts(figure)
    assert figure.subfigs[0].get_supylabel() == "log$_{10}$ adjoint norm of\nthe state"
    assert [line.is_dashed() for line in curves(figure.axes[0])] == [False] * 4


def test_cells_finds_the_axis_by_the_setting_that_it_varies(cells):
    other = cells.rename(cell="kind")
    other["kind"].attrs["description"] = "the setting network.cell"
    assert axis_of(other, "network.cell") == "kind"
    assert len(curves(plot("cells", other).axes[0])) == 6
    other["activation"].attrs["description"] = "the setting task.activation"
    assert axis_of(other, "network.activation") is None
    assert axis_of(cells, "network.activation") == "activation"


def test_more_cells_than_colours_have_a_panel_each(cells):
    names = np.array([f"cell_{i}" for i in range(9)], dtype=TEXT)
    figure = plot("cells", cells.isel(cell=np.arange(9) % 4).assign_coords(cell=names))
    assert [ax.get_title() for ax in figure.axes] == list(names)
    lines = curves(figure.axes[2])
    assert [to_rgb(line.get_color()) for line in lines] == [to_rgb("#0072B2"), to_rgb("#D55E00")]
    assert "activation: tanh" in figure.get_suptitle()


def test_cells_of_layers(layers):
    figure = plot("cells", layers.isel(layers=1), curve="layer")
    (ax,) = figure.axes
    for line, layer in zip(curves(ax), range(3), strict=True):
        expected = np.median(layers[STATE].values[1, :, layer], axis=0)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-14, atol=0)
    assert legend_texts(figure)[:3] == ["0", "1", "2"]
    np.testing.assert_array_equal(
        [line.get_ydata() for line in curves(plot("cells", layers.isel(layers=1)).axes[0])],
        [line.get_ydata() for line in curves(ax)],
    )


def test_cells_of_layers_that_some_networks_lack(layers):
    (ax,) = plot("cells", layers.isel(layers=0)).axes
    assert len(curves(ax)) == 1


def test_cells_with_layers_shows_the_one_nearest_the_loss(cells):
    both = xr.concat([cells - 1.0, cells], dim="layer").assign_coords(layer=[0, 1])
    both["status"] = cells["status"]
    figure = plot("cells", both)
    assert "layer: 1" in figure.get_suptitle()
    for a, b in zip(curves(figure.axes[0]), curves(plot("cells", cells).axes[0]), strict=True):
        np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())


def test_cells_of_directions(cells):
    names = np.array(["forward", "reverse"], dtype=TEXT)
    ds = cells.isel(cell=2, drop=True).rename(activation="direction").assign_coords(direction=names)
    ds["status"] = ds["status"].isel(direction=0, drop=True)
    assert legend_texts(plot("cells", ds))[:2] == ["forward", "reverse"]


def test_cells_needs_cells(small):
    with pytest.raises(UserMistake, match=r"several cells or layers, got one with radius.*`network\.cell`"):
        plot("cells", small)
    assert len(curves(plot("cells", small, curve="radius").axes[0])) == 10  # states and memories


def test_cells_at_one_lag_with_gaps_and_overflow(cells):
    cells[STATE][0, :, :, 40:] = -np.inf
    cells[STATE][1, :, :, 60:] = np.nan
    cells["status"][:, 1] = OVERFLOWED
    figure = plot("cells", cells)
    lines = curves(titled(figure, "tanh"))
    assert [int(np.isfinite(line.get_ydata()).sum()) for line in lines[:2]] == [40, 60]
    assert "a curve ends where its gradient is zero" in figure.get_suptitle().replace("\n", " ")
    assert titled(figure, "relu").texts[0].get_text() == "all cases overflowed"
    one = plot("cells", cells.isel(lag=[0])).axes[0]
    assert [line.get_marker() for line in one.lines[:6]] == ["o"] * 6


def test_paths_draws_each_path_in_a_panel_a_bias(paths):
    figure = plot("paths", paths)
    assert [ax.get_title() for ax in figure.axes] == [
        "forget bias \N{MINUS SIGN}1", "forget bias 0", "forget bias 1", "forget bias 3",
    ]  # fmt: skip
    for bias, ax in enumerate(figure.axes):
        assert len(ax.lines) == len(ax.collections) == 3
        for line, path in zip(ax.lines, range(3), strict=True):
            expected = np.median(paths[PATH].values[bias, :, path], axis=0)
            np.testing.assert_allclose(
                line.get_ydata(), np.where(np.isinf(expected), np.nan, expected), rtol=1e-14, atol=0
            )
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].lines}
    assert len(looks) == 3
    assert legend_texts(figure) == ["total", "memory alone", "all other paths"]
    assert "no line where a gradient is zero" in figure.get_suptitle()


def test_paths_of_many_numbers_shows_a_few_from_end_to_end(paths):
    bias = np.linspace(-2.0, 4.0, 13)
    figure = plot("paths", paths.isel(forget_bias=np.arange(13) % 4).assign_coords(forget_bias=bias))
    assert [ax.get_title()[12:] for ax in figure.axes] == ["\N{MINUS SIGN}2", "0", "2", "4"]
    assert "forget_bias: 4 of 13" in figure.get_suptitle()


def test_paths_leaves_out_cells_that_are_not_gated(paths):
    names = np.array(["elman", "lstm", "gru", "jordan"], dtype=TEXT)
    ds = paths.rename(forget_bias="cell").assign_coords(cell=names)
    ds[PATH][[0, 3]] = np.nan
    figure = plot("paths", ds)
    assert [ax.get_title() for ax in figure.axes] == ["lstm", "gru"]
    assert "not gated: elman, jordan" in figure.get_suptitle()
    ds["status"][0] = OVERFLOWED  # of a cell that never ran to the end nothing is known
    assert [ax.get_title() for ax in plot("paths", ds).axes] == ["elman", "lstm", "gru"]
    assert titled(plot("paths", ds), "elman").texts[0].get_text() == "all cases overflowed"


def test_paths_needs_gated_cells(paths):
    paths[PATH][:] = np.nan
    with pytest.raises(UserMistake, match=f"the record {PATH} of gated cells, got none"):
        plot("paths", paths)


def test_paths_of_layers_one_replicate_and_one_lag(paths):
    expanded = xr.concat([paths[[PATH]] - 1.0, paths[[PATH]]], dim="layer")
    ds = expanded.transpose("forget_bias", "replicate", "layer", ...).assign_coords(layer=[0, 1])
    ds["status"] = paths["status"]
    figure = plot("paths", ds)
    assert "layer: 1" in figure.get_suptitle()
    np.testing.assert_array_equal(
        figure.axes[3].lines[0].get_ydata(), plot("paths", paths).axes[3].lines[0].get_ydata()
    )
    assert [ax.get_title() for ax in plot("paths", ds, panel="layer").axes] == ["layer 0", "layer 1"]
    (ax,) = plot("paths", paths.isel(forget_bias=3, replicate=[0], lag=[5])).axes
    assert [line.get_marker() for line in ax.lines] == ["o"] * 3
    assert not ax.collections


def test_the_level_of_no_change_is_where_the_states_start(cells):
    ax = titled(plot("cells", cells), "tanh")
    (level,) = (line for line in ax.lines if len(line.get_xdata()) == 2)
    starts = np.median(np.median(cells[STATE].values[:, 0, :, 0], axis=1))
    np.testing.assert_allclose(level.get_ydata(), [starts, starts], rtol=1e-14, atol=0)
