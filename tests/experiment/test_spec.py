"""The spec: what is accepted, what is refused, and in which words."""

import copy
import json
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import Spec, load_spec, parse_memory, to_toml, with_settings

FULL = """
title = "Where gradients vanish and explode"
question = "At which spectral radius does the mean slope change sign, for which activation?"
measure = "probe"
seed = 3
replicates = 8
memory = "512MiB"
record = ["loss", "growth_rate"]

[network]
cell = "elman"
hidden = 64
activation = "tanh"
spectrum = { name = "ginibre", radius = 1.0 }

[task]
name = "noise"
features = 8
batch = 32
length = 200
loss = "mse"
at = "final"

[clip]
name = "off"

[sweep]
"network.spectrum.radius" = { start = 0.5, stop = 1.5, num = 21 }
"network.activation" = ["tanh", "relu", "logistic", "identity"]
"task.length" = [25, 50, 100, 200]
"clip" = [{ name = "off" }, { name = "norm", threshold = 1.0 }, { name = "adjoint_norm", threshold = 0.1 }]
"""


@pytest.fixture
def full(tmp_path):
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    return load_spec(path)


def test_a_whole_spec_is_read(full):
    assert (full.seed, full.replicates, full.memory, full.record) == (3, 8, 2**29, ("loss", "growth_rate"))
    assert expand(full).shape == (21, 4, 4, 3, 8)
    assert full.given == tomllib.loads(FULL)


def test_an_empty_spec_is_one_case():
    spec = Spec.from_dict({})
    assert (spec.title, spec.seed, spec.replicates, spec.record, spec.memory) == ("", 0, 1, None, 2**30)
    assert expand(spec).n_cases == 1


@pytest.mark.parametrize(
    "table",
    [
        {},
        tomllib.loads(FULL),
        {"sweep": {"network.spectrum.norm": [1.0, 2.0]}},
        {"task": {"name": "noise", "length": 5}, "sweep": {"task.name": ["noise", "zeros"]}},
        {"clip": "norm", "sweep": {"clip.threshold": [1.0, 2.0]}},
        {"sweep": [{"network.hidden": [2, 3]}, {"network": {"hidden": [4]}, "where": "hidden == 4"}]},
        {
            "sweep": {
                "network.hidden": [2, 3],
                "task.batch": [1, 2],
                "zip": [["network.hidden", "task.batch"]],
            }
        },
    ],
)
def test_the_resolved_table_gives_the_same_cases_again(table):
    spec = Spec.from_dict(table)
    again = Spec.from_dict(tomllib.loads(to_toml(spec.to_dict())))
    assert again.to_dict() == spec.to_dict()
    assert expand(again).settings_keys().tolist() == expand(spec).settings_keys().tolist()


def test_the_resolved_table_names_the_defaults():
    table = Spec.from_dict({"network": {"hidden": 5}}).to_dict()
    assert table["network"]["spectrum"] == {"name": "ginibre", "radius": 1.0}
    assert table["network"]["hidden"] == 5
    assert table["task"]["name"] == "noise"
    assert table["clip"] == {"name": "off"}
    assert (table["memory"], "record" in table, "sweep" in table) == ("1GiB", False, False)


def test_equal_specs_are_equal_and_travel(full, tmp_path):
    assert Spec.from_dict(tomllib.loads(FULL)) == full
    assert hash(Spec.from_dict(tomllib.loads(FULL))) == hash(full)
    assert pickle.loads(pickle.dumps(full)) == full
    assert with_settings(full, ["seed=4"]) != full
    assert full.__eq__(3) is False


def test_a_spec_does_not_change(full):
    with pytest.raises(ValueError, match="frozen"):
        full.seed = 1
    full.given["seed"] = 99
    assert full.given["seed"] == 3


def test_numpy_values_tuples_and_paths_are_understood(tmp_path):
    np.save(tmp_path / "w.npy", np.eye(3))
    spec = Spec.from_dict(
        {
            "seed": np.int64(2),
            "network": {"hidden": 3, "spectrum": {"name": "file", "path": tmp_path / "w.npy"}},
            "sweep": {"task.length": np.array([5, 6]), "task.batch": (1, 2), "task.features": range(1, 3)},
        }
    )
    assert expand(spec).shape == (2, 2, 2, 1)


