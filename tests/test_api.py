"""The four names a script uses, from a spec to labelled data and back to arrays."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracles
import pytest
import xarray as xr
from engine import assert_norms

import gradlab
from gradlab.api import as_spec
from gradlab.archive.reading import read_provenance
from gradlab.core.errors import UserMistake
from gradlab.drawing import draw_figures, narrowed, recurrent_matrices
from gradlab.measure.records import OF_LEARNER, ON_REQUEST, RECORDS

TABLE = {
    "title": "A small sweep",
    "question": "Does it work?",
    "replicates": 2,
    "network": {"hidden": 4},
    "task": {"name": "noise", "features": 2, "batch": 3, "length": 8},
    "sweep": {
        "network.spectrum.radius": [0.5, 1.1],
        "network.activation": ["tanh", "relu"],
        "task.length": [5, 8],
        "clip": ["off", {"name": "norm", "threshold": 0.01}],
    },
}
TOML = """
title = "A small sweep"
question = "Does it work?"
replicates = 2
[network]
hidden = 4
[task]
name = "noise"
features = 2
batch = 3
length = 8
[sweep]
"network.spectrum.radius" = [0.5, 1.1]
"network.activation" = ["tanh", "relu"]
"task.length" = [5, 8]
clip = ["off", { name = "norm", threshold = 0.01 }]
"""


@pytest.fixture(scope="module")
def dataset():
    return gradlab.run(TABLE)


def test_a_dataset_with_names(dataset):
    assert isinstance(dataset, xr.Dataset)
    assert dict(dataset.sizes) == {
        "radius": 2,
        "activation": 2,
        "length": 2,
        "clip": 2,
        "replicate": 2,
        "lag": 8,
    }
    assert dataset.attrs["title"] == "A small sweep"
    assert {"case_key", "status", "first_overflow"} <= set(dataset)
    unusual = {"log10_memory_gradient_norm", *ON_REQUEST, *OF_LEARNER}
    assert set(RECORDS) & set(dataset) == set(RECORDS) - unusual
    assert dataset["clip"].values.tolist() == ["off", "norm(0.01)"]
    assert dataset.lag.values.tolist() == list(range(8))
    assert (dataset.status == 1).all()


def test_table_spec_and_path_give_the_same(dataset, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(TOML, encoding="utf-8")
    for spec in (gradlab.Spec.from_dict(TABLE), gradlab.load_spec(path), path, str(path)):
        xr.testing.assert_identical(gradlab.run(spec), dataset)


def test_the_archive_gives_the_same(dataset, tmp_path):
    kept = gradlab.run(TABLE, out=tmp_path / "a")
    assert {name: kept[name].dtype for name in kept} == {name: dataset[name].dtype for name in dataset}
    xr.testing.assert_identical(kept.load(), dataset)


def test_an_archive_interrupted_and_continued_is_byte_for_byte_one_that_was_not(tmp_path):
    def stop(done, failed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gradlab.run(TABLE, out=tmp_path / "b", progress=stop)
    (first,) = read_provenance(tmp_path / "b")
    assert 0 < first["cases"] < gradlab.open_archive(tmp_path / "b")["status"].size
    gradlab.run(TABLE, out=tmp_path / "b")
    assert sum(run["cases"] for run in read_provenance(tmp_path / "b")) == 32
    gradlab.run(TABLE, out=tmp_path / "a")
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / "data.zarr").rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "b") for p in (tmp_path / "b" / "data.zarr").rglob("*") if p.is_file()
    }
    different = [
        str(f) for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()
    ]
    assert different == []


KILLED = """
import os, signal, sys, gradlab
from test_api import TABLE

def die(done, failed):
    os.kill(os.getpid(), signal.SIGKILL)

