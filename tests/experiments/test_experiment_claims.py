"""What experiments/README.md tells the reader to expect, at small size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

Ran = Callable[..., xr.Dataset]
SWEEP = (
    "spectral-sweep",
    "replicates=3",
    "task.batch=8",
    "task.length=[100]",
    "network.spectrum.radius=[0.5,0.9,1.1,1.3,1.5]",
)
SCOPES = ("clipping-scopes", "replicates=2", "task.batch=8", "task.length=60")
ZOO = ("spectra-zoo", "replicates=1", "task.batch=4")
LSTM = ("lstm-forget-bias", "replicates=1", "task.batch=4", "task.length=30")
SUNSPOTS = ("sunspots", "replicates=2", "network.spectrum.radius=[0.8,1.2,1.6]")


@pytest.mark.parametrize(
    ("activation", "growing"),
    [
        ("identity", [False, False, True, True, True]),
        ("relu", [False, False, False, False, None]),  # the sign at 1.5 is the weights' luck
        ("tanh", [False] * 5),
        ("logistic", [False] * 5),
    ],
)
def test_where_the_slope_changes_sign(activation: str, growing: list[bool | None], ran: Ran) -> None:
    rate = ran(*SWEEP)["growth_rate"].sel(activation=activation, clip="off", length=100).mean("replicate")
    for value, expected in zip(rate.values, growing, strict=True):
        assert expected is None or (value > 0.0) == expected


def test_relu_needs_about_the_square_root_of_two(ran: Ran) -> None:
    settings = [s for s in SWEEP[1:] if "radius" not in s]
    radii = "network.spectrum.radius={start=1.2,stop=1.8,num=7}"
    ds = ran("spectral-sweep", *settings, radii, 'network.activation=["relu"]', 'clip=["off"]')
    rate = ds["growth_rate"].mean("replicate").squeeze()
    assert (np.diff(rate) > 0.0).all()
    crossing = float(np.interp(0.0, rate, ds["radius"]))
    assert crossing == pytest.approx(np.sqrt(2.0), rel=0.12, abs=0.0)


def test_the_logistic_function_loses_at_least_its_bound_at_every_step(ran: Ran) -> None:
    ds = ran(*SWEEP).sel(activation="logistic", clip="off")
    steps = ds["log10_state_gradient_norm"].diff("lag")
    assert (steps <= np.log10(ds["norm_drawn"] / 4) + 1e-12).all()


def test_in_the_main_job_parameter_clipping_leaves_the_profile_alone(ran: Ran) -> None:
    profile = ran(*SWEEP)["log10_state_gradient_norm"]
    np.testing.assert_array_equal(profile.sel(clip="norm(1.0)"), profile.sel(clip="off"))


@pytest.mark.parametrize("rule", ["norm(1.0)", "value(0.01)"])
def test_rules_on_parameters_never_change_a_profile(rule: str, ran: Ran) -> None:
    ds = ran(*SCOPES)
    profiles = [name for name in ds.data_vars if "lag" in ds[name].dims]
    assert len(profiles) >= 5
    for name in [*profiles, "growth_rate", "regime", "loss"]:
        np.testing.assert_array_equal(ds[name].sel(clip=rule), ds[name].sel(clip="off"))
    assert (ds["log10_clipped_gradient_norm"].sel(clip=rule) < ds["log10_gradient_norm"].sel(clip=rule)).any()


def test_clipping_the_adjoint_bounds_it_at_every_lag_and_changes_the_profile(ran: Ran) -> None:
    ds = ran(*SCOPES)
    batch, hidden = 8, 64
    profile = ds["log10_state_gradient_norm"]
    bounds = {
        "adjoint_norm(1.0)": np.log10(np.sqrt(batch)),
        "adjoint_value(0.1)": np.log10(0.1 * np.sqrt(batch * hidden)),
    }
    for rule, bound in bounds.items():
        assert (profile.sel(clip=rule) <= bound + 1e-12).all()
        assert (profile.sel(clip=rule, radius=1.1) != profile.sel(clip="off", radius=1.1)).any()
    linear = profile.sel(activation="identity", radius=1.1)
    assert (linear.sel(clip="off") > max(bounds.values())).all()  # or the rules would have had nothing to do


def test_only_the_joint_norm_keeps_the_direction(ran: Ran) -> None:
    ds = ran(*SCOPES).sel(activation="identity", radius=1.1)
    assert (ds["clip_angle"].sel(clip=["off", "norm(1.0)"]) == 0.0).all()
    turning = ds.sel(clip=["value(0.01)", "adjoint_norm(1.0)", "adjoint_value(0.1)"])
    assert (turning["clip_angle"] > 0.1).all()
    raw = ds["log10_gradient_norm"]
    np.testing.assert_allclose(raw, raw.sel(clip="off").broadcast_like(raw), rtol=1e-13, atol=0.0)


def families(ds: xr.Dataset, scaling: str) -> list[str]:
    """Return the labels of the spectra scaled by `scaling`."""
    return [label for label in ds["spectrum"].values.tolist() if scaling in label]


def late_slope(ds: xr.Dataset) -> xr.DataArray:
    """Return the slope over the last half of the lags, in decades a step."""
    profile = ds["mean_log10_sample_gradient_norm"]
    return (profile.isel(lag=199) - profile.isel(lag=99)) / 100


def test_the_zoo_has_the_same_families_twice_and_the_delay_line_once(ran: Ran) -> None:
    ds = ran(*ZOO)
    by_radius, by_norm = (
        {label.partition("(")[0] for label in families(ds, scaling)} for scaling in ("radius", "norm=")
    )
    assert by_norm - by_radius == {"delay_line"}
    assert by_radius < by_norm


def test_at_equal_radius_the_late_slope_is_the_radius(ran: Ran) -> None:
    ds = ran(*ZOO).sel(activation="identity")
    same = ds.sel(spectrum=families(ds, "radius="))
    np.testing.assert_allclose(same["radius_drawn"], 0.95, rtol=1e-9, atol=0.0)
    slope = late_slope(same) / np.log10(0.95)
    settled = [label for label in families(ds, "radius=") if not label.startswith("nonnormal")]
    np.testing.assert_allclose(slope.sel(spectrum=settled), 1.0, rtol=0.1, atol=0.0)
    assert ((slope > 0.5) & (slope < 1.1)).all()  # a nonnormal matrix is still on its way after 200 steps
    assert same["norm_drawn"].max() / same["norm_drawn"].min() > 15.0


def test_at_equal_norm_the_slope_is_anything_below_it(ran: Ran) -> None:
    ds = ran(*ZOO).sel(activation="identity")
    labels = families(ds, "norm=")
    same = ds.sel(spectrum=labels)
    profile = same["mean_log10_sample_gradient_norm"]
    lag = np.arange(200)
    assert (profile <= lag * np.log10(0.95) + 1e-12).all()
    slopes = late_slope(same.sel(spectrum=[label for label in labels if "delay_line" not in label]))
    assert slopes.min() < 50 * slopes.max() < 0.0


def test_a_nonnormal_matrix_grows_before_it_vanishes(ran: Ran) -> None:
    ds = ran(*ZOO).sel(activation="identity")
    (label,) = [label for label in families(ds, "radius") if label.startswith("nonnormal")]
    profile = ds["mean_log10_sample_gradient_norm"].sel(spectrum=label).squeeze()
    assert profile.isel(lag=slice(1, 60)).max() > 0.3
    assert profile.isel(lag=199) < profile.max() - 1.0


def test_a_delay_line_of_radius_zero_carries_gradients_for_63_steps(ran: Ran) -> None:
    ds = ran(*ZOO).sel(activation="identity", spectrum="delay_line(norm=0.95)")
    norms = ds["log10_state_gradient_norm"].squeeze().values
    assert float(ds["radius_drawn"].squeeze()) == 0.0
    assert np.isfinite(norms[:64]).all()
    assert norms[63] > -4.0
    assert np.isneginf(norms[64:]).all()


def test_with_tiny_weights_the_memory_shrinks_by_the_forget_gate(ran: Ran) -> None:
    ds = ran(*LSTM).sel(spectrum="ginibre(gain=1e-09)")
    steps = ds["log10_memory_gradient_norm"].diff("lag").squeeze()
    expected = -np.log10(1.0 + np.exp(-ds["forget_bias"]))
    np.testing.assert_allclose(
        steps, expected.broadcast_like(steps).transpose(*steps.dims), rtol=1e-7, atol=0.0
    )


def test_with_larger_weights_the_forget_gate_alone_does_not_decide(ran: Ran) -> None:
    ds = ran(*LSTM).squeeze()
    memory = ds["log10_memory_gradient_norm"]
    rate = (memory.isel(lag=29) - memory.isel(lag=0)) / 29
    alone = -np.log10(1.0 + np.exp(-ds["forget_bias"]))
    larger = rate.sel(spectrum=["ginibre(gain=0.5)", "ginibre(gain=1.0)", "ginibre(gain=2.0)"])
    assert (larger > alone + 0.002).all()
    assert (larger.sel(forget_bias=6.0) > 0.0).all()


def test_a_linear_network_does_not_see_its_inputs(ran: Ran) -> None:
    rate = ran(*SUNSPOTS, "network.activation=identity")["growth_rate"]
    np.testing.assert_allclose(rate.sel(column="shuffled"), rate.sel(column="sunspots"), rtol=1e-12, atol=0.0)
    expected = np.log10(rate["radius"]).broadcast_like(rate).transpose(*rate.dims)
    np.testing.assert_allclose(rate, expected, rtol=1e-12, atol=0.0)


def test_sunspots_saturate_tanh_less_than_the_same_readings_shuffled(ran: Ran) -> None:
    ds = ran(*SUNSPOTS).mean("replicate")
    record, shuffled = ds.sel(column="sunspots"), ds.sel(column="shuffled")
    gain = record["growth_rate"] - shuffled["growth_rate"]
    assert ((gain > 0.005) & (gain < 0.03)).all()
    assert (record["saturation"].mean("lag") > shuffled["saturation"].mean("lag")).all()