def test_relative_paths_are_read_from_the_folder_of_the_spec(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, n in (("a.npy", 3), ("b.npy", 3)):
        np.save(folder / name, n * np.eye(3))
    (folder / "spec.toml").write_text(
        '[network]\nhidden = 3\nspectrum = { name = "file", path = "a.npy" }\n'
        '[sweep]\n"network.spectrum.path" = ["a.npy", "../mine/b.npy"]\n'
        'rename = { "network.spectrum.path" = "which" }\n'
    )
    monkeypatch.chdir(tmp_path)
    spec = load_spec("mine/spec.toml")
    grid = expand(spec)
    assert grid.axes[0].name == "which"
    assert grid.axes[0].coordinates["which"].tolist() == ["a.npy", "b.npy"]
    assert grid.axes[0].values == ((str(folder / "a.npy"),), (str(folder / "b.npy"),))
    assert spec.given["network"]["spectrum"]["path"] == "a.npy"
    assert spec.to_dict()["network"]["spectrum"]["path"] == str(folder / "a.npy")
    monkeypatch.chdir(folder)
    assert Spec.from_dict(spec.given).to_dict() == spec.to_dict()
    assert with_settings(spec, ["network.spectrum.path=b.npy"]).sweep[0]["network.spectrum.path"] == [
        str(folder / "b.npy")
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", 2**30),
        ("512 MiB", 2**29),
        ("1.5gib", 3 * 2**29),
        ("2GB", 2 * 10**9),
        ("100", 100),
        (12345, 12345),
    ],
)
def test_memory_is_read(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "value", ["", "GiB", "-1GiB", "1 XiB", "1e9", 0, -5, True, 1.5, None, "9" * 50, "0MiB"]
)
def test_what_is_no_memory_is_refused(value):
    with pytest.raises(UserMistake, match=r'^--memory: expected an amount of memory such as "1GiB"'):
        parse_memory(value, "--memory")


@given(st.integers(1, 2**50))
def test_any_memory_survives_the_resolved_table(size):
    assert parse_memory(Spec.from_dict({"memory": size}).to_dict()["memory"]) == size


def changed(spec, *settings):
    return with_settings(spec, list(settings))


def test_settings_replace_leaves_tables_and_axes(full):
    spec = changed(
        full,
        "network.hidden=32",
        "title=A new title",
        "task.length=[25,50]",
        'sweep."network.activation"=["tanh"]',
        "sweep.network.spectrum.radius={start=1, stop=2, step=0.5}",
        "clip=off",
        "memory=2GiB",
    )
    grid = expand(spec)
    assert (spec.title, spec.memory) == ("A new title", 2**31)
    assert [n.hidden for n in grid.networks] == [32] * 3
    labels = {axis.name: axis.coordinates[axis.name].tolist() for axis in grid.axes}
    assert labels == {"radius": [1.0, 1.5, 2.0], "activation": ["tanh"], "length": [25, 50], "clip": ["off"]}
    assert changed(full) == full


def test_settings_reach_what_the_spec_left_out():
    spec = changed(
        Spec.from_dict({}),
        "network.spectrum.norm=2",
        "network.bias.value=0.5",
        "task.batch=3",
        "sweep.task.length=[5, 6]",
        "sweep.network.hidden=[2, 3]",
        "sweep.where=steps_of_time < 6 or hidden == 3",
        'sweep.rename."task.length"=steps_of_time',
    ).to_dict()
    assert table_of(spec, "network", "spectrum") == {"name": "ginibre", "norm": 2.0}
    assert table_of(spec, "network", "bias") == {"name": "constant", "value": 0.5}
    assert spec["sweep"]["rename"] == {"task.length": "steps_of_time"}


def table_of(table, *keys):
    for key in keys:
        table = table[key]
    return table


