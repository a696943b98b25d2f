"""Helpers that figures share."""

import numpy as np
import pytest
import xarray as xr

from gradlab.figures import selection, style
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
