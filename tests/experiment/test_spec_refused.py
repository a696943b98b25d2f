"""What is said of specs that are wrong."""

import numpy as np
import pytest

from gradlab.core.errors import UserMistake
from gradlab.experiment.spec import Spec, load_spec


def problems(table, base=None):
    with pytest.raises(UserMistake) as caught:
        Spec.from_dict(table, base)
    return caught.value.problems


def test_every_problem_comes_at_once_and_names_the_nearest():
    found = problems(
        {
            "titel": "x",
            "title": 3,
            "seed": -1,
            "replicates": True,
            "measure": "prob",
            "record": ["los", "loss"],
            "memory": "lots",
            "network": {"hiden": 3, "activation": "tanhh", "spectrum": {"name": "ginibre", "radius": -1}},
            "task": {"name": "noise", "length": 0, "batch": 0},
            "clip": {"name": "norm", "threshold": 0},
        }
    )
    text = {problem.where: str(problem) for problem in found}
    assert set(text) == {
        "titel",
        "title",
        "seed",
        "replicates",
        "measure",
        "record",
        "memory",
        "network.hiden",
        "network.activation",
        "network.spectrum.radius",
        "task.length",
        "task.batch",
        "clip.threshold",
    }
    assert text["titel"] == "titel: expected a key of a spec, got 'titel'. Did you mean 'title'?"
    assert text["record"] == "record: expected names of records, got 'los'. Did you mean 'loss'?"
    assert text["seed"] == "seed: expected an integer of at least 0, got -1"
    assert text["network.hiden"].endswith("Did you mean 'hidden'?")
    assert text["network.activation"].endswith("Did you mean 'tanh'?")


def test_a_wrong_sweep_does_not_hide_what_else_is_wrong():
    found = problems(
        {
            "network": {"hiden": 3},
            "task": {"name": "noise", "lenght": 3},
            "clip": "of",
            "sweep": {"task.batch": [1, 2], "clip.threshold": [], "where": "btch < 2"},
        }
    )
    wanted = {"sweep.clip.threshold", "sweep.where", "network.hiden", "task.lenght", "clip.name"}
    assert {p.where for p in found} == wanted
    found = problems(
        {
            "network": {"hiden": 3},
            "task": {"name": "noise", "lenght": 3},
            "sweep": {"task.batch": [1, 2], "network.dtyp": ["float32"], "where": "btch < 2"},
        }
    )
    assert {p.where for p in found} == {"sweep.where", "network.hiden", "network.dtyp", "task.lenght"}


def test_neither_a_repeated_value_nor_another_measures_section_hides_what_else_is_wrong():
    found = problems(
        {
            "record": ["metric"],
            "network": {"hiden": 3},
            "task": {"name": "noise", "length": 0},
            "training": {"updates": 3},
            "sweep": {"network.spectrum.radius": [0.5, 0.5], "network.activation": ["tanh", "tanhh"]},
        }
    )
    wanted = {"network.hiden", "network.activation", "task.length", "training", "record"}
    assert {p.where for p in found} == {"sweep.network.spectrum.radius", *wanted}
    found = problems(
        {"measure": "train", "landscape": {}, "network": {"hiden": 3}, "record": ["growth_rate"]}
    )
    assert {p.where for p in found} == {"landscape", "network.hiden", "record"}


def test_what_an_unreadable_axis_was_to_give_is_not_called_missing():
    table = {"clip": {"name": "norm"}, "sweep": {"clip.threshold": []}, "network": {"hiden": 3}}
    assert {p.where for p in problems(table)} == {"sweep.clip.threshold", "network.hiden"}
    zipped = {"task.length": [5, 5], "task.batch": [1, 2, 3], "zip": [["task.length", "task.batch"]]}
    assert {p.where for p in problems({"sweep": zipped})} == {"sweep.zip", "sweep.task.length"}