def test_renaming_by_a_setting_applies_to_the_filter_too():
    spec = Spec.from_dict({"sweep": {"task.length": [5, 6]}})
    spec = changed(spec, 'sweep.rename."task.length"=time', "sweep.where=time < 6")
    assert expand(spec).n_cases == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["network.hidden"], r"^'network\.hidden': expected KEY=VALUE, got 'network\.hidden'"),
        (
            ["netwrk.hidden=3"],
            r"^netwrk\.hidden: expected a key of a spec, got 'netwrk'\. Did you mean 'network'\?",
        ),
        (
            ["network.hiden=3"],
            r"^network\.hiden: expected a setting of the network, .*Did you mean 'hidden'\?",
        ),
        (["sweep.network.hiden=[3]"], r"^network\.hiden: expected a setting of the network"),
        (["seed.x=3"], r"^seed\.x: expected 'seed' alone"),
        (["network.hidden.x=3"], r"^network\.hidden\.x: expected a table at 'hidden' to hold 'x', got 64"),
        (
            ["clip.threshold=3"],
            r"^clip\.threshold: expected a setting that no axis replaces, got one inside the axis clip",
        ),
        (["task.batch=[1, 2]"], r"^task\.batch: expected an integer, got \[1, 2\]"),
        (["task.batch=[1, 2"], r"^task\.batch: expected a TOML value or a bare word"),
        (["=3"], r"expected a dotted key such as network\.hidden"),
        (["replicates=nan"], r"^replicates: expected a finite number, got nan"),
        (["sweep=3"], r"^sweep: expected a table of axes, got 3"),
    ],
)
def test_a_wrong_setting_is_refused(full, settings, message):
    with pytest.raises(UserMistake, match=message):
        with_settings(full, settings)


def test_all_wrong_settings_are_named_at_once(full):
    with pytest.raises(UserMistake) as caught:
        with_settings(full, ["a", "b=1", "task.length=[", "seed=-1", "network.hiden=3"])
    told = [problem.where for problem in caught.value.problems]
    assert told == ["'a'", "b", "task.length", "seed", "network.hiden"]


def test_settings_leave_the_spec_they_start_from_alone(full):
    before = copy.deepcopy(full.model_dump())
    changed(full, "network.spectrum.name=orthogonal", "task.length=3", "sweep.where=length < 5")
    assert full.model_dump() == before


def test_the_json_schema_knows_keys_catalogues_and_axes():
    schema = Spec.model_json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(Spec.model_fields)
    assert schema["additionalProperties"] is False
    network = schema["properties"]["network"]["properties"]
    assert "tanh" in network["activation"]["anyOf"][0]["enum"]
    assert network["dtype"]["enum"] == ["float64", "float32"]
    assert "adjoint_norm" in schema["properties"]["clip"]["anyOf"][0]["enum"]
    axis = schema["properties"]["sweep"]["anyOf"][0]["additionalProperties"]
    assert axis["anyOf"][1]["required"] == ["start", "stop"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


TOP = ["seed", "replicates", "title", "record", "memory", "network", "task", "clip", "sweep"]


DEEPER = ["network.hidden", "task.length", "clip.threshold", "network.spectrum", "name", "hidden", "spectrum"]


KEYS = st.sampled_from([*TOP, *DEEPER, "zip", "where", "rename"])


@given(st.dictionaries(KEYS, st.one_of(JSON, st.dictionaries(KEYS, JSON, max_size=3)), max_size=4))
def test_any_table_is_a_spec_or_the_users_mistake(table):
    try:
        spec = Spec.from_dict(table, Path("/"))
    except UserMistake:
        return
    assert Spec.from_dict(spec.to_dict()).to_dict() == spec.to_dict()


def test_what_is_written_into_a_table_of_a_spec_counts():
    spec = Spec.from_dict({"network": {"hidden": 6}, "task": {"name": "noise"}})
    spec.network["hidden"] = 4
    assert spec.to_dict()["network"]["hidden"] == 4
    assert [network.hidden for network in expand(spec).networks] == [4]


def test_what_a_spec_comes_to_is_worked_out_once_and_a_changed_copy_comes_to_its_own():
    table = {"task": {"name": "noise"}, "sweep": {"task.length": [3, 4]}}
    spec = Spec.from_dict(table)
    assert spec.expanded() is spec.expanded()
    longer = spec.model_copy(update={"sweep": ({"task.length": [3, 4, 5]},), "replicates": 2})
    assert (expand(spec).n_cases, expand(longer).n_cases) == (2, 6)
    other = spec.model_copy(update={"task": {"name": "zeros"}})
    assert [task.name for task in expand(other).tasks] == ["zeros", "zeros"]
    assert spec == Spec.from_dict(table)
    assert spec != longer
    again = pickle.loads(pickle.dumps(spec))
    assert (again == spec, expand(again).n_cases) == (True, 2)