gradlab.run(TABLE, out=sys.argv[1], progress=die)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_what_measured_is_told_also_of_a_run_that_was_killed(tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    killed = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    subprocess.run(killed, check=False, env={**os.environ, "PYTHONPATH": paths})
    (first,) = read_provenance(tmp_path / "a")
    assert first["libraries"]["numpy"] == np.__version__
    assert first["finished"] is first["cases"] is None
    gradlab.run(TABLE, out=tmp_path / "a")
    first, second = read_provenance(tmp_path / "a")
    assert first["finished"] is None
    assert 0 < second["cases"] < 32
    assert second["finished"] is not None
    assert first["begun"] < second["begun"]


def test_a_value_added_to_an_axis_changes_no_other_number(dataset):
    wider = {
        **TABLE,
        "sweep": {**TABLE["sweep"], "network.spectrum.radius": [0.5, 0.8, 1.1], "task.length": [5, 8, 2]},
    }
    more = gradlab.run(wider).sel(radius=[0.5, 1.1], length=[5, 8])
    xr.testing.assert_identical(more, dataset)
    alone = {**TABLE, "sweep": {**TABLE["sweep"], "network.spectrum.radius": [1.1], "clip": ["off"]}}
    one = gradlab.run(alone)
    for name in one:
        got, known = one[name].squeeze(), dataset[name].sel(radius=1.1, clip="off").squeeze()
        np.testing.assert_array_equal(got.values, known.values, err_msg=str(name))


def test_memory_and_workers_are_checked_and_change_nothing(dataset):
    xr.testing.assert_identical(gradlab.run(TABLE, memory="400MiB"), dataset)
    with pytest.raises(UserMistake, match=r"workers: expected an integer of at least 1, got 0"):
        gradlab.run(TABLE, workers=0)
    with pytest.raises(UserMistake, match=r"memory: expected at least .*, got 1 byte\."):
        gradlab.run(TABLE, memory=1)
    with pytest.raises(UserMistake, match="memory: expected"):
        gradlab.run(TABLE, memory="a lot")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"replicates": 20000}, "room beside the data of 20000 cases, which take 91[0-9] MiB, got 1024 MiB"),
        ({"task": {"name": "noise", "length": 10**9}}, "at least [0-9]{6} MiB for cases of this size"),
    ],
)
def test_data_that_do_not_fit_in_memory_are_refused_before_they_are_allocated(table, message):
    """The allocation itself would end in the kernel's killing the process."""
    task = {"name": "noise", "features": 2, "batch": 2, "length": 1000}
    with pytest.raises(UserMistake, match=message):
        gradlab.run({"network": {"hidden": 4}, "task": task, **table})


def test_draw_gives_what_was_measured(dataset):
    for radius, activation, length in ((0.5, "tanh", 5), (1.1, "tanh", 8)):
        case = gradlab.draw(
            TABLE, radius=radius, activation=activation, length=length, clip="off", replicate=1
        )
        records, rtol, _ = oracles.expected_records(case)
        measured = dataset.sel(radius=radius, activation=activation, length=length, clip="off", replicate=1)
        np.testing.assert_allclose(measured.loss, records["loss"], rtol=rtol, atol=0)
        for name in (
            "log10_state_gradient_norm",
            "log10_preactivation_gradient_norm",
            "log10_weight_gradient_norm",
        ):
            assert_norms(measured[name].values[:length], records[name], rtol, name)
        assert_norms(measured.log10_gradient_norm.values, records["log10_gradient_norm"], rtol)


def test_draw_wants_one_case():
    with pytest.raises(UserMistake) as caught:
        gradlab.draw(TABLE, radius=0.7, activation="tnah", replicate=5, colour=1)
    text = str(caught.value)
    for part in (
        "radius: expected one of 0.5, 1.1, got 0.7",
        "activation: expected one of tanh, relu",
        "length: expected one of 5, 8, got nothing",
        "replicate: expected an integer of at least 0 and of at most 1, got 5",
        "colour: expected the name of an axis",
    ):
        assert part in text


def test_a_wrong_spec_says_all_its_problems():
    with pytest.raises(UserMistake) as caught:
        gradlab.run(
            {
                "network": {"hidden": -1, "cel": "x"},
                "task": {"name": "noise", "length": 0},
                "clip": {"name": "norm", "threshold": 0},
            }
        )
    places = {problem.where for problem in caught.value.problems}
    assert {"network.hidden", "network.cel", "task.length", "clip.threshold"} <= places


def test_a_path_that_is_not_there():
    with pytest.raises(UserMistake, match=r"nowhere\.toml"):
        gradlab.run(Path("nowhere.toml"))


