"""The planner: nothing lost, nothing doubled, everything shared that can be, and the spec alone decides."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.spec import Spec

SAMPLE = {
    "seed": 0,
    "replicates": 8,
    "network": {
        "cell": "elman",
        "hidden": 64,
        "activation": "tanh",
        "spectrum": {"name": "ginibre", "radius": 1.0},
    },
    "task": {"name": "noise", "features": 8, "batch": 32, "length": 200, "loss": "mse", "at": "final"},
    "clip": {"name": "off"},
    "sweep": {
        "network.spectrum.radius": {"start": 0.5, "stop": 1.5, "num": 21},
        "network.activation": ["tanh", "relu", "logistic", "identity"],
        "task.length": [25, 50, 100, 200],
        "clip": [
            {"name": "off"},
            {"name": "norm", "threshold": 1.0},
            {"name": "adjoint_norm", "threshold": 0.1},
        ],
    },
}


def plan_of(table):
    return make_plan(expand(Spec.from_dict(table)))


def small(sweep, **rest):
    table = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 6},
        **rest,
    }
    return plan_of({**table, "sweep": sweep})


def check(plan, finished=None):
    """Every case stands in exactly one block, at its own place, with its own settings, within its tile."""
    grid = plan.grid
    seen = np.zeros(grid.shape, dtype=int)
    rows = {tuple(point): row for row, point in enumerate(grid.points.tolist())}
    for planned in plan.blocks(finished):
        np.add.at(seen, tuple(planned.index.reshape(-1, planned.index.shape[-1]).T), 1)
        tiles = {
            tuple(np.array(i) // np.array(plan.tile))
            for i in planned.index.reshape(-1, len(grid.shape)).tolist()
        }
        assert len(tiles) == 1
        assert planned.index.shape[:2] == (len(planned.block.runs), len(planned.block.views))
        shapes = {
            (r.network.cell, r.network.activation, r.network.hidden, r.network.dtype)
            for r in planned.block.runs
        }
        assert len(shapes) == 1
        streams = {str(v.task.input_identity()) for v in planned.block.views}
        assert len(streams) == 1
        for r, run in enumerate(planned.block.runs):
            for v, view in enumerate(planned.block.views):
                *place, replicate = planned.index[r, v].tolist()
                row = rows[tuple(place)]
                assert run.network == grid.networks[grid.network_index[row]]
                assert view.task == grid.tasks[grid.task_index[row]]
                assert view.clip == grid.clips[grid.clip_index[row]]
                assert (run.seed, run.replicate) == (grid.seeds[grid.seed_index[row]], replicate)
    expected = np.zeros(grid.shape, dtype=int)
    expected[tuple(grid.points.T)] = 1
    if finished is not None:
        expected[finished] = 0
    np.testing.assert_array_equal(seen, expected)


# --- what is shared -------------------------------------------------------------------------------------


def test_the_sample_spec_takes_672_forward_passes():
    """21 radii x 4 activations x 8 replicates; lengths and clips share them, a backward pass a length."""
    plan = plan_of(SAMPLE)
    assert plan.grid.n_cases == 21 * 4 * 4 * 3 * 8 == 8064
    assert plan.forward_passes == 672
    assert plan.lanes == 672 * 4
    check(plan)


def test_the_large_sweep_shares_alike():
    """Five clips, none on the adjoint's entries: 8 lengths make 8 lanes on each forward pass."""
    table = {**SAMPLE, "sweep": dict(SAMPLE["sweep"])}
    table["sweep"]["task.length"] = {"start": 25, "stop": 200, "step": 25}
    table["sweep"]["clip"] = [
        "off",
        *({"name": "norm", "threshold": c} for c in (1.0, 0.1)),
        {"name": "value", "threshold": 0.01},
        {"name": "adjoint_norm", "threshold": 0.1},
    ]
    plan = plan_of(table)
    assert plan.grid.n_cases == 26_880
    assert plan.forward_passes == 672
    assert plan.lanes == 672 * 8


@pytest.mark.parametrize(
    ("sweep", "forwards", "lanes"),
    [
        ({"network.spectrum.radius": [0.5, 1.0]}, 2, 2),
        ({"task.length": [3, 6, 9]}, 1, 3),
        ({"task.at": ["final", "every"]}, 1, 2),
        ({"task.loss": ["mse", "unit"], "rename": {"task.loss": "which_loss"}}, 1, 2),
        ({"task.outputs": [2, 3]}, 1, 2),
        ({"task.batch": [2, 3]}, 2, 2),
        ({"task.features": [2, 3]}, 2, 2),
        ({"task.name": ["noise", "zeros"]}, 2, 2),
        ({"seed": [0, 1]}, 2, 2),
        ({"network.readout": [{"name": "normal", "gain": 1.0}, {"name": "normal", "gain": 2.0}]}, 2, 2),
        ({"clip": ["off", {"name": "norm", "threshold": 1.0}, {"name": "value", "threshold": 1.0}]}, 1, 1),
        ({"clip": ["off", {"name": "adjoint_norm", "threshold": 1.0}]}, 1, 1),
        ({"clip": ["off", {"name": "adjoint_value", "threshold": 1.0}]}, 1, 2),
        ({"task.length": [3, 6], "clip": ["off", {"name": "adjoint_value", "threshold": 1.0}]}, 1, 4),
    ],
    ids=str,
)
def test_sharing(sweep, forwards, lanes):
    plan = small(sweep)
    assert (plan.forward_passes, plan.lanes) == (forwards, lanes)
    check(plan)
    twice = small(sweep, replicates=2)
    assert (twice.forward_passes, twice.lanes) == (2 * forwards, 2 * lanes)


