"""The filter language."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.where import Column, evaluate

RADIUS = np.array([0.5, 1.0, 1.5])
LABELS = np.array(["tanh", "relu"], dtype=np.dtypes.StringDType())
COLUMNS = {
    "radius": Column(RADIUS[:, None], "number"),
    "network.spectrum.radius": Column(RADIUS[:, None], "number"),
    "activation": Column(LABELS[None, :], "text"),
    "chrono": Column(np.array([[True, False]]), "truth"),
    "length": Column(np.array([[25, 50]]), "number"),
}


def truth(text):
    return np.broadcast_to(evaluate(text, COLUMNS), (3, 2)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("radius < 1", lambda r, a, c, n: r < 1),
        ("radius <= 1.0", lambda r, a, c, n: r <= 1),
        ("radius >= 1e0", lambda r, a, c, n: r >= 1),
        ("radius != .5", lambda r, a, c, n: r != 0.5),
        ("0.5 < radius < 1.5", lambda r, a, c, n: 0.5 < r < 1.5),
        ("0.5 < radius <= length / 50", lambda r, a, c, n: 0.5 < r <= n / 50),
        ("radius < 1.2 and activation != 'relu'", lambda r, a, c, n: r < 1.2 and a != "relu"),
        ('radius < 1 or activation == "relu"', lambda r, a, c, n: r < 1 or a == "relu"),
        (
            "radius < 1 or radius > 1 and activation == 'relu'",
            lambda r, a, c, n: r < 1 or (r > 1 and a == "relu"),
        ),
        ("(radius < 1 or radius > 1) and chrono", lambda r, a, c, n: (r < 1 or r > 1) and c),
        ("not radius < 1 and chrono", lambda r, a, c, n: (not r < 1) and c),
        ("not (radius < 1 and chrono)", lambda r, a, c, n: not (r < 1 and c)),
        ("chrono == true", lambda r, a, c, n: c),
        ("chrono != true", lambda r, a, c, n: not c),
        ("not not chrono", lambda r, a, c, n: c),
        ("activation in ['relu', 'tanh']", lambda r, a, c, n: True),
        ("activation not in ['relu']", lambda r, a, c, n: a != "relu"),
        ("length in [25, 100 - 50] and length in [50]", lambda r, a, c, n: n == 50),
        ("radius * length - 10 > -radius + 2 * 7", lambda r, a, c, n: r * n - 10 > -r + 14),
        ("10 - 5 - 4 == 1", lambda r, a, c, n: True),
        ("12 / 2 / 3 == 2", lambda r, a, c, n: True),
        ("2 + 3 * 4 == 14", lambda r, a, c, n: True),
        ("--1 == 1", lambda r, a, c, n: True),
        ("network.spectrum.radius == 1", lambda r, a, c, n: r == 1),
        ("true", lambda r, a, c, n: True),
        ("false or chrono", lambda r, a, c, n: c),
        ("radius<1.2and chrono", lambda r, a, c, n: r < 1.2 and c),
    ],
)
def test_a_filter_means_what_it_says(text, expected):
    want = [
        [
            bool(expected(r, a, c, n))
            for a, c, n in zip(["tanh", "relu"], [True, False], [25, 50], strict=True)
        ]
        for r in RADIUS.tolist()
    ]
    assert truth(text) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lenght < 3",
            r"^where: expected the name of an axis, got 'lenght' in the filter .*Did you mean 'length'\?",
        ),
        ("radius = 1", r"Equality is written =="),
        ("radius < ", r"expected an axis name, a number or a quoted text, got the end"),
        ("(radius < 1", r"expected '\)', got the end"),
        ("radius < 1)", r"expected 'and', 'or' or the end, got '\)'"),
        ("radius < 1 radius", r"expected 'and', 'or' or the end, got 'radius'"),
        ("", r"expected an axis name, a number or a quoted text, got the end"),
        ("radius", r"expected a comparison, got the number radius"),
        ("'relu'", r"expected a comparison, got the text 'relu'"),
        (
            "radius < 'a'",
            r"expected two numbers or two texts to compare, got a number \(radius\) < a text \('a'\)",
        ),
        ("activation < 1", r"got a text \(activation\) < a number \(1\).*Texts are quoted"),
        ("activation < 'b'", r"expected == or != between texts"),
        ("activation == relu", r"expected the name of an axis, got 'relu'"),
        ("activation == 'rulu'", r"expected a value of activation, got 'rulu'.*Did you mean 'relu'\?"),
        ("activation in ['rulu']", r"expected a value of activation, got 'rulu'"),
        ("radius + 'a' > 1", r"expected numbers in arithmetic, got the text 'a'"),
        ("-activation == 'a'", r"expected numbers in arithmetic, got the text activation"),
        ("radius and chrono", r"expected a comparison, got the number radius"),
        ("chrono < true", r"expected == or != between texts or truth values"),
        ("chrono == 1", r"expected two numbers or two texts"),
        ("radius / (length - 25) > 1", r"expected a divisor that is never 0"),
        ("1e999 - 1e999 < radius", r"expected arithmetic with a result"),
        ("radius in 1", r"expected '\[', got '1'"),
        ("radius in []", r"expected an axis name, a number or a quoted text, got '\]'"),
        ("radius in [1", r"expected '\]', got the end"),
        ("radius not 1", r"expected 'in', got '1'"),
        ("__import__('os').system('x') == 1", r"got ['\"]\.system"),
        ("radius.real < 1", r"expected the name of an axis, got 'radius.real'"),
        ("radius < 1; radius", r"expected a comparison such as .*, got '; radius'"),
        ("radius < 'unfinished", r"expected a comparison such as"),
        ("radius < 1 " * 2000, r"expected a filter of at most 10000 characters"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_reason(text, message):
    with pytest.raises(UserMistake, match=message):
        evaluate(text, COLUMNS)


@pytest.mark.parametrize(
    "text", ["(" * 4000 + "radius < 1" + ")" * 4000, "not " * 2000 + "chrono", "-" * 5000 + "1 < radius"]
)
def test_hostile_nesting_is_refused(text):
    with pytest.raises(UserMistake, match="at most 50 levels of nesting"):
        evaluate(text, COLUMNS)


def test_long_filters_without_nesting_are_fine():
    assert truth(" or ".join(["radius < 1"] * 700)) == truth("radius < 1")


@given(st.text(alphabet="radius()<>=! andornotin[],.'\"+-*/0123456789e\n\t\\", max_size=40))
def test_any_text_is_a_filter_or_the_users_mistake(text):
    try:
        result = evaluate(text, COLUMNS)
    except UserMistake:
        return
    assert result.dtype == bool


NUMBERS = st.integers(0, 9).map(str) | st.sampled_from(["radius", "length"])
SUMS = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=4,
)
COMPARISONS = st.tuples(SUMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), SUMS).map(" ".join)
TRUTHS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=5,
)


@given(TRUTHS)
def test_numbers_and_logic_agree_with_python(text):
    want = [[bool(eval(text, {"radius": r, "length": n})) for n in (25, 50)] for r in RADIUS.tolist()]
    assert truth(text) == want


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed == 9007199254740993", [False, True, False]),
        ("seed > 9007199254740992", [False, True, True]),
        ("-seed < -9007199254740992", [False, True, True]),
        ("seed in [9007199254740992, 9223372036854775807]", [True, False, True]),
        ("seed + 1 > 0", [True, True, True]),  # arithmetic is that of floating point: it does not turn around
    ],
)
def test_integers_are_compared_with_all_their_digits(text, expected):
    seeds = Column(np.array([2**53, 2**53 + 1, 2**63 - 1]), "number")
    assert evaluate(text, {"seed": seeds}).tolist() == expected


def test_a_million_points_take_less_than_a_second():
    columns = {
        "radius": Column(np.linspace(0, 2, 1000)[:, None], "number"),
        "length": Column(np.arange(1, 1001)[None, :], "number"),
    }
    start = time.perf_counter()
    found = evaluate("radius < 1.2 and not (length in [5, 6, 7] or radius * length > 100)", columns)
    assert time.perf_counter() - start < 1.0
    assert found.shape == (1000, 1000)
