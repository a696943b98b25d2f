"""What the experiments that train claim, at a size of seconds, against baselines that are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import gradlab
from gradlab.experiment.grid import expand

Ran = Callable[..., xr.Dataset]


def baselines(folder: Path, name: str) -> list[dict[str, float]]:
    """Return the baselines of every task of an experiment, along the sweep."""
    return [task.baselines(0, 0) for task in expand(gradlab.load_spec(folder / f"{name}.toml")).tasks]


def test_beyond_the_wall_only_the_clipped_descent_stays_on_the_plane(ran: Ran) -> None:
    ds = ran("pascanu-cliff", "landscape.first.num=5", "landscape.second.num=5")
    loss = ds["descent_loss"].isel(replicate=0)
    first, second = (ds[f"descent_{name}"].isel(replicate=0) for name in ("first", "second"))
    inside = (first >= 4.2) & (first <= 5.2) & (second >= -2.75) & (second <= -2.1)
    assert bool(inside.sel(clip="norm(1.0)").all())
    assert not bool(inside.sel(clip="off").isel(update=-1))
    ends = loss.isel(update=slice(-100, None)).median("update")  # at the wall single losses are chaotic
    assert float(ends.sel(clip="norm(1.0)")) < 0.1 * float(ends.sel(clip="off"))


@pytest.mark.parametrize("start", ["4.9", "4.900000000000001", "4.899999999999999"])
def test_where_the_clipped_descent_ends_does_not_hang_on_the_last_digit(ran: Ran, start: str) -> None:
    begin = f"landscape.begin=[{start}, -2.45]"
    ds = ran("pascanu-cliff", "landscape.first.num=5", "landscape.second.num=5", begin)
    ends = ds["descent_loss"].isel(replicate=0, update=slice(-100, None)).median("update")
    assert float(ends.sel(clip="off")) == pytest.approx(0.09, rel=1e-3, abs=0.0)
    assert 0.0038 / 1.5 < float(ends.sel(clip="norm(1.0)")) < 0.0048 * 1.5


def test_reading_word_by_word_beats_the_bag_of_words(ran: Ran, folder: Path) -> None:
    ds = ran("negation", "replicates=1", "training.updates=400", "training.records=2")
    (bound,) = baselines(folder, "negation")
    assert bound["bag_of_words"] == 0.4375
    assert (ds["final_metric"].sel(cell="elman") < 0.05).all()
    assert (ds["metric"].isel(update=0) > 0.35).all()  # nobody is born knowing it


def test_slots_are_told_by_what_came_before(ran: Ran, folder: Path) -> None:
    ds = ran("slots", "replicates=1", "training.updates=300", "training.records=2", "training.evaluate=300")
    (bound,) = baselines(folder, "slots")
    assert bound["word_alone"] == pytest.approx(1 / 12, rel=1e-12, abs=0.0)
    assert (ds["final_metric"].sel(cell=["elman", "jordan"]) < 0.02).all()


def test_a_year_is_forecast_better_than_by_the_last_one(ran: Ran, folder: Path) -> None:
    ds = ran("sunspots-forecast", "replicates=3", "training.records=2")
    record, shuffled = (bound["last_value"] for bound in baselines(folder, "sunspots-forecast"))
    assert record == pytest.approx(0.953, rel=1e-3, abs=0.0)
    errors = ds["final_metric"]
    assert (errors.sel(column="sunspots") < 0.65 * record).all()
    assert (errors.sel(column="shuffled") > ds["chance"].sel(column="shuffled") / 40).all()
    assert shuffled > record


def test_more_than_the_last_character_is_used(ran: Ran, folder: Path) -> None:
    ds = ran("characters", "replicates=1", "training.updates=400", "training.records=2")
    (bound,) = baselines(folder, "characters")
    assert bound["bigram"] == pytest.approx(3.04, abs=0.005)
    assert bound["unigram"] == pytest.approx(4.05, abs=0.005)
    assert (ds["final_metric"].sel(cell="elman") < 0.9 * bound["bigram"]).all()
    assert (ds["metric"].isel(update=0) > bound["unigram"]).all()


def test_a_small_threshold_saves_a_large_learning_rate(ran: Ran) -> None:
    rules = (
        'sweep.clip=[{name="off"}, {name="norm", threshold=0.1}, {name="norm", threshold=1.0}, '
        '{name="norm", threshold=10.0}]'
    )
    rates = "training.optimiser.rate=[0.01, 0.1, 0.31622776601683794, 1.0]"
    error = ran("clip-rules", "replicates=1", rules, rates)["final_metric"].isel(replicate=0)
    rate = error["rate"].values
    off, tight, loose, idle = (error.sel(clip=c) for c in ("off", "norm(0.1)", "norm(1.0)", "norm(10.0)"))
    assert float(off.sel(rate=rate[2])) < 0.05
    assert float(loose.sel(rate=rate[2])) < 0.05
    assert float(tight.sel(rate=rate[2])) > 0.2  # it creeps
    assert float(tight.sel(rate=1.0)) < 0.05
    assert min(float(one.sel(rate=1.0)) for one in (off, loose, idle)) > 0.3
    assert (idle.isel(rate=[0, 1]) == off.isel(rate=[0, 1])).all()  # it never acts


def test_relu_with_the_identity_leaves_the_plateau_and_tanh_stays(ran: Ran) -> None:
    ds = ran("irnn-adding", "replicates=2", "task.length=20", "training.updates=2000", "training.evaluate=50")
    plateau = float(ds["chance"].max())
    assert plateau == pytest.approx(1 / 6, rel=1e-12, abs=0.0)
    late = ds["loss"].isel(update=slice(-8, None)).mean("update")
    assert (late.sel(activation="relu") < plateau / 2).all()
    assert (late.sel(activation="tanh") > 0.75 * plateau).all()


def test_an_lstm_adds_where_an_elman_network_does_not(ran: Ran, folder: Path) -> None:
    ds = ran("hochreiter-adding", "replicates=1", "task.length=[25]", "training.updates=400")
    late = ds["loss"].isel(update=slice(-8, None)).mean("update").isel(replicate=0, length=0)
    plateau = float(ds["chance"].max())
    assert float(late.sel(cell="lstm(forget_bias=5.0)")) < plateau / 10
    assert float(late.sel(cell="elman")) > plateau / 2


def test_symbols_are_copied_better_than_without_memory(ran: Ran, folder: Path) -> None:
    ds = ran("copy-memory", "replicates=1", "task.length=[5]", "training.updates=500", "training.records=2")
    assert [bound["memoryless"] for bound in baselines(folder, "copy-memory")] == [0.875] * 3
    wrong = ds["final_metric"].isel(replicate=0, length=0)
    assert float(wrong.sel(spectrum="orthogonal(radius=1.0)")) < 0.1
    assert (wrong < 0.8).all()


def test_networks_that_draw_the_wave_have_as_many_parameters(folder: Path) -> None:
    spec = gradlab.load_spec(folder / "clockwork-wave.toml")
    counts = []
    for cell in ("clockwork([1, 2, 4, 8, 16, 32, 64])", "elman", "lstm(forget_bias=5.0)"):
        parameters = gradlab.draw(spec, cell=cell, replicate=0).parameters
        free = parameters["weight_ih_l0"].size + parameters["bias_ih_l0"].size + parameters["weight_ho"].size
        counts.append(free + parameters["bias_o"].size + int((parameters["weight_hh_l0"] != 0).sum()))
    assert counts == [1135, 1121, 1169]


def test_a_clockwork_network_draws_the_wave_first(ran: Ran) -> None:
    small = ("replicates=1", "task.length=160", "training.updates=100", "training.records=2")
    ds = ran("clockwork-wave", *small)
    missed = ds["final_metric"].isel(replicate=0)
    clockwork = float(missed.sel(cell="clockwork([1, 2, 4, 8, 16, 32, 64])"))
    assert clockwork < 0.25
    assert (missed.drop_sel(cell="clockwork([1, 2, 4, 8, 16, 32, 64])") > 2 * clockwork).all()


@pytest.mark.slow
@pytest.mark.long
def test_temporal_order_is_learnt_first_with_the_regulariser_and_not_from_sigmoid_weights(ran: Ran) -> None:
    small = ("replicates=1", "task.length=[20]", "training.updates=800", "training.evaluate=500")
    ds = ran("pascanu-temporal-order", *small).isel(replicate=0, length=0)
    sigmoid, basic, smart = (ds.isel(spectrum=i) for i in range(3))
    plain = {"clip": "norm(1.0)", "omega": 0.0}
    regularised = {"clip": "norm(1.0)", "omega": 0.1}
    assert int(smart["solved_at"].sel(regularised)) >= 0
    assert int(smart["solved_at"].sel(plain)) == -1
    assert int(basic["solved_at"].sel(plain)) == -1
    assert float(sigmoid["final_metric"].min()) > 0.65  # guessing: 0.75
