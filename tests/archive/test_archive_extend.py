"""A changed spec run into an archive: what is there stays, what is new is measured, and nothing else is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradlab
from gradlab.api import load_spec, merge, specs_of
from gradlab.archive import store
from gradlab.checking import verify
from gradlab.core import fingerprint
from gradlab.core.errors import UserMistake
from gradlab.experiment.spec import Spec
from gradlab.running import met, plan_of

RADIUS, CELL, ACTIVATION = "network.spectrum.radius", "network.cell", "network.activation"


BASE = {
    "title": "Base",
    "replicates": 2,
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 6},
    "sweep": {RADIUS: [0.5, 1.5], ACTIVATION: ["tanh", "relu"]},
}


def changed(**tables):
    return BASE | tables


def axes(radius=(0.5, 1.5), activation=("tanh", "relu")):
    return changed(sweep={RADIUS: list(radius), ACTIVATION: list(activation)})


def turned(table):
    """The same cases, the axes in the opposite order."""
    return table | {"sweep": dict(reversed(table["sweep"].items()))}


def without_lone_axes(table):
    """The same cases, what has one value set outside the sweep."""
    network, sweep = dict(table["network"]), dict(table["sweep"])
    if len(sweep[RADIUS]) == 1:
        network["spectrum"] = {"name": "ginibre", "radius": sweep.pop(RADIUS)[0]}
    if len(sweep[ACTIVATION]) == 1:
        network["activation"] = sweep.pop(ACTIVATION)[0]
    return table | {"network": network, "sweep": sweep}


def data(path):
    """Every file of the data with its bytes."""
    root = path / "data.zarr"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def digest(path):
    return json.loads((path / "manifest.json").read_text())["content_digest"]


def assert_same(one, other):
    """The same numbers in the same bytes, whatever happened on the way."""
    first, second = data(one), data(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert digest(one) == digest(other)


def assert_close(then, today):
    """The same numbers but for the rounding of libraries, which may be others than those of then."""
    assert then.sizes == today.sizes
    assert set(then.variables) == set(today.variables)
    for name, variable in today.variables.items():
        assert then[name].dims == variable.dims, name
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(then[name].values, variable.values, rtol=1e-6, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(then[name].values, variable.values, err_msg=name)


def of_code(monkeypatch, code):
    """Let the numerical code be another one."""
    monkeypatch.setattr(fingerprint, "code_key", lambda: code)
    monkeypatch.setattr(store, "code_key", lambda: code)


def measured(table, path, **way):
    """Run, and return how many cases were measured."""
    done = []
    gradlab.run(table, path, progress=lambda cases, failed: done.append(cases), **way)
    return sum(done)


def planned(table, path, **way):
    return met(plan_of(Spec.from_dict(table)), path, **way).counts()


LARGER = {
    "a finer axis": (axes(radius=[0.5, 0.75, 1.0, 1.25, 1.5]), 20),
    "a longer axis": (axes(radius=[0.25, 0.5, 1.5, 3.0]), 16),
    "more replicates": (changed(replicates=5), 20),
    "another activation": (axes(activation=["tanh", "relu", "logistic"]), 12),
    "another activation in front": (axes(activation=["logistic", "tanh", "relu"]), 12),
    "all at once": (
        axes(radius=[0.5, 1.0, 1.5], activation=["tanh", "identity", "relu"]) | {"replicates": 3},
        27,
    ),
    "a second sweep": (
        changed(sweep=[BASE["sweep"], {RADIUS: [1.0], ACTIVATION: ["identity"]}]),
        10,
    ),
    "another cell": (changed(sweep=BASE["sweep"] | {CELL: ["elman", "lstm"]}), 16),
    "another task": (changed(sweep=BASE["sweep"] | {"task.length": [6, 11]}), 16),
    "more layers": (changed(sweep=BASE["sweep"] | {"network.layers": [1, 3]}), 16),
    "another learner": (changed(sweep=BASE["sweep"] | {"learner": ["bptt", "truncated"]}), 16),
}


@pytest.mark.parametrize("kind", LARGER)
def test_a_larger_spec_measures_what_is_new_and_ends_as_if_run_at_once(tmp_path, kind):
    table, cases = LARGER[kind]
    if kind == "another learner":
        table = table | {"sweep": table["sweep"] | {"learner": ["bptt", {"name": "truncated", "window": 3}]}}
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(table, tmp_path / "whole")
    counts = planned(table, tmp_path / "a")
    assert (counts["cases"], counts["there"], counts["new"], counts["beside"]) == (cases, 8, cases - 8, 0)
    assert measured(table, tmp_path / "a") == cases - 8
    assert_same(tmp_path / "a", tmp_path / "whole")
    assert measured(table, tmp_path / "a") == 0
    assert_same(tmp_path / "a", tmp_path / "whole")


def zipped(**together):
    """A spec with one axis, x: its coordinates stand on disk in another order than in the spec."""
    keys = {"length": "task.length", "seed": "seed", "activation": ACTIVATION}
    pairs = {keys[name]: list(values) for name, values in together.items()}
    first = next(iter(pairs))
    return changed(replicates=1, sweep=pairs | {"zip": [list(pairs)], "rename": {first: "x"}})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"length": [3], "seed": [0]}, {"length": [4], "seed": [0]}),
        ({"length": [5, 4], "seed": [0, 1]}, {"length": [3, 4], "seed": [2, 1]}),
        ({"length": [3], "activation": ["tanh"]}, {"length": [4], "activation": ["relu"]}),
        (
            {"activation": ["tanh"], "seed": [7], "length": [3]},
            {"activation": ["relu"], "seed": [3], "length": [7]},
        ),
    ],
)
def test_settings_that_are_zipped_keep_their_own_labels(tmp_path, first, second):
    """Each case stands where the settings of its own are, those of the archive and those of the spec."""
    gradlab.run(zipped(**first), tmp_path / "a")
    gradlab.run(zipped(**second), tmp_path / "a")
    gradlab.run(zipped(**first), tmp_path / "b")
    gradlab.run(zipped(**second), tmp_path / "c")
    merge([tmp_path / "b", tmp_path / "c"], tmp_path / "merged")
    wanted = {row for one in (first, second) for row in zip(*one.values(), strict=True)}
    keys = {}
    for name in ("a", "b", "c", "merged"):
        ds = gradlab.open_archive(tmp_path / name).isel(replicate=0)
        names = ["x", *list(first)[1:]]
        rows = list(zip(*(ds[n].values.tolist() for n in names), ds["settings_key"].values, strict=True))
        keys[name] = {row[:-1]: str(row[-1]) for row in rows}
    assert set(keys["a"]) == set(keys["merged"]) == wanted
    assert keys["a"] == keys["merged"] == keys["b"] | keys["c"]
    assert verify(tmp_path / "a").problems == ()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.fixed_dictionaries(
            {
                "radius": st.lists(
                    st.sampled_from([0.5, 0.75, 1.0, 1.5]), min_size=1, max_size=3, unique=True
                ),
                "activation": st.lists(
                    st.sampled_from(["tanh", "relu", "identity"]), min_size=1, max_size=3, unique=True
                ),
                "replicates": st.integers(1, 3),
                "turned": st.booleans(),
                "lone": st.booleans(),
            }
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_sequence_of_specs_keeps_every_case_with_its_numbers(tmp_path_factory, steps):
    """An archive through all of them has each case of each, as that spec alone measures it."""
    folder = tmp_path_factory.mktemp("steps")
    known = {}
    wide = {"radius": [0.5, 1.5], "activation": ["tanh", "relu"]}  # an axis is there that may be left out
    for step in [{**wide, "replicates": 1, "turned": False, "lone": False}, *steps]:
        table = axes(step["radius"], step["activation"]) | {"replicates": step["replicates"]}
        table = turned(table) if step["turned"] else table
        table = without_lone_axes(table) if step["lone"] else table
        alone = numbers(gradlab.run(table))
        new = len(alone.keys() - known.keys())
        counts = planned(table, folder / "a")
        assert counts["new"] == new
        assert measured(table, folder / "a") == new
        known |= alone
        assert numbers(gradlab.open_archive(folder / "a")) == known
    assert verify(folder / "a").verified


def numbers(ds):
    """Return a number of every case that has run, by its key."""
    keys, loss, status = (ds[name].values for name in ("case_key", "log10_gradient_norm", "status"))
    return {str(keys[place]): float(loss[place]).hex() for place in map(tuple, np.argwhere(status != 0))}


def test_what_the_spec_has_not_stays_beside_until_it_is_pruned(tmp_path):
    gradlab.run(axes(radius=[0.5, 1.0, 1.5]), tmp_path / "a")
    gradlab.run(axes(radius=[1.0]), tmp_path / "alone")
    before = numbers(gradlab.open_archive(tmp_path / "a"))
    counts = planned(axes(radius=[1.0]), tmp_path / "a")
    assert (counts["there"], counts["new"], counts["beside"], counts["dropped"]) == (4, 0, 8, 0)
    assert measured(axes(radius=[1.0]), tmp_path / "a") == 0
    assert numbers(gradlab.open_archive(tmp_path / "a")) == before
    counts = planned(axes(radius=[1.0]), tmp_path / "a", prune=True)
    assert (counts["there"], counts["new"], counts["beside"], counts["dropped"]) == (4, 0, 0, 8)
    assert measured(axes(radius=[1.0]), tmp_path / "a", prune=True) == 0
    assert_same(tmp_path / "a", tmp_path / "alone")
    assert not (tmp_path / "a" / "specs").exists()


@pytest.mark.parametrize("radius", [[0.5, 1.0, 1.5], [1.0]])
def test_axes_in_another_order_are_the_same_axes(tmp_path, radius):
    """What is there is taken over, also what stays beside; the last spec says in which order they stand."""
    gradlab.run(BASE, tmp_path / "a")
    asked = turned(axes(radius=radius))
    counts = planned(asked, tmp_path / "a")
    there = 8 if len(radius) > 1 else 0
    assert (counts["there"], counts["new"], counts["beside"]) == (there, 4, 8 - there)
    assert measured(asked, tmp_path / "a") == 4
    gradlab.run(turned(axes(radius=[0.5, 1.0, 1.5])), tmp_path / "whole")
    assert digest(tmp_path / "a") == digest(tmp_path / "whole")
    report = verify(tmp_path / "a", sample=None)
    assert report.verified
    assert report.replay.cases == 12
    assert all(one.identical == 12 for one in report.replay.variables)


WITHOUT = {
    "the spec has none": (BASE, without_lone_axes(axes([1.0], ["relu", "identity"])), 12),
    "the archive has none": (without_lone_axes(axes([1.0], ["relu", "identity"])), BASE, 12),
    "each has one of its own": (
        without_lone_axes(axes([0.5, 1.5], ["relu"])),
        without_lone_axes(axes([1.0], ["tanh", "identity"])),
        8,
    ),
    "neither has any": (
        without_lone_axes(axes([0.5], ["relu"])),
        without_lone_axes(axes([0.5], ["relu"])),
        2,
    ),
    "zipped and renamed": (
        changed(sweep={RADIUS: [0.5, 1.5]}),
        changed(
            sweep={
                "network.hidden": [4, 5],
                "task.batch": [3, 4],
                "zip": [["network.hidden", "task.batch"]],
                "rename": {"network.hidden": "size", "task.batch": "samples"},
            }
        ),
        8,
    ),
    "tables with labels": (
        changed(clip={"name": "norm", "threshold": 0.5}, sweep={RADIUS: [0.5]}),
        changed(sweep={RADIUS: [0.5], "clip": ["off", {"name": "norm", "threshold": 0.25}]}),
        6,
    ),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_an_axis_that_one_side_lacks_has_the_value_that_it_has_there(tmp_path, kind):
    """Run into the archive, or united with it: the same cases, each where its settings say."""
    first, second, cases = WITHOUT[kind]
    gradlab.run(first, tmp_path / "a")
    gradlab.run(second, tmp_path / "b")
    known = numbers(gradlab.open_archive(tmp_path / "a")) | numbers(gradlab.open_archive(tmp_path / "b"))
    assert len(known) == cases
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    new = planned(second, tmp_path / "a")["new"]
    assert measured(second, tmp_path / "a") == new == cases - len(plan_cases(first))
    assert measured(second, tmp_path / "a") == 0
    assert measured(first, tmp_path / "a") == 0
    for name in ("a", "merged"):
        assert numbers(gradlab.open_archive(tmp_path / name)) == known
        report = verify(tmp_path / name, sample=None)
        assert report.verified
        assert all(one.identical == cases for one in report.replay.variables)


LABELLED = {
    "a cell": (CELL, "lstm", {"name": "lstm", "forget_bias": 2.0}, "lstm(forget_bias=0.0)"),
    "a slope": (ACTIVATION, "leaky_relu", {"name": "leaky_relu", "slope": 0.3}, "leaky_relu(0.01)"),
}


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("as_axis", [True, False])
@pytest.mark.parametrize("kind", LABELLED)
def test_one_setting_has_one_label_though_another_spec_calls_it_otherwise(tmp_path, kind, as_axis, common):
    """How a setting is called depends on what else is on the axis: the last spec's label is taken."""
    key, plain, other, longer = LABELLED[kind]
    name = key.rpartition(".")[2]
    alone = changed(sweep={RADIUS: [0.5, 2.0], key: [plain]})
    if not as_axis:
        alone = changed(network={"hidden": 3, name: plain}, sweep={RADIUS: [0.5, 2.0]})
    both = changed(sweep={RADIUS: [0.5, 1.0] if common else [1.0], key: [plain, other]})
    gradlab.run(alone, tmp_path / "a")
    gradlab.run(both, tmp_path / "b")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "one")
    merge([tmp_path / "b", tmp_path / "a"], tmp_path / "two")
    gradlab.run(both, tmp_path / "a")
    gradlab.run(alone, tmp_path / "b")
    for archive in ("a", "b", "one", "two"):
        ds = gradlab.open_archive(tmp_path / archive)
        assert ds.sizes[name] == 2
        assert set(ds[name].values.tolist()) & {plain, longer}
        assert int((ds["status"] != 0).sum()) == (10 if common else 8)
        report = verify(tmp_path / archive, sample=None)
        assert report.verified, (archive, report.problems)