def matrices(network, **sweep):
    task = {"name": "noise", "features": 2, "batch": 2, "length": 5}
    return recurrent_matrices(as_spec({"network": network, "task": task, "sweep": sweep}))


def test_matrices_are_named_by_what_tells_them_apart():
    gains = [{"name": "ginibre", "gain": gain} for gain in (0.5, 1.0)]
    lstm = {"cell": {"name": "lstm", "forget_bias": 0.0}, "hidden": 4}
    drawn = matrices(lstm, **{"network.cell.forget_bias": [-1.0, 2.0], "network.spectrum": gains})
    assert list(drawn) == ["ginibre(gain=0.5), input gate", "ginibre(gain=1.0), input gate"]
    assert list(matrices({"hidden": 4})) == ["ginibre"]
    radii = matrices({"hidden": 4}, **{"network.spectrum.radius": [0.1 * i for i in range(1, 22)]})
    assert list(radii) == ["radius 0.1", "radius 0.6", "radius 1.1", "radius 1.6", "radius 2.1"]


def test_matrices_of_many_families_are_one_of_each():
    names = ["ginibre", "orthogonal", "identity", "symmetric", "antisymmetric", "normal", "singular"]
    spectra = [{"name": name, "radius": radius} for radius in (0.5, 0.9) for name in names]
    drawn = matrices({"hidden": 4}, **{"network.spectrum": spectra})
    assert list(drawn) == [f"{name}(radius=0.5)" for name in names]


NOTHING = [
    None,
    3,
    -1,
    2.5,
    b"x",
    True,
    [1],
    {3: 4},
    np.zeros(3),
    np.zeros((2, 2), complex),
    object(),
    {1, 2},
]
WEIGHTS = {"rnn.weight_hh_l0": np.eye(3), "rnn.weight_ih_l0": np.ones((3, 2))}
OTHER_TYPES = {
    "the spec": (gradlab.load_spec, NOTHING),
    "archive": (gradlab.open_archive, NOTHING),
    "base": (lambda value: gradlab.Spec.from_dict(TABLE, value), NOTHING[1:]),
    "workers": (lambda value: gradlab.run(TABLE, workers=value), ["2", *NOTHING[:1], *NOTHING[2:]]),
    "memory": (lambda value: gradlab.run(TABLE, memory=value), ["much", *NOTHING[2:]]),
    "progress": (lambda value: gradlab.run(TABLE, progress=value), ["a", *NOTHING[1:]]),
    "prune": (lambda value: gradlab.run(TABLE, prune=value), ["a", *NOTHING[:5], *NOTHING[6:]]),
    "partition": (lambda value: gradlab.run(TABLE, partition=value), NOTHING[1:]),
    "out": (lambda value: gradlab.run(TABLE, value), ["x\0y", *NOTHING[1:]]),
    "radius": (
        lambda value: gradlab.draw({"sweep": {"network.spectrum.radius": [0.5, 1.1]}}, radius=value),
        ["a", 10**400, *NOTHING],
    ),
    "at": (
        lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), at=value),
        ["a", [10**400], [-5], *NOTHING[:6], *NOTHING[8:11], {1, 7}],
    ),
    "record": (lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), record=value), ["a", *NOTHING[1:]]),
    "prefix": (lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), prefix=value), ["a", *NOTHING[1:]]),
    "readout": (lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), readout=value), ["a", *NOTHING]),
    "title": (lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), title=value), NOTHING[1:]),
    "seed": (lambda value: gradlab.probe(WEIGHTS, np.ones((4, 2)), seed=value), ["a", *NOTHING[2:]]),
}


@pytest.mark.parametrize("where", OTHER_TYPES)
def test_an_argument_of_another_type_is_one_message(where):
    call, values = OTHER_TYPES[where]
    for value in values:
        with pytest.raises(UserMistake) as caught:
            call(value)
        assert {problem.where for problem in caught.value.problems} == {where}, value


def test_weights_have_names():
    with pytest.raises(UserMistake, match="weights: expected arrays by their names, got 3"):
        gradlab.probe({3: np.eye(2)}, np.ones((4, 2)))


