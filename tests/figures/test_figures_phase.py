"""The map of growth rates."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.contour import ContourSet
from test_figures_entries import legend_texts, plot, titled

from gradlab.core.errors import UserMistake
from gradlab.figures.phase import centred, crossings, round_values
from gradlab.figures.selection import NOT_RUN


def test_phase_maps_medians_and_draws_the_zero_contour(dataset):
    figure = plot("phase", dataset)
    ax = titled(figure, "identity")
    mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
    expected = np.median(dataset["growth_rate"].sel(activation="identity", clip="off").values, axis=-1).T
    np.testing.assert_allclose(mesh.get_array(), expected, rtol=1e-14, atol=0)
    (contour,) = (c for c in ax.collections if isinstance(c, ContourSet))
    points = np.concatenate([path.vertices for path in contour.get_paths()])
    np.testing.assert_allclose(points[:, 0], 1.0, rtol=0, atol=0.06)
    assert not any(isinstance(c, ContourSet) for c in titled(figure, "logistic").collections)
    assert "growth rate zero" in legend_texts(figure)


def test_phase_colours_are_centred_at_zero_and_named(dataset):
    figure = plot("phase", dataset)
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    assert mesh.norm.vmin == -mesh.norm.vmax
    assert any(ax.get_ylabel() == "growth rate of the adjoint\n(decades per time step)" for ax in figure.axes)


def test_phase_hatches_what_overflowed(dataset):
    figure = plot("phase", dataset)
    (hatched,) = (c for c in titled(figure, "relu").collections if c.get_gid() == "overflowed")
    assert isinstance(hatched, PolyCollection)
    assert len(hatched.get_paths()) == 3
    assert hatched.get_hatch()
    assert "state overflowed" in legend_texts(figure)
    assert "no rate, or gradient zero" not in legend_texts(figure)


def test_phase_leaves_cells_without_a_rate_grey(small):
    small["status"][2, 0, 0, 0] = NOT_RUN
    assert "no rate, or gradient zero" in legend_texts(plot("phase", small))


def test_phase_with_rows_of_labels_marks_each_crossing(dataset):
    figure = plot("phase", dataset.sel(length=100, clip="off"))
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["tanh", "relu", "logistic", "identity"]
    (marks,) = (c for c in ax.collections if isinstance(c, LineCollection) and c.get_gid() == "zero")
    rows = sorted({round(float(segment[:, 1].mean())) for segment in marks.get_segments()})
    assert rows == [1, 3]


def test_phase_takes_the_axes_it_is_told(dataset):
    figure = plot("phase", dataset, x="length", y="activation")
    assert figure.axes[0].get_xlabel() == "sequence length (time steps)"
    assert "radius: 1" in figure.get_suptitle()


def test_phase_of_labels_alone(labels_only):
    ax = plot("phase", labels_only).axes[0]
    assert {ax.get_xlabel(), ax.get_ylabel()} == {"activation", "clipping"}


def test_phase_needs_two_axes(small):
    with pytest.raises(UserMistake, match="two axes of several values each, got one with radius, clip"):
        plot("phase", small.isel(activation=0, length=0, clip=[0], drop=True))
    with pytest.raises(UserMistake, match="two different axes, got 'radius' twice"):
        plot("phase", small, x="radius", y="radius")


def test_crossings_between_neighbours():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert crossings(x, np.array([-1.0, 3.0, np.nan, -1.0, 0.0])) == [0.25, 4.0]


@pytest.mark.parametrize(
    ("values", "reach"),
    [
        ([-0.1, 0.1], 0.1),
        ([-1.0, 0.4], 1.0),
        ([-0.01, 3.0], 3.0),
        ([-2.0, -1.0], 2.0),
        ([0.0], 1.0),
        ([], 1.0),
    ],
)
def test_scale_centred_at_zero(values, reach):
    norm = centred([np.array(values)])
    assert (norm.vmin, norm.vmax) == (-reach, reach)
    places = norm(reach * np.array([-1.0, -0.04, 0.0, 0.04, 1.0]))  # small rates are a fifth of the way out
    np.testing.assert_allclose(places, [0.0, 0.4, 0.5, 0.6, 1.0], rtol=1e-12, atol=1e-15)
    back = norm.inverse(np.array([0.0, 0.4, 0.6, 1.0])) / reach
    np.testing.assert_allclose(back, [-1.0, -0.04, 0.04, 1.0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("reach", "upper"),
    [(0.98, [0.1, 0.5]), (1.0, [0.2, 1.0]), (0.23, [0.05, 0.2]), (0.3, [0.05, 0.2]), (4e-7, [5e-8, 2e-7])],
)
def test_ticks_of_the_scale_are_round_and_within_it(reach, upper):
    ticks = round_values(reach)
    assert ticks == [-upper[1], -upper[0], 0.0, *upper]


def test_phase_takes_rounding_noise_for_zero(small):
    one = small.isel(activation=[0, 1], length=0, clip=0, drop=True)
    rates = np.array([-0.05, -0.02, 1.6e-20, -3e-17, 2e-18])
    one["growth_rate"][:] = rates[:, None, None]
    figure = plot("phase", one)
    (mesh,) = (c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    np.testing.assert_array_equal(mesh.get_array()[0], [-0.05, -0.02, 0.0, 0.0, 0.0])
    (marks,) = (c for c in figure.axes[0].collections if c.get_gid() == "zero")
    assert {round(float(x), 9) for segment in marks.get_segments() for x in segment[:, 0]} == {1.0, 1.25, 1.5}


def test_phase_puts_the_axis_of_more_labels_along_y(zoo):
    ax = plot("phase", zoo).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("activation", "spectrum")
    assert len(ax.get_yticklabels()) == 25
    assert plot("phase", zoo, x="spectrum").axes[0].get_xlabel() == "spectrum"


def test_phase_marks_the_zero_also_with_labels_along_x(small):
    ds = small.isel(length=0, clip=0)
    ds["growth_rate"][:] = (ds["radius"] - 1.01).broadcast_like(ds["growth_rate"])
    for along, options in enumerate(({"x": "radius", "y": "activation"}, {"x": "activation", "y": "radius"})):
        ax = plot("phase", ds, **options).axes[0]
        (marks,) = (c for c in ax.collections if c.get_gid() == "zero")
        ends = np.array(marks.get_segments())
        assert len(ends) == ds.sizes["activation"]
        np.testing.assert_allclose(ends[:, :, along], 1.01, rtol=1e-12, atol=0)
        np.testing.assert_allclose(np.diff(ends[:, :, 1 - along]), 1.0, rtol=1e-12, atol=0)