def test_entries_of_the_recursion_alone_need_no_raw_pass_when_nobody_asks():
    sweep = {"clip": [{"name": "adjoint_value", "threshold": c} for c in (0.1, 1.0)]}
    assert small(sweep).lanes == 3
    assert small(sweep, record=["growth_rate"]).lanes == 2


def test_chrono_biases_depend_on_the_length_and_are_not_shared():
    lengths = {"task.length": [3, 6, 9]}
    assert small(lengths, network={"hidden": 3, "cell": {"name": "lstm"}}).forward_passes == 1
    plan = small(lengths, network={"hidden": 3, "cell": {"name": "lstm", "chrono": True}})
    assert plan.forward_passes == 3
    for planned in plan.blocks():
        assert len({view.task.length for view in planned.block.views}) == 1
    check(plan)


def test_series_windows_depend_on_the_length_and_are_not_shared(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("d\n" + "\n".join(str(float(i % 7)) for i in range(60)), encoding="utf-8")
    series = {"name": "series", "file": str(path), "column": "d", "batch": 3}
    plan = small({"task.length": [5, 10]}, task=series)
    assert plan.forward_passes == 2
    check(plan)


# --- nothing lost, nothing doubled ----------------------------------------------------------------------


def test_no_axis_at_all():
    plan = plan_of({"network": {"hidden": 3}, "task": {"name": "noise", "length": 4}})
    check(plan)
    assert plan.grid.n_cases == plan.forward_passes == plan.lanes == 1


def test_filters_zips_and_united_tables():
    table = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 6},
        "replicates": 3,
        "sweep": [
            {
                "network.spectrum.radius": [0.5, 1.0, 1.5],
                "task.length": [3, 6],
                "network.hidden": [3, 4],
                "task.batch": [2, 5],
                "zip": [["network.hidden", "task.batch"]],
                "where": "radius < 1.2 or length == 3",
            },
            {"network.activation": ["relu", "tanh"], "task.length": [6, 8]},
        ],
    }
    plan = plan_of(table)
    assert len(plan.grid.points) < math.prod(plan.grid.shape[:-1])
    check(plan)


AXES = {
    "network.spectrum.radius": [0.3, 0.9, 1.4],
    "network.activation": ["tanh", "relu"],
    "network.cell": ["elman", {"name": "lstm", "chrono": True}],
    "network.hidden": [2, 3],
    "task.length": [2, 5, 7],
    "task.batch": [1, 2],
    "task.at": ["final", "every"],
    "clip": ["off", {"name": "norm", "threshold": 1.0}, {"name": "adjoint_value", "threshold": 0.1}],
    "seed": [0, 5],
}
FILTERS = {
    "network.spectrum.radius": ["radius < 1", "radius != 0.9"],
    "task.length": ["length > 2", "length == 5 or length == 2"],
    "network.activation": ["activation != 'relu'"],
    "seed": ["seed == 5"],
}


@st.composite
def tables(draw):
    """A random sweep table: axes with some of their values, perhaps a zip, perhaps a filter."""
    keys = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=4, unique=True))
    table = {}
    for key in keys:
        indices = draw(st.lists(st.integers(0, len(AXES[key]) - 1), min_size=1, max_size=3, unique=True))
        table[key] = [AXES[key][i] for i in indices]
    pairs = [p for p in itertools.combinations(keys, 2) if len(table[p[0]]) == len(table[p[1]])]
    if pairs and draw(st.booleans()):
        table["zip"] = [list(draw(st.sampled_from(pairs)))]
    filters = [text for key in keys for text in FILTERS.get(key, [])]
    if filters and draw(st.booleans()):
        table["where"] = draw(st.sampled_from(filters))
    return table


@settings(max_examples=80)
@given(st.lists(tables(), min_size=1, max_size=3), st.integers(1, 4), st.randoms(use_true_random=False))
def test_random_grids_lose_and_double_nothing(sweeps, replicates, random):
    table = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 5},
        "replicates": replicates,
    }
    try:
        grid = expand(Spec.from_dict({**table, "sweep": sweeps}))
    except UserMistake:
        assume(False)  # zips that do not fit each other, filters that leave nothing: told to the user
    plan = make_plan(grid)
    check(plan)
    finished = np.array([random.random() < 0.5 for _ in range(math.prod(grid.shape))]).reshape(grid.shape)
    check(plan, finished)
    check(plan, np.ones(grid.shape, dtype=bool))
    assert plan.forward_passes <= grid.n_cases
    assert plan.lanes >= plan.forward_passes
    assert all(1 <= t <= s for t, s in zip(plan.tile, grid.shape, strict=True))


