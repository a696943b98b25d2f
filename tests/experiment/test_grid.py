"""From axes to cases."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import Spec

RADII = {"start": 0.5, "stop": 1.5, "num": 21}
CLIPS = [
    "off",
    {"name": "norm", "threshold": 1.0},
    {"name": "norm", "threshold": 0.1},
    {"name": "value", "threshold": 0.1},
    {"name": "adjoint_norm", "threshold": 0.1},
]
MAIN = {
    "replicates": 8,
    "sweep": {
        "network.spectrum.radius": RADII,
        "network.activation": ["tanh", "relu", "logistic", "identity"],
        "task.length": {"start": 25, "stop": 200, "step": 25},
        "clip": CLIPS,
    },
}


def grid_of(sweep, **rest):
    return expand(Spec.from_dict({**rest, "sweep": sweep}))


def dense(grid):
    """Every point as a tuple of what stands along its axes."""
    return [
        tuple(axis.coordinates[axis.name].tolist()[i] for axis, i in zip(grid.axes, point, strict=True))
        for point in grid.points.tolist()
    ]


def test_a_product_has_every_combination_once_in_row_major_order():
    grid = grid_of({"network.hidden": [3, 1], "network.activation": ["tanh", "relu"]}, replicates=2)
    assert dense(grid) == [(3, "tanh"), (3, "relu"), (1, "tanh"), (1, "relu")]
    assert (grid.shape, grid.n_cases) == ((2, 2, 2), 8)
    assert [axis.keys for axis in grid.axes] == [("network.hidden",), ("network.activation",)]
    assert grid.points.dtype == np.int64
    assert [grid.networks[i].hidden for i in grid.network_index] == [3, 3, 1, 1]
    assert [grid.networks[i].activation.name for i in grid.network_index] == ["tanh", "relu", "tanh", "relu"]


def test_no_sweep_is_one_point():
    grid = expand(Spec.from_dict({"replicates": 3}))
    assert (grid.axes, grid.shape, grid.points.shape, grid.n_cases) == ((), (3,), (1, 0), 3)
    assert grid.find(replicate=2) == (0, 2)


def test_the_main_job_is_expanded_quickly_into_its_distinct_settings():
    spec = Spec.from_dict(MAIN)
    start = time.perf_counter()
    grid = expand(spec)
    assert time.perf_counter() - start < 0.5  # 0.03 on an idle machine
    assert grid.n_cases == 26_880
    assert (len(grid.networks), len(grid.tasks), len(grid.clips), grid.seeds) == (84, 8, 5, (0,))
    keys = grid.settings_keys()
    assert keys.shape == (3360, 8)
    assert len(np.unique(keys)) == 26_880


def test_a_hundred_thousand_points_are_fast():
    start = time.process_time()
    grid = grid_of(
        {
            "network.spectrum.radius": {"start": 0.1, "stop": 2.0, "num": 100},
            "network.activation": ["tanh", "relu"],
            "task.length": {"start": 1, "stop": 500, "num": 500},
        }
    )
    assert time.process_time() - start < 2.0
    assert grid.n_cases == 100_000


def test_any_leaf_and_any_table_can_be_an_axis_and_shorter_keys_go_first():
    grid = grid_of(
        {
            "network.spectrum.radius": [0.5, 2.0],
            "network.spectrum": ["ginibre", {"name": "heavy_tailed", "nu": 3.0, "radius": 9.0}],
            "network.cell": ["elman", {"name": "lstm", "forget_bias": 1.0}],
            "seed": [4, 5],
        }
    )
    for row, (radius, family, cell, seed) in enumerate(dense(grid)):
        network = grid.networks[grid.network_index[row]]
        assert network.spectra[0].radius == radius
        assert family.startswith(network.spectra[0].name)
        assert cell.startswith(network.cell.name)
        assert grid.seeds[grid.seed_index[row]] == seed
    assert grid.axes[2].coordinates["cell"].tolist() == ["elman", "lstm(forget_bias=1.0)"]


def test_a_whole_section_can_be_an_axis():
    grid = grid_of({"task": ["noise", {"name": "zeros", "length": 3}], "task.batch": [1, 2]})
    assert [(t.name, t.batch) for t in grid.tasks] == [("noise", 1), ("noise", 2), ("zeros", 1), ("zeros", 2)]


def test_one_spectrum_for_each_gate_can_be_swept():
    gates = ("input_gate", "forget_gate", "candidate", "output_gate")
    table = {gate: {"name": "ginibre", "radius": 1.0} for gate in gates}
    grid = grid_of(
        {"network.spectrum.forget_gate.radius": [0.5, 2]}, network={"cell": "lstm", "spectrum": table}
    )
    assert [[s.radius for s in n.spectra] for n in grid.networks] == [
        [1.0, 0.5, 1.0, 1.0],
        [1.0, 2.0, 1.0, 1.0],
    ]


def test_a_bare_name_and_a_setting_left_out_are_promoted_to_tables():
    grid = grid_of(
        {"clip.threshold": [1, 2], "network.bias.value": [0.5]}, clip="norm", network={"hidden": 2}
    )
    assert [clip.threshold for clip in grid.clips] == [1.0, 2.0]
    assert (grid.networks[0].bias.name, grid.networks[0].bias.value) == ("constant", 0.5)


def test_zipped_axes_move_together():
    grid = grid_of(
        {
            "network.hidden": [2, 3, 4],
            "network.activation": ["tanh", "relu"],
            "task.batch": [5, 5, 7],
            "zip": [["network.hidden", "task.batch"]],
        }
    )
    assert grid.shape == (3, 2, 1)
    axis = grid.axes[0]
    assert (axis.name, axis.keys) == ("hidden", ("network.hidden", "task.batch"))
    assert {name: values.tolist() for name, values in axis.coordinates.items()} == {
        "hidden": [2, 3, 4],
        "batch": [5, 5, 7],
    }
    assert [grid.tasks[i].batch for i in grid.task_index] == [5, 5, 5, 5, 7, 7]
    assert len(grid.tasks) == 2
    assert grid.find(batch=7, activation="relu") == (5, 0)
    with pytest.raises(
        UserMistake, match=r"^hidden and batch: expected values that stand together .*got batch=5"
    ):
        grid.find(batch=5, activation="relu")
    with pytest.raises(UserMistake, match=r"^hidden and batch: expected values that stand together"):
        grid.find(hidden=2, batch=7, activation="relu")


def test_a_filter_leaves_points_out_and_nothing_else_changes():
    sweep = {
        "network.hidden": [1, 2, 3],
        "task.batch": [1, 2],
        "clip": ["off", {"name": "norm", "threshold": 1}],
    }
    whole, part = grid_of(sweep), grid_of({**sweep, "where": "hidden != batch and not clip == 'norm(1.0)'"})
    assert dense(part) == [(1, 2, "off"), (2, 1, "off"), (3, 1, "off"), (3, 2, "off")]
    assert part.shape == whole.shape
    keys = {tuple(p): k for p, k in zip(whole.points.tolist(), whole.settings_keys().tolist(), strict=True)}
    assert [keys[tuple(p)] for p in part.points.tolist()] == part.settings_keys().tolist()


def test_filters_see_booleans_dotted_keys_and_new_names():
    grid = grid_of(
        {
            "network.cell.chrono": [False, True],
            "task.length": [5, 6],
            "rename": {"task.length": "time"},
            "where": "chrono and time < 6 or not chrono and task.length > 5",
        },
        network={"cell": "lstm"},
    )
    assert dense(grid) == [("false", 6), ("true", 5)]
    assert grid.find(chrono=True, time=5) == (1, 0)


def test_united_tables_fill_what_they_lack_from_the_spec():
    grid = grid_of(
        [
            {"network.spectrum.radius": [1.5, 0.5], "network.activation": ["relu"]},
            {"network.activation": ["tanh"], "task.length": [3], "where": "length == 3"},
            {"task.length": [100], "network.activation": ["relu"], "network.spectrum.radius": [0.5]},
        ]
    )
    assert [axis.name for axis in grid.axes] == ["radius", "activation", "length"]
    assert [axis.coordinates[axis.name].tolist() for axis in grid.axes] == [
        [0.5, 1.0, 1.5],
        ["relu", "tanh"],
        [3, 100],
    ]
    assert dense(grid) == [(0.5, "relu", 100), (1.0, "tanh", 3), (1.5, "relu", 100)]
    for row, (radius, activation, length) in enumerate(dense(grid)):
        network = grid.networks[grid.network_index[row]]
        assert (network.spectra[0].radius, network.activation.name) == (radius, activation)
        assert grid.tasks[grid.task_index[row]].length == length


@given(
    st.lists(
        st.fixed_dictionaries(
            {"network.hidden": st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)},
            optional={"task.batch": st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)},
        ),
        min_size=1,
        max_size=3,
    )
)
def test_united_tables_are_the_union_of_their_points(tables):
    tables = [dict(sorted(table.items())) for table in tables]  # network before task
    grid = grid_of(tables, task={"name": "zeros", "batch": 2, "length": 3})
    want = {
        point for t in tables for point in itertools.product(t["network.hidden"], t.get("task.batch", [2]))
    }
    if not any("task.batch" in t for t in tables):
        want = {point[:1] for point in want}
    found = dense(grid)
    assert set(found) == want
    assert len(found) == len(want)
    flat = np.ravel_multi_index(tuple(grid.points.T), grid.shape[:-1])
    assert (np.diff(flat) > 0).all()


def test_the_key_of_a_case_depends_on_the_case_alone():
    small = grid_of({"task.length": [50], "network.spectrum.radius": [1.25]}, replicates=2, seed=3)
    large = grid_of(
        {
            "network.spectrum": [{"name": "orthogonal", "radius": 1.25}, {"name": "ginibre", "radius": 1.25}],
            "seed": [2, 3],
            "task.length": {"start": 25, "stop": 100, "step": 25},
        },
        replicates=4,
        title="another",
        memory="2GiB",
    )
    row, _ = large.find(spectrum={"name": "ginibre", "radius": 1.25}, seed=3, length=50, replicate=0)
    assert large.settings_keys()[row, :2].tolist() == small.settings_keys()[0].tolist()
    assert large.settings(row, 1) == small.settings(0, 1)
    assert large.settings_at((*large.points[row], 1)) == small.settings(0, 1)


def test_the_key_of_a_case_changes_with_everything_that_determines_it():
    base = {"network": {"hidden": 4}, "task": {"name": "noise"}, "seed": 1}
    variants = [
        {},
        {"network": {"hidden": 5}},
        {"network": {"hidden": 4, "dtype": "float32"}},
        {"task": {"name": "zeros"}},
        {"clip": {"name": "norm", "threshold": 1.0}},
        {"seed": 2},
    ]
    keys = {expand(Spec.from_dict({**base, **variant})).settings_keys()[0, 0] for variant in variants}
    assert len(keys) == len(variants)


def test_the_key_of_a_case_looks_into_a_file_and_not_at_its_name(tmp_path):
    for name, matrix in (("a.npy", np.eye(3)), ("b.npy", np.eye(3)), ("c.npy", 2 * np.eye(3))):
        np.save(tmp_path / name, matrix)
    paths = [str(tmp_path / name) for name in ("a.npy", "b.npy", "c.npy")]
    grid = grid_of({"network.spectrum.path": paths}, network={"hidden": 3, "spectrum": {"name": "file"}})
    a, b, c = grid.settings_keys()[:, 0]
    assert a == b
    assert a != c


def test_the_settings_of_a_case_are_a_plain_table_of_all_it_has():
    grid = grid_of({"clip": CLIPS[:2], "network.hidden": [2]}, seed=7, replicates=2)
    table = grid.settings(1, 1)
    assert (table["measure"], table["seed"], table["replicate"]) == ("probe", 7, 1)
    assert table["clip"] == {"name": "norm", "threshold": 1.0}
    assert table["network"]["hidden"] == 2
    again = Spec.from_dict({key: table[key] for key in ("seed", "network", "task", "clip")})
    assert expand(again).settings_keys()[0, 0] == grid.settings_keys()[1, 0]


def test_find_reads_numbers_labels_settings_and_fills_in_what_is_single():
    grid = grid_of({"network.spectrum.radius": RADII, "clip": CLIPS, "task.length": [50]})
    row, replicate = grid.find(radius=0.1 + 1.0, clip="norm(1.0)")
    assert replicate == 0
    assert dense(grid)[row] == (1.1, "norm(1.0)", 50)
    assert grid.find(radius=np.float64(1.1), clip={"name": "norm", "threshold": 1}, length=50) == (row, 0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"radius": 1.12, "clip": "off"}, r"^radius: expected one of 0\.5, 0\.55, .*…, 1\.5, got 1\.12"),
        ({"radius": "1.1", "clip": "off"}, r"^radius: expected one of .*, got '1\.1'"),
        ({"radius": True, "clip": "off"}, r"^radius: expected one of .*, got True"),
        ({"radius": 1.0, "clip": "norm"}, r"^clip: expected one of off, norm\(1\.0\), .*, got 'norm'"),
        ({"radius": 1.0, "clip": None}, r"^clip: expected one of .*, got None"),
        ({"radius": 1.0}, r"^clip: expected one of off, .*, got nothing"),
        (
            {"radius": 1.0, "clip": "off", "radios": 2},
            r"^radios: expected the name of an axis.*Did you mean 'radius'\?",
        ),
        (
            {"radius": 1.0, "clip": "value(0.1)", "replicate": 0},
            r"^the case: expected a point of the sweep, got radius=1\.0, clip=value",
        ),
        (
            {"radius": 1.0, "clip": "off", "replicate": 2},
            r"^replicate: expected an integer .*at most 1, got 2",
        ),
        ({"radius": 1.0, "clip": "off", "replicate": "0"}, r"^replicate: expected an integer"),
        ({"radius": 1.0, "clip": "off"}, r"^replicate: expected one of 0 to 1, got nothing"),
    ],
)
def test_find_says_what_there_is(labels, message):
    sweep = {"network.spectrum.radius": RADII, "clip": CLIPS, "where": "clip != 'value(0.1)'"}
    grid = grid_of(sweep, replicates=2)
    with pytest.raises(UserMistake, match=message.replace("^", "(?m)^", 1)):
        grid.find(**labels)


def test_find_names_every_axis_that_is_missing_at_once():
    with pytest.raises(UserMistake) as caught:
        expand(Spec.from_dict(MAIN)).find()
    assert [p.where for p in caught.value.problems] == ["radius", "activation", "length", "clip", "replicate"]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["tanh", "relu", "identity", "logistic"]), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    st.integers(1, 3),
)
def test_every_case_of_a_product_is_found_by_its_labels(hidden, activations, lengths, replicates):
    grid = grid_of(
        {"network.hidden": hidden, "task.length": lengths, "network.activation": activations},
        replicates=replicates,
        task={"name": "zeros", "features": 1, "batch": 1},
    )
    assert grid.n_cases == math.prod(grid.shape)
    for row, (h, n, a) in enumerate(itertools.product(hidden, lengths, activations)):
        assert grid.find(hidden=h, length=n, activation=a, replicate=replicates - 1) == (row, replicates - 1)
        table = grid.settings(row, 0)
        assert (table["network"]["hidden"], table["task"]["length"]) == (h, n)
        assert table["network"]["activation"] == {"name": a}


def test_a_table_on_an_axis_says_what_it_holds_where_another_sweep_table_has_an_axis():
    value, adjoint = {"name": "value", "threshold": 0.02}, {"name": "adjoint_value", "threshold": 0.1}
    grid = grid_of(
        [{"clip": [value, adjoint]}, {"clip.threshold": [0.03, 0.001]}],
        clip={"name": "norm", "threshold": 0.5},
    )
    found = {(clip.name, clip.threshold) for clip in grid.clips}
    assert found == {("value", 0.02), ("adjoint_value", 0.1), ("norm", 0.03), ("norm", 0.001)}
    assert dense(grid) == [
        ("value(0.02)", 0.02), ("adjoint_value(0.1)", 0.1), ("norm(0.5)", 0.001), ("norm(0.5)", 0.03)
    ]  # fmt: skip
    both = [{"task": [{"name": "noise", "length": 7}], "seed": [1, 2]}, {"task.length": [2]}]
    assert [task.length for task in grid_of(both).tasks] == [7, 2]
