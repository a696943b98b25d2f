"""Helpers that figures share."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.lines import Line2D

from gradlab.figures import registry, selection, style
from gradlab.figures.panels import wrapped


def test_spread_is_that_of_numpy_over_what_is_there():
    values = np.random.default_rng(0).standard_normal((9, 4))
    values[:3, 1] = np.nan
    found = selection.spread(values, axis=0)
    np.testing.assert_allclose(found.low, np.nanpercentile(values, 25, axis=0), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.median, np.nanmedian(values, axis=0), rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.high, np.nanpercentile(values, 75, axis=0), rtol=1e-14, atol=0)


def test_spread_of_nothing_is_nan_and_of_zeros_is_minus_infinity():
    found = selection.spread(np.array([[np.nan, -np.inf], [np.nan, -np.inf], [np.nan, 1.0]]), axis=0)
    np.testing.assert_array_equal(found.median, [np.nan, -np.inf])


def test_masked_leaves_ok_cases_only(small):
    small["status"][0, 0, 0, 0, 0] = selection.OVERFLOWED
    data = selection.masked(small, "growth_rate")
    assert np.isnan(data.values[0, 0, 0, 0, 0])
    assert int(data.isnull().sum()) == 1


def test_default_slices(dataset):
    cut = selection.sliced(dataset, ("activation",))
    assert cut.words == ("radius: 1", "length: 200", "clip: off")
    assert set(cut.ds.dims) == {"activation", "replicate", "lag"}


def test_selected_labels_are_named(small):
    cut = selection.sliced(small.sel(clip="norm(1.0)", length=10), ("radius", "activation"))
    assert set(cut.words) == {"clip: norm(1.0)", "length: 10"}


def test_filtered_points_are_not_counted_as_left_out(small):
    small["status"][0] = selection.NOT_RUN
    assert selection.counted_out(small).endswith("36 not run")
    small["case_key"][0] = ""
    assert selection.counted_out(small) == ""


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"long_name": "adjoint norm", "units": "log10 of a norm"}, "log$_{10}$ adjoint norm"),
        ({"long_name": "mean log norm", "units": "log10 of a norm"}, "mean log norm (log$_{10}$)"),
        ({"long_name": "spectral radius", "units": "1"}, "spectral radius (dimensionless)"),
        ({"long_name": "clip angle", "units": "rad"}, "clip angle (rad)"),
        ({}, "some record (dimensionless)"),
    ],
)
def test_axis_label(attrs, expected):
    ds = xr.Dataset({"some_record": ("x", [1.0], attrs)})
    assert selection.axis_label(ds, "some_record") == expected


def test_axis_label_knows_units_that_a_dataset_forgot():
    ds = xr.Dataset(coords={"lag": [0, 1]})
    assert selection.axis_label(ds, "lag") == "lag (time steps)"


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ([25, 50, 100, 200], True),
        ([0.5, 1.0, 1.5], False),
        ([1, 10, 60], True),
        ([0, 1, 100], False),
        ([1, 2], False),
    ],
)
def test_geometric_numbers(values, geometric):
    assert style.is_geometric(values) is geometric


def test_thousands_of_lags_are_thinned_and_it_is_said(small):
    long = small.isel(lag=np.zeros(2500, dtype=int))
    cut = selection.thinned(selection.sliced(long, ("radius",)))
    assert cut.ds.sizes["lag"] == 834
    assert "one lag in 3 drawn" in cut.words


@pytest.mark.parametrize(
    ("label", "name"), [("norm(1.0)", "norm"), ("off", "off"), ("ginibre(radius=1.0)", "ginibre")]
)
def test_entry_name(label, name):
    assert selection.entry_name(label) == name


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("tanh", ["tanh"]),
        ("antisymmetric(norm=0.95)", ["antisymmetric", "(norm=0.95)"]),
        ("ginibre(gain=0.5), input gate", ["ginibre(gain=0.5),", "input gate"]),
        ("radius 1.1, gain 1.25, hidden 64", ["radius 1.1, gain", "1.25, hidden 64"]),
        ("spectral radius (dimensionless)", ["spectral radius", "(dimensionless)"]),
    ],
)
def test_labels_are_broken_around_parentheses(label, lines):
    assert wrapped(label, 18).split("\n") == lines


TEXT = np.dtypes.StringDType()


def deepened(ds, layers=3, reverse=True):
    """Give the profiles layers (each higher than the one before by its number) and directions."""
    ds = ds.copy()
    for name in ("log10_state_gradient_norm", "log10_memory_gradient_norm"):
        above = xr.DataArray(np.arange(layers, dtype=float), dims="layer")
        both = xr.DataArray(np.array([0.0, 100.0] if reverse else [0.0]), dims="direction")
        profile = ds[name] + above + both
        ds[name] = profile.transpose(*ds[name].dims[:-1], "layer", "direction", "lag")
        ds[name].attrs = {"long_name": name, "units": "log10 of a norm"}
    ds = ds.assign_coords(
        layer=np.arange(layers), direction=np.array(["forward", "reverse"][: 1 + reverse], TEXT)
    )
    return ds if reverse else ds.isel(direction=0, drop=True)


def test_layers_and_directions_are_axes_of_what_has_them(small):
    ds = deepened(small)
    assert selection.axes_of(ds)[-2:] == ["layer", "direction"]
    assert "layer" in selection.numeric_axes(ds)
    assert "direction" in selection.label_axes(ds)
    assert selection.axes_of(selection.narrowed(ds, "growth_rate")) == selection.axes_of(small)
    assert selection.axes_of(selection.narrowed(ds, "log10_state_gradient_norm")) == selection.axes_of(ds)
    both = selection.narrowed(ds, "log10_state_gradient_norm", "growth_rate")
    np.testing.assert_array_equal(
        both["log10_state_gradient_norm"], ds["log10_state_gradient_norm"].isel(layer=2, direction=0)
    )
    assert (int(both["layer"]), str(both["direction"].values)) == (2, "forward")


def test_what_is_no_axis_stays_none(small):
    ds = small.assign(a=(("path", "loss_time", "time"), np.zeros((3, 4, 4))), b=(("gate",), np.zeros(2)))
    assert selection.axes_of(ds) == selection.axes_of(small)


def test_the_layer_nearest_the_loss_is_shown_in_the_forward_direction(small):
    cut = selection.sliced(deepened(small), ("radius", "activation"))
    assert cut.words == ("length: 20", "clip: off", "layer: 2", "direction: forward")
    expected = small["log10_state_gradient_norm"].sel(length=20, clip="off", drop=True) + 2.0
    np.testing.assert_array_equal(cut.ds["log10_state_gradient_norm"], expected)


@pytest.mark.parametrize("shown", [("layers", "activation"), ("activation",)])
def test_each_network_is_shown_at_its_own_top_layer(small, shown):
    """A sweep over the number of layers: 1, 2 and 3 at the first three radii."""
    ds = (
        deepened(small.isel(radius=slice(3)), reverse=False)
        .rename(radius="layers")
        .assign_coords(layers=[1, 2, 3])
    )
    profile = ds["log10_state_gradient_norm"]
    ds["log10_state_gradient_norm"] = profile.where(ds["layer"] < ds["layers"]).transpose(*profile.dims)
    cut = selection.sliced(ds, shown)
    assert "layer: nearest the loss" in cut.words
    plain = small["log10_state_gradient_norm"].sel(length=20, clip="off", drop=True)
    if "layers" in shown:
        expected = np.stack([plain.isel(radius=i).values + i for i in range(3)])
    else:
        assert "layers: 3" in cut.words
        expected = plain.isel(radius=2).values + 2.0
    found = cut.ds["log10_state_gradient_norm"]
    order = [dim for dim in ("layers", "activation", "replicate", "lag") if dim in found.dims]
    np.testing.assert_array_equal(found.transpose(*order).values, expected)


def test_learners_are_cut_at_full_back_propagation_and_make_no_curves(small):
    ds = small.rename(clip="learner").assign_coords(learner=np.array(["truncated(5)", "bptt", "rtrl"], TEXT))
    assert "learner: bptt" in selection.sliced(ds, ("radius",)).words
    assert selection.curve_axis(ds, {"radius", "length"}) != "learner"
    assert selection.panel_axis(ds, {"activation"}) is None


@pytest.mark.parametrize("name", ["profile", "phase", "clipping", "lengths"])
def test_figures_of_deep_networks(small, name):
    figure = registry.build(name).plot(deepened(small))
    texts = [text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))]
    assert any("direction: forward" in text.replace("\n", " ") for text in texts)


def test_no_exact_slope_is_drawn_over_a_network_of_layers(small):
    small.attrs |= {"cell": "elman", "spectrum": "orthogonal", "looks": "one"}
    one = small.sel(activation=["tanh"]).assign_coords(activation=np.array(["identity"], TEXT))

    def exact(ds):
        return [
            line for line in registry.build("profile").plot(ds).findobj(Line2D) if line.get_gid() == "exact"
        ]

    assert exact(one)
    assert not exact(deepened(one))