def plan_cases(table):
    return set(plan_of(Spec.from_dict(table)).grid.settings_keys().ravel().tolist())


def test_the_specs_of_what_is_beside_are_kept(tmp_path):
    first, second = axes(radius=[0.5]), axes(radius=[1.0], activation=["identity"]) | {"title": "Second"}
    gradlab.run(first, tmp_path / "a")
    gradlab.run(second, tmp_path / "a")
    assert [spec.title for spec in specs_of(tmp_path / "a")] == ["Second", "Base"]
    keys = set(gradlab.open_archive(tmp_path / "a")["settings_key"].values.ravel()) - {""}
    found = {key for spec in specs_of(tmp_path / "a") for key in plan_of(spec).grid.settings_keys().ravel()}
    assert keys == found
    gradlab.run(first, tmp_path / "a")
    assert [spec.title for spec in specs_of(tmp_path / "a")] == ["Base", "Second"]


def test_a_plan_says_all_that_before_anything_is_written(tmp_path):
    gradlab.run(BASE, tmp_path / "a")
    before = {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    planned(LARGER["all at once"][0], tmp_path / "a")
    planned(axes(radius=[1.0]), tmp_path / "a", prune=True)
    assert {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()} == before
    assert planned(BASE, tmp_path / "none")["new"] == 8
    assert not (tmp_path / "none").exists()


def test_a_changed_title_writes_no_number_again(tmp_path):
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(changed(title="Other"), tmp_path / "whole")
    loss = (tmp_path / "a" / "data.zarr" / "loss" / "c.0.0.0").stat().st_mtime_ns
    assert measured(changed(title="Other"), tmp_path / "a") == 0
    assert (tmp_path / "a" / "data.zarr" / "loss" / "c.0.0.0").stat().st_mtime_ns == loss
    assert_same(tmp_path / "a", tmp_path / "whole")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            changed(sweep={"network": [{"hidden": 3}, {"hidden": 4}]}),
            "the axes that the archive has, radius, activation, .*got network",
        ),
        (changed(network={"hidden": 4}), "network.hidden = 3, got network.hidden = 4. Make an axis"),
        (axes(radius=[1.0]) | {"network": {"hidden": 4}}, "network.hidden = 3, got network.hidden = 4"),
        (
            changed(
                seed=5,
                clip={"name": "norm", "threshold": 1.0},
                network={"hidden": 3, "spectrum": "orthogonal"},
            ),
            "seed = 0, network.spectrum.name = 'ginibre', clip.name = 'off', got seed = 5, "
            "network.spectrum.name = 'orthogonal', clip.name = 'norm'",
        ),
        (changed(record=["loss"]), "records what the spec does, got one that also has .*saturation"),
    ],
)
def test_what_cannot_be_put_beside_is_refused_and_nothing_touched(tmp_path, table, message):
    gradlab.run(BASE, tmp_path / "a")
    before = {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    with pytest.raises(UserMistake, match=rf"{message}.*--out.*--prune"):
        gradlab.run(table, tmp_path / "a")
    assert {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()} == before
    gradlab.run(table, tmp_path / "alone")
    measured(table, tmp_path / "a", prune=True)
    assert_same(tmp_path / "a", tmp_path / "alone")


def test_more_records_cannot_be_had_without_measuring(tmp_path):
    gradlab.run(changed(record=["loss"]), tmp_path / "a")
    with pytest.raises(UserMistake, match=r"got one without growth_rate.*another --out"):
        gradlab.run(changed(record=["loss", "growth_rate"]), tmp_path / "a")


def test_cases_of_other_code_are_not_mixed_unless_asked(tmp_path, monkeypatch):
    finer = axes(radius=[0.5, 1.0, 1.5])
    own = fingerprint.code_key()
    gradlab.run(BASE, tmp_path / "a")
    of_code(monkeypatch, "1" * 16)
    before = data(tmp_path / "a")
    assert planned(finer, tmp_path / "a")["older"] == 8
    with pytest.raises(UserMistake, match=r"8 of 8 measured by other code.*--accept-older-code") as caught:
        gradlab.run(finer, tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)
    assert data(tmp_path / "a") == before
    assert measured(finer, tmp_path / "a", accept_older_code=True) == 4
    ds = gradlab.open_archive(tmp_path / "a")
    assert (ds["code_key"].sel(radius=1.0) == "1" * 16).all()
    assert (ds["code_key"].sel(radius=[0.5, 1.5]) == own).all()
    for place in np.ndindex(ds["case_key"].shape):
        key, settings_key, code = (str(ds[n].values[place]) for n in ("case_key", "settings_key", "code_key"))
        assert key == fingerprint.case_key(settings_key, code)


def test_an_archive_that_is_done_needs_no_code(tmp_path, monkeypatch):
    gradlab.run(BASE, tmp_path / "a")
    of_code(monkeypatch, "1" * 16)
    before = data(tmp_path / "a")
    assert measured(BASE, tmp_path / "a") == 0
    assert data(tmp_path / "a") == before


def test_failed_cases_tried_again_by_other_code_are_of_that(tmp_path, monkeypatch):
    from gradlab.measure import probe as measure

    with monkeypatch.context() as patched:
        patched.setattr(measure, "probe", failing(measure.probe, 1.5))
        gradlab.run(BASE, tmp_path / "a")
    of_code(monkeypatch, "1" * 16)
    counts = planned(BASE, tmp_path / "a")
    assert (counts["there"], counts["failed"], counts["new"], counts["older"]) == (4, 4, 0, 4)
    with pytest.raises(UserMistake, match=r"4 of 4 measured by other code"):
        gradlab.run(BASE, tmp_path / "a")
    assert measured(BASE, tmp_path / "a", accept_older_code=True) == 4
    codes = gradlab.open_archive(tmp_path / "a")["code_key"]
    assert (codes.sel(radius=1.5) == "1" * 16).all()
    assert (codes.sel(radius=0.5) != "1" * 16).all()


def failing(real, radius):
    def probe(block, *rest):
        if any(family.radius == radius for run in block.runs for family in run.network.spectra):
            raise RuntimeError("on purpose")
        return real(block, *rest)

    return probe


def test_a_part_of_a_finer_sweep_goes_into_the_archive_of_the_coarse_one(tmp_path):
    finer = axes(radius=[0.5, 1.0, 1.5])
    gradlab.run(BASE, tmp_path / "a")
    gradlab.run(finer, tmp_path / "whole")
    assert (
        measured(finer, tmp_path / "a", partition="1/2") + measured(finer, tmp_path / "a", partition="2/2")
        == 4
    )
    assert_same(tmp_path / "a", tmp_path / "whole")


def test_files_of_a_spec_are_kept_as_they_are(tmp_path):
    text = '# mine\n[network]\nhidden = 3\n[task]\nname = "noise"\nlength = 6\n'
    text += '[sweep]\n"network.activation" = ["tanh"]\n'
    (tmp_path / "s.toml").write_text(text)
    gradlab.run(tmp_path / "s.toml", tmp_path / "a")
    assert (tmp_path / "a" / "spec.toml").read_text() == text
    (tmp_path / "s.toml").write_text(text.replace('["tanh"]', '["tanh", "relu"]'))
    gradlab.run(tmp_path / "s.toml", tmp_path / "a")
    assert '"relu"' in (tmp_path / "a" / "spec.toml").read_text()
    assert load_spec(tmp_path / "a" / "spec.toml").replicates == 1
