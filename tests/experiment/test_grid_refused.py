"""Sweeps that cannot be expanded, and what is said of them."""

import pytest

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.spec import Spec
from gradlab.measure.records import RECORDS

RADII = {"start": 0.5, "stop": 1.5, "num": 21}


def grid_of(sweep, **rest):
    return expand(Spec.from_dict({**rest, "sweep": sweep}))


def mistake(sweep, **rest):
    with pytest.raises(UserMistake) as caught:
        grid_of(sweep, **rest)
    return str(caught.value)


def test_a_combination_that_cannot_be_run_names_its_axis_values():
    text = mistake({"network.spectrum": ["delay_line", "ginibre"], "network.spectrum.radius": RADII})
    assert text.startswith(
        "network.spectrum.radius: expected 'delay_line' to be scaled by norm, got radius = 0.5."
    )
    assert text.endswith("This is so at spectrum=delay_line; 21 of 42 grid points.")
    assert "\n" not in text


def test_a_combination_of_two_values_that_cannot_be_run_tells_of_filters():
    families = [{"name": "sparse", "connections": 4, "radius": 1.0}, {"name": "ginibre", "radius": 1.0}]
    sweep = {"network.spectrum": families, "network.hidden": [2, 8, 3], "task.length": [5, 6]}
    text = mistake(sweep)
    assert text.startswith("network.spectrum.connections: expected ")
    assert text.endswith(
        "First at spectrum=sparse(radius=1.0, connections=4), hidden=2; 4 of 12 grid points. "
        "Leave such combinations out with where."
    )
    assert "\n" not in text
    assert grid_of({**sweep, "where": "hidden == 8 or spectrum == 'ginibre(radius=1.0)'"}).n_cases == 8


def test_every_section_is_checked_before_anything_is_reported():
    text = mistake({"task.length": [0, 5], "clip.threshold": [0.0, 1.0]}, clip="norm", network={"hidden": 0})
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "network.hidden",
        "task.length",
        "clip.threshold",
    ]
    assert "This is so at length=0; 2 of 4 grid points." in text


