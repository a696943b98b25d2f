"""One grammar for every message: *where*: expected *what*, got *that*. *Hint*."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from gradlab.core import checks
from gradlab.core.errors import Problem, UserMistake, lines_of
from gradlab.core.registry import Registry, build, settings_of


def message(call, *args, **options):
    with pytest.raises(UserMistake) as caught:
        call(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (float("nan"), {}, "x: expected a finite number, got nan"),
        (float("inf"), {}, "x: expected a finite number, got inf"),
        (10**400, {}, "x: expected a finite number, got 1000000000"),
        (True, {}, "x: expected a finite number, got True"),
        ("1", {}, "x: expected a finite number, got '1'"),
        (None, {}, "x: expected a finite number, got None"),
        (-1, {"at_least": 0}, "x: expected a finite number of at least 0, got -1"),
        (0, {"above": 0, "hint": "Use off."}, "x: expected a finite number above 0, got 0. Use off."),
        (2.0, {"at_most": 1}, "x: expected a finite number of at most 1, got 2.0"),
        (1.0, {"below": 1, "above": 0}, "x: expected a finite number above 0 and below 1, got 1.0"),
    ],
)
def test_numbers(value, options, text):
    assert message(checks.number, "x", value, **options).startswith(text)


def test_good_numbers_pass():
    assert checks.number("x", np.float32(0.5)) == 0.5
    assert checks.number("x", 3, at_least=3, at_most=3) == 3.0
    assert checks.integer("x", 4.0) == 4
    assert isinstance(checks.integer("x", np.int32(4)), int)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.5, "1.5"), ("3", "'3'"), (True, "True"), (0, "0"), (float("inf"), "inf"), (float("nan"), "nan")],
)
def test_integers(value, text):
    assert (
        message(checks.integer, "n", value, at_least=1) == f"n: expected an integer of at least 1, got {text}"
    )


def test_names():
    assert checks.one_of("loss", "mse", ["mse", "unit"]) == "mse"
    assert (
        message(checks.one_of, "loss", "mes", ["mse", "unit"])
        == "loss: expected a known name, got 'mes'. Did you mean 'mse'?"
    )
    assert (
        message(checks.one_of, "loss", 7, ["mse", "unit"])
        == "loss: expected a known name, got 7. Known: mse, unit."
    )


def test_arrays():
    assert checks.array("w", [[1, 2]], (None, 2), "rows, columns").dtype == np.float64
    assert (
        message(checks.array, "w", [[1, 2]], (2, 2), "a, b")
        == "w: expected finite numbers of shape (2, 2) (a, b), got shape (1, 2)"
    )
    assert message(checks.array, "w", [[1], [2, 3]], (2, 2), "a, b").startswith(
        "w: expected finite numbers of shape (2, 2) (a, b), got [[1], [2, 3]]"
    )
    assert message(checks.array, "w", [np.inf], (1,), "a").endswith("got NaN or infinity among them")
    assert "object" in message(checks.array, "w", [object()], (1,), "a")


def test_shown_is_short_and_printable():
    assert len(checks.shown("x" * 500)) == 60
    assert checks.shown("a\nb\x1b[31m") == "'a\\nb\\x1b[31m'"
    assert checks.shown(np.float64(0.5)) == "0.5"


def test_mistakes_keep_all_problems_and_their_places():
    mistake = UserMistake([Problem("a", "x", "y"), Problem("", "x", "y", "Do z.")]).under("top")
    assert [p.where for p in mistake.problems] == ["top.a", "top"]
    assert str(mistake) == "top.a: expected x, got y\ntop: expected x, got y. Do z."
    again = pickle.loads(pickle.dumps(mistake))
    assert again.problems == mistake.problems


# --- catalogues -----------------------------------------------------------------------------------------


def test_problems_with_the_same_words_are_told_of_ten_places():
    links = [Problem(f"f{i}", "a plain file", "a link") for i in range(13)]
    other = Problem("g", "a plain file", "a device")
    lines = lines_of(UserMistake([*links, other]))
    assert lines == [*map(str, links[:10]), str(other), "and 3 more: expected a plain file, got a link"]


@dataclass(frozen=True)
class Thing:
    name: ClassVar[str] = "thing"
    size: int
    share: float = 0.5
    rows: tuple[tuple[float, ...], ...] = ()
    made: int = field(init=False, default=3)


def test_entries_and_tables_are_the_same_thing():
    thing = build(Thing, {"size": 2.0, "rows": [[1, 2], [3]]}, "t")
    assert thing == Thing(2, 0.5, ((1, 2), (3,)))
    assert settings_of(thing) == {"name": "thing", "size": 2, "share": 0.5, "rows": [[1, 2], [3]]}
    assert build(Thing, {k: v for k, v in settings_of(thing).items() if k != "name"}, "t") == thing


def test_every_problem_of_a_table_at_once():
    text = message(build, Thing, {"shar": 1, "share": "x", "made": 4}, "t")
    assert "t.shar: expected a setting of 'thing', got" in text
    assert "Did you mean 'share'?" in text
    assert "t.share: expected a number, got 'x'" in text
    assert "t.made: expected a setting of 'thing'" in text
    assert "t.size: expected a value, got nothing. 'thing' needs it." in text


@pytest.mark.parametrize("value", [True, "2", 2.5, None, [2], {}])
def test_integers_in_tables_are_integers(value):
    assert "t.size: expected an integer" in message(build, Thing, {"size": value}, "t")


def test_two_entries_of_one_name_are_a_bug():
    registry = Registry("thing", "gradlab.core")
    registry.register(Thing)
    with pytest.raises(ValueError, match="two entries are named 'thing' in the catalogue of thing"):
        registry.register(Thing)


@pytest.mark.parametrize(("kind", "words"), [("cell", "a cell"), ("initialiser", "an initialiser")])
def test_a_catalogue_is_named_with_its_article(kind, words):
    with pytest.raises(UserMistake, match=f"the name of {words}, or a table with one, got 3"):
        Registry(kind, "gradlab.network.cells").build(3, "here")
