"""Updates along an axis: their scale, and trainings of unlike lengths with records of their own."""

import numpy as np
import pytest
from datasets import recorded, trained
from matplotlib.collections import QuadMesh
from test_figures_training import SPEC, curves, plot, small_print

import gradlab
from gradlab.figures import updates


@pytest.fixture(scope="module")
def several():
    """Trainings of as many updates as an axis says, each with updates of its own that are recorded."""
    training = {**SPEC["training"], "updates": 8}
    sweep = {"training.updates": [6, 40, 15], "clip": ["off", {"name": "norm", "threshold": 0.5}]}
    return gradlab.run({**SPEC, "training": training, "sweep": sweep})


def test_runs_of_fewer_updates_end_where_they_were_to(several):
    figure = plot("training", several, curve="updates")
    assert "stopped early" not in small_print(figure)
    loss, *_ = figure.axes
    for line, count in zip(curves(loss), several["updates"].values, strict=True):
        own = several["loss"].sel(updates=count).isel(clip=0, replicate=0).dropna("update")["update"].values
        assert own[-1] == count - 1
        np.testing.assert_array_equal(line.get_xdata(), own)


def test_panels_of_fewer_updates_have_their_own(several):
    figure = plot("flow", several, panel="updates")
    assert "stopped early" not in small_print(figure)
    for ax, count in zip(figure.axes, several["updates"].values, strict=False):
        (image,) = [found for found in ax.collections if isinstance(found, QuadMesh)]
        values = np.ma.filled(image.get_array(), np.nan)
        assert values.shape[-1] == several["loss"].sel(updates=count).isel(clip=0, replicate=0).count()
        assert not np.isnan(values).any()


def test_a_solved_run_is_held_as_long_as_it_was_to_go_on(several):
    ds = several.copy(deep=True)
    last = int(ds["update"].values[ds["loss"].sel(updates=40).isel(clip=0, replicate=0).notnull()][-2])
    ds["loss"].loc[{"updates": 40, "replicate": 1, "update": slice(last + 1, None)}] = np.nan
    ds["solved_at"].loc[{"updates": 40, "replicate": 1}] = last + 3
    assert "2 runs stopped early and are held at their last values" in small_print(plot("training", ds))
    assert "stopped early" not in small_print(plot("training", ds.sel(updates=[6, 15])))


def test_widening_updates_have_a_place_for_number_zero(training):
    ax = plot("training", training).axes[-1]
    place = ax.transData.transform([[u, 0.5] for u in (0, 1, 3, 7)])[:, 0]
    np.testing.assert_allclose(np.diff(place), np.diff(place)[0], rtol=1e-9)
    ax.figure.canvas.draw()
    ticks = [t.get_text() for t in ax.get_xticklabels()]
    assert ticks == ["0", "1", "10", "100"]


def test_even_updates_stay_on_an_even_axis():
    ax = plot("training", trained(np.arange(0, 1000, 50))).axes[-1]
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize(
    "numbers", [recorded(10_000, 30), np.arange(0, 500, 25), np.array([3]), np.array([0, 9])]
)
def test_borders_lie_between_updates(numbers):
    edges = updates.update_edges(numbers)
    assert len(edges) == len(numbers) + 1
    assert (edges[:-1] < numbers).all()
    assert (numbers < edges[1:]).all()