def test_arrays_that_do_not_fit_the_task_are_found_before_anything_runs():
    given_weights = {"name": "given", "values": [[1.0, 2.0]] * 3}
    network = {"hidden": 3, "input": given_weights}
    assert grid_of({"task.features": [2]}, network=network).n_cases == 1
    text = mistake({"task.features": [2, 3]}, network=network)
    assert text.startswith(
        "network.input: expected numbers of shape (3, 3) (rows to, columns from), got shape (3, 2)"
    )


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            {"network.hiden": [1]},
            r"^network\.hiden: expected a setting of the network, got 'hiden'\. Did you mean 'hidden'\?",
        ),
        ({"task.lenght": [1]}, r"^task\.lenght: expected a setting of 'noise'.*Did you mean 'length'\?"),
        (
            {"tusk.length": [1]},
            r"^sweep\.tusk\.length: expected a dotted key under network, .*'task'\?",
        ),
        ({"network..hidden": [1]}, r"^sweep\.network\.\.hidden: expected a dotted key"),
        (
            {"title": ["a"]},
            r"^sweep\.title: expected the key of a setting of each case, got 'title', which holds",
        ),
        ({"replicates": [1]}, r"^sweep\.replicates: expected the key of a setting of each case"),
        (
            {"seed": [-1, 0]},
            r"^seed: expected an integer of at least 0, got -1.*at seed=-1; 1 of 2 grid points",
        ),
        (
            {"network.hidden": [4, 4.0]},
            r"^sweep\.network\.hidden: expected values that differ, got 4\.0 twice",
        ),
        (
            {"clip": ["off", {"name": "off"}]},
            r"^sweep\.clip: expected values that differ, got \{'name': 'off'\} twice",
        ),
        ({"network.hidden": 3}, r"^sweep\.network\.hidden: expected a list of values, .*\[value\]"),
        (
            {"network.hidden": [3], "network": {"hidden": [4]}},
            r"^sweep\.network\.hidden: expected each axis once",
        ),
        (
            {"network.input.gain": [1], "network.readout.gain": [1]},
            r'name of its own for every axis, got .gain. for both .*= \{ "network\.readout\.gain" = ',
        ),
        (
            {"task.length": [5], "rename": {"task.length": "lag"}},
            r"expected an axis name that means nothing else, got 'lag'",
        ),
        (
            {"task.length": [5], "rename": {"task.length": "not"}},
            r"expected an axis name that means nothing else, got 'not'",
        ),
        (
            {"task.loss": ["mse"]},
            r"^sweep\.task\.loss: expected an axis name that means nothing else, got 'loss'\. Rename it",
        ),
        (
            {"task.length": [5], "rename": {"task.length": "a b"}},
            r"^sweep\.rename\.task\.length: expected a name made of letters",
        ),
        (
            {"task.length": [5], "rename": {"task.batch": "b"}},
            r"^sweep\.rename\.task\.batch: expected the key of an axis",
        ),
        ({"task.length": [5], "rename": 3}, r"^sweep\.rename: expected a table"),
        ({"task.length": [5], "where": 3}, r"^sweep\.where: expected a filter"),
        (
            {"task.length": [5], "where": "length > 5"},
            r"^sweep\.where: expected a filter that leaves at least one grid point",
        ),
        (
            {"task.length": [5], "zip": [["task.length", "task.batch"]]},
            r"^sweep\.zip: expected the key of an axis.*'task.batch'",
        ),
        ({"task.length": [5], "zip": [["task.length"]]}, r"^sweep\.zip: expected at least two keys to zip"),
        ({"task.length": [5], "zip": "task.length"}, r"^sweep\.zip: expected lists of keys"),
        (
            {"task.length": [5, 6], "task.batch": [1], "zip": [["task.length", "task.batch"]]},
            r"^sweep\.zip: expected zipped axes of equal length, got 2 of task\.length and 1 of task\.batch",
        ),
        (
            {
                "task.length": [5],
                "task.batch": [1],
                "zip": [["task.length", "task.batch"], ["task.length", "task.batch"]],
            },
            r"^sweep\.zip: expected each key once, got 'task\.length' twice",
        ),
        (
            {"task.length": [5, 5], "task.batch": [1, 2], "zip": [["task.length", "task.batch"]]},
            r"^sweep\.task\.length: expected values that differ, got 5 twice\. Zip first the key",
        ),
        (
            {
                "task.length": {"start": 1, "stop": 10**5, "num": 10**5},
                "network.hidden": {"start": 1, "stop": 999, "num": 999},
            },
            r"^sweep: expected at most 10000000 grid points, .*, got 99900000 \(100000 x 999 x 1\)",
        ),
        (
            [{"task.length": [5]}, {"clip": [{"name": "norm"}], "clip.threshold": [1.0]}],
            r"^sweep\[0\]: expected a value of clip\.threshold, .*another sweep table, got none",
        ),
        (
            [
                {"task.length": [5], "task.batch": [1], "zip": [["task.length", "task.batch"]]},
                {"task.length": [6]},
            ],
            r"^sweep\[1\]\.zip: expected task\.length zipped alike in all sweep tables",
        ),
        (
            [{"task.at": ["final"]}, {"task.at": [3]}],
            r"^sweep\.task\.at: expected values of one kind: .*, got 'final' and 3",
        ),
    ],
)
def test_a_wrong_sweep_is_refused_in_clear_words(sweep, message):
    with pytest.raises(UserMistake, match=message.replace("^", "(?m)^", 1)):
        grid_of(sweep)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ([{"task.length": [5]}, {"clip.threshold": [1.0]}], "clip.threshold: expected a setting of 'off'"),
        (
            [{"network.spectrum.radius": [1.0]}, {"network.spektrum.radius": [1.0]}],
            "network.spektrum: expected a setting of the network, got 'spektrum'",
        ),
        (
            [{"network.hidden": [5]}, {"network.hiden": [5, 6]}],
            "network.hiden: expected a setting of the network",
        ),
        ([{"task.lenght": [5]}, {"task.batch": [3]}], "task.lenght: expected a setting of"),
    ],
)
def test_an_axis_of_no_setting_is_one_problem_in_several_tables_too(sweep, message):
    with pytest.raises(UserMistake) as caught:
        grid_of(sweep)
    (problem,) = caught.value.problems
    assert str(problem).startswith(message)


@pytest.mark.parametrize(
    "name", ["replicate", "layer", "direction", "gate", "lag", "status", "case_key", *RECORDS]
)
def test_no_axis_takes_a_name_that_the_dataset_needs(name):
    assert "expected an axis name that means nothing else" in mistake(
        {"task.length": [5], "rename": {"task.length": name}}
    )


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("path", "log10_path_gradient_norm"),
        ("time", "log10_online_gradient_norm"),
        ("loss_time", "log10_credit_norm"),
    ],
)
def test_a_name_is_free_unless_a_record_that_was_asked_for_runs_along_it(name, record):
    sweep = {"task.length": [5], "rename": {"task.length": name}}
    assert grid_of(sweep).axes[0].name == name
    assert grid_of(sweep, record=["saturation"]).axes[0].name == name
    with pytest.raises(
        UserMistake, match=r"sweep\.task\.length: expected an axis name that means nothing else"
    ):
        grid_of(sweep, record=[record])


@pytest.mark.parametrize(
    "wrong",
    [
        {"rename": {"task.batch": "b"}},
        {"zip": [["task.length", "task.batch"]]},
        {"where": "batch > 3"},
    ],
)
def test_a_name_of_thousands_of_letters_is_not_listed(wrong):
    long = "x" * 5000
    sweep = {"task.length": [5], "network.hidden": [3], "rename": {"network.hidden": long}, **wrong}
    if "rename" in wrong:
        sweep = {"task.length": [5], f"network.{long}": [3], **wrong}
    problems = mistake(sweep).splitlines()
    told = next(line for line in problems if line.startswith(f"sweep.{next(iter(wrong))}"))
    assert "length" in told
    assert len(told) < 400