def test_what_a_wrong_filter_may_have_meant_to_leave_out_is_not_held_against_the_spec():
    sweep = {
        "network.spectrum": ["delay_line", "ginibre"],
        "network.spectrum.radius": [1.0],
        "where": "spectrm == 1",
    }
    assert [p.where for p in problems({"sweep": sweep})] == ["sweep.where"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_are_none_are_refused_wherever_they_stand(value):
    found = problems(
        {
            "network": {"spectrum": {"name": "ginibre", "radius": value}},
            "task": {"name": "noise", "length": 0},
            "clip": [value],
            "sweep": {"network.bias.value": [0.0, value]},
        }
    )
    wanted = {"network.spectrum.radius", "clip[0]", "sweep.network.bias.value[1]", "task.length"}
    assert wanted <= {p.where for p in found}
    assert all(p.expected == "a finite number" for p in found if p.where in wanted - {"task.length"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"network": 3}, r"^network: expected a table, \[network\], got 3"),
        ({"network": "elman"}, r"^network: expected a table, \[network\], got 'elman'"),
        ({"task": ["noise"]}, r"^task: expected a table, \[task\], got \['noise'\]"),
        ({"task": {}}, r"^task: expected the name of a task, or a table with one, got \{\}"),
        (
            {"task": "nois"},
            r"^task(\.name)?: expected the name of a known task, got 'nois'\. Did you mean 'noise'\?",
        ),
        ({"sweep": "x"}, r"^sweep: expected a table of axes, \[sweep\], or several, \[\[sweep\]\], got 'x'"),
        ({"sweep": False, "seed": 0.5}, r"(?m)^seed: expected an integer.*\nsweep: expected a table of axes"),
        ({"sweep": [3]}, r"^sweep: expected a table of axes, got 3"),
        ({"record": []}, r"^record: expected at least one name of a record, got an empty list"),
        ({"record": [3]}, r"^record: expected names of records, got 3"),
        ({"seed": 1.5}, r"^seed: expected an integer of at least 0, got 1\.5"),
        ({"replicates": 0}, r"^replicates: expected an integer of at least 1, got 0"),
        ({"seed": "1"}, r"^seed: expected an integer of at least 0, got '1'"),
        ({"title": ["a"]}, r"^title: expected a text, got \['a'\]"),
        ({"network": {"hidden": {1, 2}}}, r"^network\.hidden: expected a text, a number, .*, got \{1, 2\}"),
        ({3: 4}, r"^the spec: expected keys that are texts, got 3"),
        (
            {"network": {"spectrum": {"name": "sparse", "k": 9, "radius": 1.0}, "hidden": 4}},
            r"^network\.spectrum\.k: ",
        ),
        ({"clip": {"name": "norm"}}, r"^clip\.threshold: expected a value, got nothing"),
    ],
)
def test_a_wrong_spec_is_refused_in_clear_words(table, message):
    with pytest.raises(UserMistake, match=message):
        Spec.from_dict(table)


def test_what_is_no_table_is_refused():
    with pytest.raises(UserMistake, match=r"^the spec: expected a table, got \[1\]"):
        Spec.from_dict([1])


def test_a_table_without_end_is_refused():
    table = {"network": {}}
    table["network"]["spectrum"] = table
    with pytest.raises(UserMistake, match="expected at most 16 levels of nesting, got more"):
        Spec.from_dict(table)


def test_no_other_door_lets_pydantic_speak():
    with pytest.raises(UserMistake, match=r"^seed: expected an integer"):
        Spec(seed=-1)
    with pytest.raises(UserMistake, match=r"^titel: expected a key of a spec"):
        Spec.model_validate({"titel": ""})
    assert Spec.model_validate({"seed": 1}) == Spec(seed=1) == Spec.model_validate_json('{"seed": 1}')
    with pytest.raises(UserMistake, match=r"^the spec: expected JSON"):
        Spec.model_validate_json("{")


def test_a_file_with_a_wrong_spec_or_none_is_the_users_mistake(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text("seed = \n")
    with pytest.raises(UserMistake, match=r"spec\.toml: expected a TOML file, got a syntax error: .*line 1"):
        load_spec(path)
    with pytest.raises(UserMistake, match="No such file"):
        load_spec(tmp_path / "other.toml")
