"""Forms of an axis, and the labels of its values."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.axes import DIGITS, axis_values, kind_of
from gradlab.experiment.labels import coordinate, identity, labels_of

finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_a_range_gives_the_numbers_a_reader_would_write():
    values = axis_values({"start": 0.5, "stop": 1.5, "num": 21}, "radius")
    assert values == [float(f"{0.5 + 0.05 * i:.2f}") for i in range(21)]
    assert values[1] == 0.55


def test_a_range_through_zero_meets_zero():
    assert axis_values({"start": -0.3, "stop": 0.3, "num": 7}, "x") == [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]


@given(finite, finite, st.integers(2, 50))
def test_the_ends_of_a_range_are_exact(start, stop, num):
    values = axis_values({"start": start, "stop": stop, "num": num}, "x")
    assert (values[0], values[-1], len(values)) == (start, stop, num)
    np.testing.assert_allclose(
        values, np.linspace(start, stop, num), rtol=1e-11, atol=1e-12 * max(abs(start), abs(stop))
    )


@given(st.floats(allow_nan=False, allow_infinity=False), finite, st.integers(3, 50))
def test_what_lies_between_is_rounded_once_from_the_exact_number(start, stop, num):
    first, last = Fraction(repr(start)), Fraction(repr(stop))
    exact = [first + (last - first) * i / (num - 1) for i in range(1, num - 1)]
    rounded = [float(f"{float(value):.{DIGITS}g}") for value in exact]
    assert axis_values({"start": start, "stop": stop, "num": num}, "x")[1:-1] == rounded


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 40))
def test_a_logarithmic_range_has_equal_ratios_between_exact_ends(start, stop, num):
    values = axis_values({"logspace": True, "start": start, "stop": stop, "num": num}, "x")
    assert (values[0], values[-1], len(values)) == (start, stop, num)
    np.testing.assert_allclose(values, np.geomspace(start, stop, num), rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ({"start": 0.1, "stop": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"start": 0.0, "stop": 1.0, "step": 0.3}, [0.0, 0.3, 0.6, 0.9]),
        ({"start": 5, "stop": 1, "step": -2}, [5, 3, 1]),
        ({"start": 2.0, "stop": 2.0, "step": 1.0}, [2.0]),
        ({"start": 50, "stop": 200, "num": 4}, [50, 100, 150, 200]),
        ({"start": 1, "stop": 1000, "num": 4, "logspace": True}, [1, 10, 100, 1000]),
        ({"start": 0, "stop": 1, "num": 3, "logspace": False}, [0.0, 0.5, 1.0]),
        ({"start": 3, "stop": 9, "num": 1}, [3]),
        (
            {"start": 20261122105300, "stop": 20261122105600, "step": 150},
            [20261122105300, 20261122105450, 20261122105600],
        ),
        ({"start": 2**53, "stop": 2**53 + 4, "num": 5}, [2**53 + i for i in range(5)]),
        ([1, 2.5], [1, 2.5]),
        (["tanh", {"name": "leaky_relu"}], ["tanh", {"name": "leaky_relu"}]),
    ],
)
def test_every_form_gives_its_values(setting, values):
    found = axis_values(setting, "x")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ([], r"^x: expected at least one value, got an empty list"),
        (0.5, r"^x: expected a list of values, or a range .*, got 0\.5\. One value is written \[value\]"),
        ("tanh", r"^x: expected a list of values"),
        ([1, "a"], r"^x: expected values of one kind: .*, got 1 and 'a'"),
        ([True, 1], r"^x: expected values of one kind: .*, got True and 1"),
        ([None], r"^x: expected numbers, texts, booleans or tables, got None"),
        ([2**63], r"^x: expected integers of 64 bits"),
        ({"start": 1, "stop": 2}, r"^x: expected one of num and step in a range, got neither"),
        (
            {"start": 1, "stop": 2, "num": 2, "step": 1},
            r"^x: expected one of num and step in a range, got both",
        ),
        ({"start": 1, "stop": 2, "num": 0}, r"^x\.num: expected an integer of at least 1.*, got 0"),
        ({"start": 1, "stop": 2, "num": 2.5}, r"^x\.num: expected an integer"),
        ({"start": 1, "stop": 2, "num": 10**9}, r"^x\.num: .*at most"),
        (
            {"start": 1, "stop": 2, "step": 0},
            r"^x\.step: expected a step that leads from start to stop, got 0",
        ),
        (
            {"start": 1, "stop": 2, "step": -1},
            r"^x\.step: expected a step that leads from start to stop, got -1",
        ),
        ({"start": 0, "stop": 1, "step": 1e-9}, r"^x\.step: expected at most 1000000 values, got 1000000001"),
        (
            {"start": 0, "stop": 1, "num": 3, "logspace": True},
            r"^x\.start: expected a finite number above 0, got 0",
        ),
        (
            {"start": 1, "stop": 9, "step": 3, "logspace": True},
            r"^x\.step: expected num in a range with logspace",
        ),
        ({"start": 1, "stop": 9, "num": 3, "logspace": 1}, r"^x\.logspace: expected true or false, got 1"),
        ({"start": float("nan"), "stop": 2, "num": 2}, r"^x\.start: expected a finite number, got nan"),
        ({"start": 1, "stop": True, "num": 2}, r"^x\.stop: expected a finite number, got True"),
        (
            {"strt": 1, "stop": 2, "num": 2},
            r"x\.strt: expected a part of a range, got 'strt'\. Did you mean 'start'\?",
        ),
        ({"stop": 2, "num": 2}, r"^x\.start: expected a number, got nothing"),
    ],
)
def test_an_axis_in_no_form_is_refused(setting, message):
    with pytest.raises(UserMistake, match=message):
        axis_values(setting, "x")


def test_all_problems_of_a_range_come_together():
    with pytest.raises(UserMistake) as caught:
        axis_values({"start": "a", "stop": float("inf"), "num": 0, "nmu": 3}, "x")
    assert [problem.where for problem in caught.value.problems] == ["x.nmu", "x.start", "x.stop", "x.num"]


def test_numbers_stay_numbers():
    assert coordinate("task.length", [1, 2], "number").dtype == np.int64
    assert coordinate("network.spectrum.radius", [1, 2.5], "number").dtype == np.float64
    assert coordinate("x", [True, False], "truth").tolist() == ["true", "false"]
    assert coordinate("x", ["a"], "text").dtype == np.dtypes.StringDType()


@pytest.mark.parametrize(
    ("key", "values", "labels"),
    [
        (
            "clip",
            ["off", {"name": "norm", "threshold": 1}, {"name": "adjoint_norm", "threshold": 0.1}],
            ["off", "norm(1.0)", "adjoint_norm(0.1)"],
        ),
        ("clip", [{"name": "off"}, {"name": "norm", "threshold": 1.0}], ["off", "norm(1.0)"]),
        ("network.activation", ["tanh", {"name": "leaky_relu", "slope": 0.25}], ["tanh", "leaky_relu(0.25)"]),
        ("network.cell", ["elman", {"name": "lstm", "forget_bias": 1}], ["elman", "lstm(forget_bias=1.0)"]),
        (
            "network.cell",
            [{"name": "lstm"}, {"name": "lstm", "forget_bias": 2.0}, {"name": "lstm", "chrono": True}],
            [
                "lstm(forget_bias=0.0, chrono=false)",
                "lstm(forget_bias=2.0, chrono=false)",
                "lstm(forget_bias=0.0, chrono=true)",
            ],
        ),
        (
            "network.spectrum",
            [
                {"name": "ginibre", "radius": 1.0},
                {"name": "ginibre", "norm": 1.0},
                {"name": "delay_line", "norm": 1},
            ],
            ["ginibre(radius=1.0)", "ginibre(norm=1.0)", "delay_line(norm=1.0)"],
        ),
        ("network.spectrum", ["ginibre", "orthogonal"], ["ginibre", "orthogonal"]),
        ("task.at", ["final", [0, 5], [-1]], ["final", "[0, 5]", "[-1]"]),
        (
            "network",
            [{"hidden": 8, "dtype": "float32"}, {"hidden": 16, "dtype": "float32"}],
            ["hidden=8", "hidden=16"],
        ),
        ("task.file", ["/data/a.csv", "/data/b.csv"], ["a.csv", "b.csv"]),
        ("no.catalogue", [{"name": "odd", "a": 1}, {"name": "odd", "a": 2}], ["odd(1)", "odd(2)"]),
    ],
)
def test_labels_are_readable(key, values, labels):
    assert labels_of(key, values) == labels


def test_a_spectrum_for_each_gate_is_told_apart_by_the_gate_that_differs():
    gates = ("input_gate", "forget_gate", "candidate", "output_gate")
    same = {gate: {"name": "ginibre", "radius": 1.0} for gate in gates}
    other = {**same, "forget_gate": {"name": "orthogonal", "radius": 0.5}}
    labels = labels_of("network.spectrum", [same, other])
    assert labels == ["forget_gate=ginibre(radius=1.0)", "forget_gate=orthogonal(radius=0.5)"]


def test_labels_that_would_coincide_are_told_apart_and_do_not_depend_on_their_place():
    values = ["/one/a.csv", "/two/a.csv"]
    labels = labels_of("task.file", values)
    assert len(set(labels)) == 2
    assert all(label.startswith("a.csv #") for label in labels)
    assert labels_of("task.file", values[::-1]) == labels[::-1]


def test_labels_of_files_do_not_depend_on_where_the_checkout_lies():
    def labels(root):
        files = [f"{root}/one/a.csv", f"{root}/two/a.csv", f"{root}/two/{'b' * 90}.csv"]
        tasks = [{"name": "odd", "file": file, "k": 1} for file in files[:2]]
        return labels_of("task.file", files), labels_of("no.catalogue", tasks)

    here, there = labels("/home/me/gradlab/data"), labels("/srv/clone/data")
    assert here == there
    for found in here:
        assert len(set(found)) == len(found)
    alone = [labels_of("task.file", [f"{root}/{'b' * 90}.csv"]) for root in ("/home/me", "/srv")]
    assert alone[0] == alone[1]


def test_labels_of_files_without_a_common_folder_still_differ():
    assert len(set(labels_of("task.file", ["/one/a.csv", "two/a.csv", "a.csv"]))) == 3


def test_long_labels_are_cut_and_still_differ():
    values = [[0.5] * 100 + [last] for last in (1.0, 2.0)]
    labels = labels_of("network.spectrum.eigenvalues", values)
    assert len(set(labels)) == 2
    assert max(map(len, labels)) <= 70


@pytest.mark.parametrize(
    ("key", "one", "other", "same"),
    [
        ("clip", "off", {"name": "off"}, True),
        ("clip", {"name": "norm", "threshold": 1}, {"name": "norm", "threshold": 1.0}, True),
        ("network.cell", "lstm", {"name": "lstm", "forget_bias": 0}, True),
        ("network.cell", "lstm", {"name": "lstm", "forget_bias": 1}, False),
        ("network.hidden", 1, 1.0, True),
        ("x", True, 1, False),
        ("x", {"a": [1]}, {"a": [1.0]}, True),
    ],
)
def test_two_ways_to_write_a_setting_are_one_value(key, one, other, same):
    assert (identity(key, one) == identity(key, other)) is same


@given(st.lists(st.one_of(st.booleans(), st.integers(), st.floats(), st.text()), min_size=1))
def test_a_kind_is_found_or_the_values_are_refused(values):
    try:
        kind = kind_of(values, "x")
    except UserMistake:
        return
    assert kind in ("number", "text", "truth")
    assert len({isinstance(value, str) for value in values}) == 1
    assert len({isinstance(value, bool) for value in values}) == 1