def test_mistakes_of_several_arguments_are_told_at_once():
    with pytest.raises(UserMistake) as caught:
        gradlab.run({"seed": -1}, 3, workers="2", memory=-1, prune="yes")
    assert [problem.where for problem in caught.value.problems] == [
        "seed",
        "out",
        "workers",
        "memory",
        "prune",
    ]


def test_time_steps_of_numpy_are_time_steps():
    asked = {"weights": WEIGHTS, "inputs": np.ones((4, 2))}
    xr.testing.assert_identical(
        gradlab.probe(**asked, at=np.array([1, 3])), gradlab.probe(**asked, at=[1, 3])
    )


@pytest.mark.parametrize("wrong", [3, [3], ["nothing"], b"phase"])
def test_names_of_figures_are_checked(tmp_path, wrong):
    gradlab.run(TABLE, tmp_path / "a")
    with pytest.raises(UserMistake, match=r"names of figures|a known figure"):
        draw_figures(tmp_path / "a", wrong)
    assert list(draw_figures(tmp_path / "a", "profile", "png")["profile"]) == [
        tmp_path / "a/figures/profile.png"
    ]


def test_a_part_of_the_data_is_what_a_filter_says():
    network, task = {"hidden": 3, "cell": "lstm"}, {"name": "noise", "length": 4, "batch": 2, "features": 2}
    sweep = {
        "network.spectrum.radius": [0.5, 1.0, 1.5],
        "task.length": [2, 3, 4],
        "network.bidirectional": [True, False],
    }
    ds = gradlab.run({"network": network, "task": task, "replicates": 3, "sweep": sweep})
    assert narrowed(ds, "") is ds
    one = narrowed(ds, "radius == 1.0 and length < 4 and not bidirectional and replicate >= 1")
    assert one.sizes["length"] == 2
    assert "radius" not in one.dims
    assert "bidirectional" not in one.dims
    assert one["replicate"].values.tolist() == [1, 2]
    xr.testing.assert_identical(
        one["loss"], ds["loss"].isel(radius=1, length=[0, 1], bidirectional=1, replicate=[1, 2])
    )
    half = narrowed(ds, "radius < length - 2")
    assert half.sizes["length"] == 2
    assert half["status"].sel(radius=1.5, length=3).values.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert half["status"].sel(radius=0.5, length=3).values.tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(UserMistake, match="a filter that holds for some case"):
        narrowed(ds, "radius > 7")


def test_how_long_is_trained_and_what_is_recorded_of_it_may_be_axes(tmp_path):
    task = {"name": "adding", "length": 22, "batch": 3}
    training = {"updates": 7, "records": 5, "evaluate": 5, "optimiser": {"name": "adam", "rate": 0.01}}
    table = {"measure": "train", "network": {"hidden": 3}, "task": task, "training": training}
    axes = {"updates": [7, 30, 12], "spacing": ["linear", "log"], "records": [3, 5]}
    wide = {**table, "sweep": {f"training.{name}": values for name, values in axes.items()}}
    whole, every = gradlab.run(wide), set()
    for place in itertools.product(*axes.values()):
        own = dict(zip(axes, place, strict=True))
        alone, case = gradlab.run({**table, "training": {**training, **own}}), whole.sel(own)
        every |= set(alone["update"].values.tolist())
        assert case["loss"].count() == alone["loss"].count()
        for name in alone.data_vars:
            here = case[name].sel(update=alone["update"]) if "update" in case[name].dims else case[name]
            np.testing.assert_array_equal(here.values, alone[name].values)
    assert whole["update"].values.tolist() == sorted(every)
    gradlab.run({**table, "training": {**training, "spacing": "log"}}, out=tmp_path / "a")
    grown = gradlab.run(wide, out=tmp_path / "a")
    for name in whole.data_vars:
        np.testing.assert_array_equal(grown[name].sel(axes).values, whole[name].values)


def test_rooms_that_need_no_spec_are_there_in_a_fresh_process():
    code = (
        "import gradlab; gradlab.measure.arrays.probe_arrays; gradlab.checking.verify; "
        "gradlab.figures.registry; gradlab.learning.backward.backpropagate; gradlab.network.cells; "
        "gradlab.tasks.registry; gradlab.theory"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