def test_finished_cases_are_left_out_and_the_rest_stays_in_its_tiles():
    plan = plan_of(SAMPLE)
    finished = np.zeros(plan.grid.shape, dtype=bool)
    finished[3:9, :, 2] = True
    finished[..., 5] = True
    check(plan, finished)


# --- the spec alone -------------------------------------------------------------------------------------


def same_plan(a, b):
    assert a.tile == b.tile
    for x, y in zip(a.blocks(), b.blocks(), strict=True):
        np.testing.assert_array_equal(x.index, y.index)
        assert x.block == y.block


def test_a_plan_depends_on_the_spec_alone(monkeypatch):
    first = plan_of(SAMPLE)
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    same_plan(plan_of({**SAMPLE, "memory": "300MiB", "title": "other", "question": "other?"}), first)


def test_records_in_their_own_order():
    plan = small({"task.length": [3, 6]}, record=["regime", "log10_state_gradient_norm"])
    assert plan.record == ("log10_state_gradient_norm", "regime")


def test_memory_norms_are_planned_only_where_a_cell_has_a_memory():
    assert "log10_memory_gradient_norm" not in small({"task.length": [3]}).record
    assert "log10_memory_gradient_norm" in small({"network.cell": ["elman", "lstm"]}).record


def test_gates_of_a_mixed_sweep():
    assert small({"task.length": [3]}).gates == ()
    assert small({"network.cell": ["lstm"]}).gates == (
        "input_gate",
        "forget_gate",
        "candidate",
        "output_gate",
    )
    assert set(small({"network.cell": ["elman", "lstm"]}).gates) == {
        "state", "input_gate", "forget_gate", "candidate", "output_gate",
    }  # fmt: skip


def test_lags_are_those_of_the_longest_case():
    assert small({"task.length": [3, 9, 5]}).lags == 9
    assert small({"task.at": [[0], [2]]}).lags == 3


def test_small_sweeps_are_cut_for_several_workers():
    """A block for every worker at least, and blocks of about equal weight."""
    blocks = list(plan_of(SAMPLE).blocks())
    assert len(blocks) >= 16
    cases = sorted(b.cases for b in blocks)
    assert cases[-1] <= 16 * cases[0]


def test_planning_is_quick():
    import time

    begun = time.perf_counter()
    plan = plan_of({**SAMPLE, "replicates": 30})
    list(plan.blocks())
    assert time.perf_counter() - begun < 5.0  # about 0.3 s on an idle core of today; 30 240 cases


def one_by_one(plan, finished):
    """The places of all blocks, from a loop over single cases: what the planner does at once for many."""
    grid, measure = plan.grid, plan.measure
    forward, kind = measure.shared(grid)
    tiles, blocks = {}, []
    for row, point in enumerate(grid.points.tolist()):
        for replicate in range(grid.replicates):
            place = tuple(at // size for at, size in zip((*point, replicate), plan.tile, strict=True))
            tiles.setdefault(place, []).append((row, replicate))
    for place in sorted(tiles):
        runs, groups = {}, {}
        for row, replicate in tiles[place]:
            if finished is None or not finished[(*grid.points[row], replicate)]:
                runs.setdefault((int(forward[row]), replicate), []).append(row)
        for (_, replicate), rows in runs.items():
            seen = tuple(tuple(int(grid.index(name)[row]) for name in measure.view) for row in rows)
            groups.setdefault((int(kind[rows[0]]), seen), []).append((replicate, rows))
        for own in groups.values():
            blocks.append([[(*grid.points[row].tolist(), r) for row in rows] for r, rows in own])
    return blocks


SHARED = {
    "network.spectrum.radius": [0.5, 1.0, 1.5],
    "network.cell": ["elman", "gru"],
    "task.length": [2, 4, 6],
    "clip": ["off", {"name": "adjoint_norm", "threshold": 0.1}],
}


@pytest.mark.parametrize("share", [None, 0.0, 0.2, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("sweep", [SHARED, SHARED | {"where": "radius < 1.2 or length != 4"}, {}])
def test_blocks_are_those_of_going_through_single_cases(sweep, share):
    plan = small(sweep, replicates=5)
    draws = np.random.default_rng(7).random(plan.grid.shape)
    finished = None if share is None else draws < share
    expected = one_by_one(plan, finished)
    assert [planned.index.tolist() for planned in plan.blocks(finished)] == [
        [[list(place) for place in run] for run in block] for block in expected
    ]
    for planned in plan.blocks(finished):
        assert [run.replicate for run in planned.block.runs] == planned.index[:, 0, -1].tolist()


def test_blocks_of_a_plan_can_be_asked_for_again():
    plan = small(SHARED, replicates=2)
    first, again = list(plan.blocks()), list(plan.blocks())
    assert len(first) > 1
    assert [a.index.tolist() for a in first] == [b.index.tolist() for b in again]
