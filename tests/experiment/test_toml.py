"""The TOML writer, and the reading of keys and values from a command line."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.toml import parse_key, parse_value, read_toml, to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.one_of(TEXTS, st.booleans(), st.integers(), st.floats(allow_nan=False))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_what_is_written_is_read_again(table):
    found = tomllib.loads(to_toml(table))
    assert found == table
    assert repr(sorted(found)) == repr(sorted(table))


@given(st.floats(allow_nan=False))
def test_numbers_keep_every_digit_and_their_type(x):
    assert repr(tomllib.loads(to_toml({"x": x, "n": 3}))) == repr({"x": x, "n": 3})


def test_the_layout_is_that_of_a_person():
    table = {
        "title": 'a "quoted" one',
        "absent": None,
        "network": {"hidden": 64, "spectrum": {"name": "ginibre", "radius": 1.0}},
        "sweep": [
            {"network.hidden": [1, 2]},
            {"task.length": {"start": 1, "stop": 3, "step": 1}, "none": None},
        ],
        "seed": 0,
    }
    assert to_toml(table) == (
        'title = "a \\"quoted\\" one"\n'
        "seed = 0\n"
        "\n[network]\n"
        "hidden = 64\n"
        'spectrum = { name = "ginibre", radius = 1.0 }\n'
        "\n[[sweep]]\n"
        '"network.hidden" = [1, 2]\n'
        "\n[[sweep]]\n"
        '"task.length" = { start = 1, stop = 3, step = 1 }\n'
    )


@pytest.mark.parametrize("value", [object(), 1j, [None], "\ud800", {"deep": {1, 2}}])
def test_what_has_no_form_in_toml_is_refused(value):
    with pytest.raises(UserMistake, match=r"^key(\.deep)?: expected a text"):
        to_toml({"key": value})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed", ["seed"]),
        ("network.hidden", ["network", "hidden"]),
        (' sweep . "network.activation" ', ["sweep", "network.activation"]),
        ("sweep.'a.b'.c", ["sweep", "a.b", "c"]),
    ],
)
def test_keys_are_read_as_toml_reads_them(text, parts):
    assert parse_key(text) == parts


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a b", "a\nb", '"open', "a/b"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(UserMistake, match=r"expected a dotted key such as network\.hidden, got"):
        parse_key(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("32", 32),
        ("1e-3", 1e-3),
        ("true", True),
        ("tanh", "tanh"),
        ("My title", "My title"),
        ("2GiB", "2GiB"),
        ("'quoted'", "quoted"),
        ("[25, 50]", [25, 50]),
        ('{ name = "norm", threshold = 1.0 }', {"name": "norm", "threshold": 1.0}),
        ("", ""),
        ("\u00e4", "\u00e4"),
    ],
)
def test_values_are_toml_or_bare_words(text, value):
    assert parse_value(text, "key") == value


@pytest.mark.parametrize(
    "text", ["[1, 2", "[" * 5000, "{ name = norm }", '"open', "1\nother = 2", "9" * 5000]
)
def test_what_is_no_value_is_refused(text):
    with pytest.raises(UserMistake, match=r"^key: expected a TOML value or a bare word, got"):
        parse_value(text, "key")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"seed = 1\nx = = 2\n",
            r"expected a TOML file, got a syntax error: Invalid value \(at line 2, column 5\)",
        ),
        (b"a = 1\na = 2\n", r"syntax error: Cannot overwrite a value \(at line 2"),
        (b"title = '\xff'", r"expected a TOML file in UTF-8, got a byte that is not UTF-8 at position 9"),
        (b"x = " + b"[" * 100_000, r"expected a TOML file, got tables nested too deeply"),
        (b"x = " + b"9" * 5000, r"expected a TOML file that can be read, got the error"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(tmp_path, content, message):
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(UserMistake, match=message) as caught:
        read_toml(path)
    assert caught.value.problems[0].where == str(path)


def test_a_missing_file_a_folder_and_an_impossible_path_are_refused(tmp_path):
    with pytest.raises(UserMistake, match="got the error 'No such file or directory'"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(UserMistake, match="got the error 'Is a directory'"):
        read_toml(tmp_path)
    with pytest.raises(UserMistake, match="got the error 'embedded null byte'"):
        read_toml("a\0b")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n")
    assert read_toml(path) == {"seed": 1}
