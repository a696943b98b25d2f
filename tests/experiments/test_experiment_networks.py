"""What experiments/README.md tells the reader to expect of cells, layers and learners, at small size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

Ran = Callable[..., xr.Dataset]
CELLS = ("cells-compared", "replicates=2", "task.batch=4", "network.hidden=32", "task.outputs=32")
CREDIT = ("credit-matrix", "replicates=2", "task.batch=4", "network.hidden=16", "task.length=48")
DEEP = ("deep-and-bidirectional", "replicates=3", "task.batch=4")
CLOCK = ("clockwork-periods", "replicates=2", "task.batch=4")
TRUNCATION = ("truncation", "replicates=2", "task.batch=8")
FORWARD = ("rtrl-equals-bptt", "replicates=2", "network.hidden=6", "task.length=30")
STATE = "log10_state_gradient_norm"


# --- cells-compared -------------------------------------------------------------------------------------


def lost(ds: xr.Dataset) -> xr.DataArray:
    """Return the decades that the adjoint of the state shrinks by from the first lag to the last."""
    profile = ds[STATE].mean("replicate")
    return profile.isel(lag=0) - profile.isel(lag=-1)


def test_which_cell_loses_how_many_decades(ran: Ran) -> None:
    tanh = lost(ran(*CELLS).sel(activation="tanh"))
    by_name = {str(cell).partition("(")[0]: float(tanh.sel(cell=cell)) for cell in tanh["cell"].values}
    assert len(by_name) == 8
    elman, jordan, gru = (by_name[name] for name in ("elman", "jordan", "gru"))
    assert jordan == pytest.approx(elman, rel=0.2, abs=0.0)
    assert min(elman, jordan) > gru > 0.5 * elman
    for name in ("lstm", "peephole_lstm"):
        assert 2.0 * by_name["clockwork"] < by_name[name] < 0.5 * min(elman, jordan, gru)
    irnn = float(lost(ran(*CELLS).sel(activation="relu", cell="elman")))
    assert max(abs(x) for x in (by_name["antisymmetric"], by_name["linear_diagonal"], irnn)) < 1.0


def test_only_the_elman_cell_has_relu_units(ran: Ran) -> None:
    relu = ran(*CELLS)["status"].sel(activation="relu")
    assert relu["cell"].values[(relu == 1).all("replicate").values].tolist() == ["elman"]
    assert (relu.sel(cell=relu["cell"] != "elman") == 0).all()


def test_the_memory_alone_is_all_at_lag_0_and_next_to_nothing_at_lag_199(ran: Ran) -> None:
    paths = ran(*CELLS)["log10_path_gradient_norm"].sel(activation="tanh")
    gated = paths.sel(cell=[c for c in paths["cell"].values if "lstm" in str(c) or "gru" in str(c)])
    assert gated.sizes["cell"] == 3
    memory, rest, total = (gated.sel(path=path) for path in ("memory", "rest", "total"))
    assert np.isneginf(rest.isel(lag=0)).all()
    np.testing.assert_array_equal(memory.isel(lag=0), total.isel(lag=0))
    assert (memory.isel(lag=1) > rest.isel(lag=1)).all()
    assert (memory.isel(lag=slice(10, None)) < rest.isel(lag=slice(10, None))).all()
    assert (memory.isel(lag=199) < rest.isel(lag=199) - 8.0).all()
    bound = np.log10(10.0**memory + 10.0**rest)
    assert (total <= bound + 1e-12).all()
    others = paths.sel(cell=[c for c in paths["cell"].values if c not in gated["cell"].values])
    assert others.isnull().all()


# --- credit-matrix --------------------------------------------------------------------------------------


def test_no_loss_reaches_a_later_state(ran: Ran) -> None:
    credit = ran(*CREDIT)["log10_credit_norm"]
    reached = (credit["lag"] <= credit["loss_time"]).broadcast_like(credit)
    np.testing.assert_array_equal(np.isfinite(credit), reached.transpose(*credit.dims))


def test_the_last_row_is_what_a_final_loss_alone_gives(ran: Ran) -> None:
    final = ran(*CREDIT, 'task.at="final"', f'record=["{STATE}"]')[STATE]
    last = ran(*CREDIT)["log10_credit_norm"].sel(loss_time=47)
    np.testing.assert_allclose(last, final, rtol=0, atol=1e-12)  # of a logarithm


def band(credit: xr.DataArray, lag: int) -> xr.DataArray:
    """Return what is left after `lag` time steps of each later loss, in decades."""
    late = credit.sel(loss_time=slice(24, None)).mean("replicate")
    return late.sel(lag=lag) - late.sel(lag=0)


def test_credit_fades_along_bands_and_in_the_lstm_more_slowly(ran: Ran) -> None:
    credit = ran(*CREDIT)["log10_credit_norm"]
    far = {str(c).partition("(")[0]: band(credit.sel(cell=c), 20) for c in credit["cell"].values}
    for cell in ("elman", "gru"):
        assert far[cell].mean() < -2.0
        assert far[cell].std() < 0.2 * abs(far[cell].mean())
    assert far["elman"].mean() < far["gru"].mean() < far["lstm"].mean() < -0.5
    assert far["clockwork"].mean() > far["lstm"].mean()


def test_the_columns_of_a_clockwork_network_stand_in_blocks(ran: Ran) -> None:
    """Far back a state is worth the same from a tick of the slowest module to the next, and then more."""
    row = ran(*CREDIT)["log10_credit_norm"].sel(cell="clockwork", loss_time=47).mean("replicate")
    by_time = row.values[::-1]  # of the states of time steps 0 to 47
    steps = np.diff(by_time)[:32]
    ticks = steps[7::8]  # into the time steps 8, 16, 24 and 32
    between = np.delete(steps, np.arange(7, 32, 8))
    assert ticks.min() > 10.0 * np.abs(between).max()


# --- deep-and-bidirectional -----------------------------------------------------------------------------


def test_in_the_top_layer_nothing_changes(ran: Ran) -> None:
    profile = ran(*DEEP)[STATE].sel(direction="forward")
    for layers in (1, 2, 3):
        top = profile.sel(layers=layers, layer=layers - 1)
        first = top.isel(lag=0).broadcast_like(top).transpose(*top.dims)
        np.testing.assert_allclose(top, first, rtol=0, atol=1e-12)  # of a logarithm


@pytest.mark.parametrize(("below", "paths", "tolerance"), [(1, 100, 0.12), (2, 5050, 0.35)])
def test_below_it_adjoints_grow_with_the_root_of_the_number_of_paths(
    below: int, paths: int, tolerance: float, ran: Ran
) -> None:
    profile = ran(*DEEP)[STATE].sel(layers=3, layer=2 - below, bidirectional="false", direction="forward")
    grown = float((profile.isel(lag=99) - profile.isel(lag=0)).mean("replicate"))
    assert grown == pytest.approx(0.5 * np.log10(paths), abs=tolerance)


def test_read_both_ways_two_layers_below_the_start_is_higher_and_the_growth_less(ran: Ran) -> None:
    profile = ran(*DEEP)[STATE].sel(layers=3, layer=[0, 2], direction="forward").mean("replicate")
    above = profile.sel(layer=0) - profile.sel(layer=2)
    one_way, both_ways = (above.sel(bidirectional=label) for label in ("false", "true"))
    assert both_ways.isel(lag=0) > one_way.isel(lag=0) + 0.3
    grown = [float(one.isel(lag=99) - one.isel(lag=0)) for one in (one_way, both_ways)]
    assert 0.5 < grown[1] < grown[0] - 0.4


def test_the_loss_sees_the_reverse_direction_of_the_top_layer_at_lag_0_only(ran: Ran) -> None:
    reverse = ran(*DEEP)[STATE].sel(bidirectional="true", direction="reverse")
    for layers in (1, 2, 3):
        own = reverse.sel(layers=layers)
        assert np.isfinite(own.sel(layer=layers - 1, lag=0)).all()
        assert own.sel(layer=layers - 1).isel(lag=slice(1, None)).isnull().all()
        assert np.isfinite(
            own.sel(layer=slice(0, layers - 2)) if layers > 1 else own.sel(lag=0, layer=0)
        ).all()
    assert ran(*DEEP)[STATE].sel(bidirectional="false", direction="reverse").isnull().all()


# --- clockwork-periods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [2, 4, 8])
def test_one_module_of_period_p_lives_p_times_as_slowly(period: int, ran: Ran) -> None:
    profile = ran(*CLOCK)[STATE].sel(activation="identity")
    lag = np.arange(200)
    ticks = 199 // period - (199 - lag) // period  # between the state and the loss
    expected = profile.sel(periods="[1]").isel(lag=ticks)
    np.testing.assert_allclose(profile.sel(periods=f"[{period}]"), expected, rtol=0, atol=1e-11)


def test_with_tanh_the_slope_is_about_that_of_period_1_over_p(ran: Ran) -> None:
    rate = ran(*CLOCK)["growth_rate"].sel(activation="tanh").mean("replicate")
    for period in (2, 4, 8):
        slower = float(rate.sel(periods=f"[{period}]"))
        assert slower == pytest.approx(float(rate.sel(periods="[1]")) / period, rel=0.15, abs=0.0)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_several_modules_have_the_slope_of_the_slowest(activation: str, ran: Ran) -> None:
    rate = ran(*CLOCK)["growth_rate"].sel(activation=activation).mean("replicate")
    one, eight = float(rate.sel(periods="[1]")), float(rate.sel(periods="[8]"))
    for periods in ("[1, 8]", "[1, 2, 4, 8]"):
        assert one / 3 < float(rate.sel(periods=periods)) < 0.0
    assert float(rate.sel(periods="[1, 8]")) == pytest.approx(eight, rel=0.4, abs=0.0)


# --- truncation -----------------------------------------------------------------------------------------


def test_the_widest_window_is_full_back_propagation(ran: Ran) -> None:
    ds = ran(*TRUNCATION)
    whole = ds.sel(learner="truncated(window=100)")
    assert (whole["learner_bias"] < 1e-13).all()
    np.testing.assert_allclose(whole["cosine_to_bptt"], 1.0, rtol=1e-14, atol=0)
    assert (ds.sel(learner="truncated(window=50)")["learner_bias"] > 0.0).all()


def test_wider_windows_leave_less_out(ran: Ran) -> None:
    bias = ran(*TRUNCATION)["learner_bias"].isel(learner=slice(1, None))
    assert (bias.diff("learner") < 0.0).all()
    assert (bias.isel(learner=0) > 0.5).all()


def test_how_much_a_window_leaves_out_at_which_radius(ran: Ran) -> None:
    bias = ran(*TRUNCATION)["learner_bias"]
    twenty, fifty = (bias.sel(learner=f"truncated(window={w})") for w in (20, 50))
    for radius, share in ((0.8, 0.01), (0.9, 0.1)):
        assert (abs(np.log2(twenty.sel(radius=radius) / share)) < 1.0).all()
    assert (twenty.sel(radius=[1.0, 1.1]) > 0.6).all()
    assert (fifty.sel(radius=[1.0, 1.1]) > 0.25).all()


def test_the_learner_changes_no_adjoint(ran: Ran) -> None:
    ds = ran(*TRUNCATION)
    for name in (STATE, "growth_rate", "loss"):
        one = ds[name].sel(learner="bptt").broadcast_like(ds[name]).transpose(*ds[name].dims)
        np.testing.assert_array_equal(ds[name], one)


# --- rtrl-equals-bptt -----------------------------------------------------------------------------------


def test_rtrl_is_back_propagation_to_rounding_in_every_cell(ran: Ran) -> None:
    ds = ran(*FORWARD)
    own = ds.sel(learner="rtrl")
    assert own.sizes["cell"] == 4
    assert (own["learner_bias"] < 1e-12).all()
    np.testing.assert_allclose(own["cosine_to_bptt"], 1.0, rtol=1e-12, atol=0)
    assert (own["learner_spread"] == 0.0).all()


def test_snap1_is_exact_where_no_unit_sees_another(ran: Ran) -> None:
    own = ran(*FORWARD).sel(learner="snap1")
    assert (own["learner_bias"].sel(cell="linear_diagonal") < 1e-12).all()
    others = own.sel(cell=own["cell"] != "linear_diagonal")
    assert (others["learner_bias"] > 0.01).all()
    assert (others["cosine_to_bptt"] > np.cos(np.deg2rad(30.0))).all()


@pytest.mark.slow
@pytest.mark.long
def test_the_mean_of_many_draws_of_uoro_nears_the_gradient(ran: Ran) -> None:
    learners = 'learner=[{name="uoro",draws=16},{name="uoro",draws=256}]'
    few, many = (ran(*FORWARD, learners).sel(learner=f"uoro({draws})") for draws in (16, 256))
    for ds, draws in ((few, 16), (many, 256)):
        expected = ds["learner_spread"] / np.sqrt(draws)
        assert (abs(np.log2(ds["learner_bias"] / expected)) < 1.0).all()
    assert many["learner_bias"].mean() < 0.5 * few["learner_bias"].mean()
    np.testing.assert_array_equal(many["cosine_to_bptt"], few["cosine_to_bptt"])  # of the first draw


def test_one_gradient_of_uoro_is_too_long_and_points_elsewhere(ran: Ran) -> None:
    ds = ran(*FORWARD)
    own = ds.sel(learner="uoro(256)")
    assert (own["log10_gradient_norm"] > ds["log10_gradient_norm"].sel(learner="bptt")).all()
    assert (own["cosine_to_bptt"] > 0.1).all()
    assert (own["cosine_to_bptt"].mean("replicate") < 0.9).all()


def test_online_learners_form_something_at_every_time_step(ran: Ran) -> None:
    online = ran(*FORWARD)["log10_online_gradient_norm"]
    assert online.dims[-1] == "time"
    assert np.isfinite(online.sel(learner=online["learner"] != "bptt")).all()
    assert online.sel(learner="bptt").isnull().all()
