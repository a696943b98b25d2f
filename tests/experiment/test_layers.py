"""Layers, directions and gates of a sweep whose networks differ in them, with made-up measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from gradlab.api import run
from gradlab.core.streams import digest
from gradlab.experiment import plan as planning
from gradlab.experiment.estimate import estimate
from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.runner import execute
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.spec import Spec
from gradlab.learning.taps import PATHS
from gradlab.measure.records import OK, RECORDS

DEEP = {
    "network.hidden": [3, 4, 5],
    "network.layers": [1, 3, 2],
    "network.bidirectional": [False, False, True],
    "zip": [["network.hidden", "network.layers", "network.bidirectional"]],
}
TABLE = {
    "replicates": 2,
    "record": list(RECORDS),
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 4},
    "sweep": {**DEEP, "network.cell": ["elman", "lstm"], "task.length": [4, 6]},
}


def own(name, run_, view):
    """Return what is measured of one case: numbers of its own, of its own shape."""
    net, work = run_.network, view.task
    sizes = {
        "layer": net.layers,
        "direction": net.directions,
        "gate": len(net.cell.recurrent_blocks),
        "path": 3,
    }
    sizes |= {"loss_time": work.length, "lag": work.lags, "time": work.length}
    seed = int(digest([name, net.hidden, net.cell.name, work.length, run_.replicate])[:12], 16)
    return np.random.default_rng(seed).normal(size=tuple(sizes[dim] for dim in RECORDS[name]))


def measured(block, record, memory, workspace):
    """Stand in for `probe`."""
    shape = (len(block.runs), len(block.views))
    out = {"status": np.full(shape, OK, np.int8), "first_overflow": np.full(shape, -1, np.int64)}
    for name in record:
        rows = [[own(name, one, view) for view in block.views] for one in block.runs]
        longest = np.max([values.shape for row in rows for values in row], axis=0).astype(int)
        out[name] = np.full((*shape, *longest), np.nan)
        for r, row in enumerate(rows):
            for v, values in enumerate(row):
                out[name][(r, v, *map(slice, values.shape))] = values
    if "regime" in out:
        out["regime"] = np.ones(shape, np.int8)
    return out


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    monkeypatch.setattr("gradlab.measure.probe.probe", measured)


def plan_of(**changes):
    return make_plan(expand(Spec.from_dict({**TABLE, **changes})))


def test_a_plan_knows_every_dimension():
    plan = plan_of()
    assert tuple(plan.along["direction"]) == ("forward", "reverse")
    assert plan.gates == ("state", "input_gate", "forget_gate", "candidate", "output_gate")
    sizes = {dim: len(labels) for dim, labels in plan.along.items()}
    assert sizes == {"layer": 3, "direction": 2, "gate": 5, "path": 3, "loss_time": 6, "lag": 6, "time": 6}
    assert tuple(plan.along["path"]) == PATHS
    assert plan.shape("log10_path_gradient_norm") == (3, 2, 3, 6)
    assert plan.shape("loss") == ()


def test_what_no_network_has_is_no_dimension():
    one = {"network.hidden": [3], "task.length": [4, 6]}
    assert set(plan_of(sweep=one).along) == {"path", "loss_time", "lag", "time"}
    assert plan_of(sweep=one).shape("radius_drawn") == ()
    assert plan_of(sweep=one).shape("saturation") == (6,)
    both = plan_of(sweep={}, network={"hidden": 4, "layers": 3, "cell": "lstm"})
    assert both.shape("radius_drawn") == (3, 4)
    assert "direction" not in both.along


def test_loss_times_go_on_where_no_loss_looks():
    plan = plan_of(sweep={}, task={"name": "noise", "length": 9, "at": [2]})
    assert (len(plan.along["lag"]), len(plan.along["loss_time"]), len(plan.along["time"])) == (3, 9, 9)


def test_every_number_stands_in_its_place_and_all_else_is_missing():
    plan = plan_of()
    sink = MemorySink(plan)
    outcome = execute(plan, sink)
    assert (outcome.done, outcome.failed) == (24, 0)
    for planned in plan.blocks():
        for r, one in enumerate(planned.block.runs):
            for v, view in enumerate(planned.block.views):
                place = tuple(planned.index[r, v])
                for name in RECORDS:
                    if name == "regime":
                        continue
                    values = own(name, one, view)
                    index = [range(n) for n in values.shape]
                    if "gate" in RECORDS[name]:
                        index[-1] = [plan.gates.index(block) for block in one.network.cell.recurrent_blocks]
                    wanted = np.full(plan.shape(name), np.nan)
                    wanted[np.ix_(*index) if index else ()] = values
                    np.testing.assert_array_equal(sink.arrays[name][place], wanted, err_msg=name)


@pytest.mark.parametrize(
    "sweep",
    [
        TABLE["sweep"],
        {"network.layers": [1, 2]},
        {"network.layers": [2], "network.bidirectional": [True], "network.cell": ["lstm"]},
        {"network.hidden": [3], "task.length": [4, 6]},
    ],
    ids=["all", "layers", "one network", "one layer"],
)
def test_an_archive_holds_what_memory_does(tmp_path, sweep):
    table = {**TABLE, "sweep": sweep}
    xr.testing.assert_identical(run(table, tmp_path / "a").load(), run(table))


def test_labels_choose_a_layer_a_direction_and_a_path():
    ds = run(TABLE)
    assert ds["log10_path_gradient_norm"].dims[4:] == ("layer", "direction", "path", "lag")
    bidirectional = ds.sel(hidden=5, cell="lstm", length=6, replicate=0)
    assert bidirectional["saturation"].sel(layer=1, direction="reverse").notnull().all()
    assert bidirectional["saturation"].sel(layer=2).isnull().all()
    assert ds["saturation"].sel(hidden=4, direction="reverse").isnull().all()
    assert (
        ds["log10_path_gradient_norm"].sel(path="memory", hidden=3, layer=0, length=4)[..., 4:].isnull().all()
    )


def test_leading_dimensions_of_one_may_be_left_out(monkeypatch):
    def flat(*arguments):
        found = measured(*arguments)
        return {n: v[:, :, 0, 0] if RECORDS.get(n, ())[:1] == ("layer",) else v for n, v in found.items()}

    one = {**TABLE, "sweep": {"network.hidden": [3], "network.cell": ["elman", "lstm"]}}
    whole = run(one)
    monkeypatch.setattr("gradlab.measure.probe.probe", flat)
    xr.testing.assert_identical(run(one), whole)


def test_disk_and_tiles_reckon_with_every_dimension(monkeypatch):
    monkeypatch.setattr("gradlab.experiment.estimate._seconds_per_unit", lambda *_, **__: np.array([1e-6]))
    plan = plan_of()
    numbers = sum(math.prod(plan.shape(name)) for name in RECORDS)
    assert numbers > 3 * 2 * 6 * 7
    assert estimate(plan).disk_bytes == 24 * 8 * (numbers + 6)
    monkeypatch.setattr(planning, "RESULT_BYTES", 8 * 3 * 2 * 6 * 12)  # of twelve profiles
    assert plan_of(replicates=16, record=["saturation"]).tile == (1, 1, 1, 12)
    assert plan_of(replicates=16, record=["log10_path_gradient_norm"]).tile == (1, 1, 1, 4)
    assert plan_of(replicates=16, record=["loss"]).tile == (1, 1, 1, 16)


def test_networks_of_different_depth_are_not_stacked():
    for planned in plan_of().blocks():
        assert len({one.network.structure() for one in planned.block.runs}) == 1
