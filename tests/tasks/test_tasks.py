"""Every task of the catalogue: prefix-stable streams, shapes, independence, and messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine import same, task
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.tasks import AbstractGenerator, registry


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A CSV file of 400 readings."""
    path = tmp_path_factory.mktemp("series") / "readings.csv"
    rows = "\n".join(f"{year},{np.sin(year * 0.7) * 3 + 10}" for year in range(400))
    path.write_text(f"year,reading\n{rows}\n", encoding="utf-8")
    return str(path)


#: Tasks of vectors that go on for as long as one likes; those with a protocol are in test_generators.py.
NAMES = [entry.name for entry in registry if not issubclass(entry, AbstractGenerator)]
RANDOM_LOSSES = {"mse": "values", "cross_entropy": "classes", "unit": "directions"}


def make(name, record, **table):
    """Return a task of any kind with the common fields given."""
    own = {
        "given": {
            "features": 2,
            "inputs_given": [[float(i), -1.0] for i in range(200)],
            "targets_given": [[float(i), 1.0] for i in range(200)],
        },
        "series": {"file": record, "column": "reading", "features": 2, "batch": 3},
    }
    return task(name, **{"length": 150, **own.get(name, {"features": 2, "batch": 3}), **table})


@pytest.mark.parametrize("name", NAMES)
class TestEveryTask:
    def test_settings_build_it_again(self, name, record):
        work = make(name, record)
        assert registry.build(settings_of(work), "task") == work
        assert hash(work) == hash(registry.build(settings_of(work), "task"))

    def test_shapes(self, name, record):
        work = make(name, record)
        assert work.inputs(5, 12, 0, 0).shape == (7, work.features, work.batch)
        assert work.values(5, 12, 0, 0).shape == (7, work.n_outputs, work.batch)
        assert np.isfinite(work.inputs(0, 150, 0, 0)).all()

    def test_any_stretch_is_part_of_the_whole(self, name, record):
        """Chunks are an implementation's business: no stretch may show where one ends."""
        work = make(name, record)
        inputs, values = work.inputs(0, 150, 3, 1), work.values(0, 150, 3, 1)
        for start, stop in [(0, 1), (0, 64), (63, 65), (64, 128), (127, 150), (149, 150), (20, 140)]:
            assert same(np.ascontiguousarray(work.inputs(start, stop, 3, 1)), inputs[start:stop].copy())
            assert same(np.ascontiguousarray(work.values(start, stop, 3, 1)), values[start:stop].copy())

    def test_prefix_does_not_depend_on_the_length(self, name, record):
        """What shares a forward pass (equal input identity) must share its inputs."""
        short, long = make(name, record, length=40), make(name, record, length=150)
        if short.input_identity() == long.input_identity():
            assert same(short.inputs(0, 40, 0, 0), np.ascontiguousarray(long.inputs(0, 150, 0, 0)[:40]))
        else:
            assert name == "series"  # the one task whose windows are spread over what the length leaves

    def test_loss_place_and_outputs_do_not_touch_the_inputs(self, name, record):
        work = make(name, record)
        others = [
            make(name, record, at="every"),
            make(name, record, loss="unit"),
            make(name, record, at=[0, 3]),
        ]
        if name == "symbols":
            others += [make(name, record, target="random"), make(name, record, outputs=7, target="random")]
        elif name not in ("given", "series"):
            others += [make(name, record, outputs=7), make(name, record, outputs=3, loss="cross_entropy")]
        for other in others:
            assert other.input_identity() == work.input_identity()
            assert same(other.inputs(0, 150, 0, 0), work.inputs(0, 150, 0, 0))

    def test_identity_is_plain_and_tells_tasks_apart(self, name, record):
        work = make(name, record)
        assert json.dumps(work.identity())
        for change in ({"length": 80}, {"at": "every"}, {"loss": "unit"}, {"batch": 2}):
            assert make(name, record, **change).identity() != work.identity()

    def test_repeatable_and_not_writable_from_outside(self, name, record):
        """A caller that changes what it got must not change what the next one gets."""
        work = make(name, record)
        first = work.inputs(0, 10, 0, 0)
        kept = first.copy()
        if first.flags.writeable:
            first += 1.0
        assert same(np.ascontiguousarray(work.inputs(0, 10, 0, 0)), kept)

    @pytest.mark.parametrize("field", ["features", "batch", "length"])
    @pytest.mark.parametrize("value", [0, -3, 2.5, "many", True])
    def test_bad_sizes(self, name, record, field, value):
        with pytest.raises(UserMistake, match=rf"task\.{field}: expected an integer"):
            make(name, record, **{field: value})


@pytest.mark.parametrize("field", ["seed", "replicate", "features", "batch"])
def test_noise_depends_on_its_keys(field):
    keys = {"seed": 0, "replicate": 0, "features": 2, "batch": 3}

    def draw(**changed):
        k = {**keys, **changed}
        return task(features=k["features"], batch=k["batch"]).inputs(0, 9, k["seed"], k["replicate"])

    one, other = draw(), draw(**{field: keys[field] + 1})
    assert not np.isin(other, one).any()


def test_streams_of_a_task_are_independent_of_each_other():
    work = task(features=4, batch=50, outputs=4, length=100)
    x, y = work.inputs(0, 100, 0, 0), work.values(0, 100, 0, 0)
    v = work.directions(0, 100, 0, 0, 4)
    for a, b in ((x, y), (x, v), (y, v), (x[1:], y[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03


def test_noise_is_standard_normal():
    x = task(features=8, batch=50).inputs(0, 1000, 0, 0)
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert abs((x**4).mean() - 3) < 0.1


def test_directions_are_unit_vectors_and_classes_are_uniform():
    work = task(outputs=5, batch=200, loss="cross_entropy")
    v = work.directions(0, 50, 0, 0, 7)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1.0, rtol=1e-15, atol=0)
    classes = work.classes(0, 100, 0, 0)
    assert classes.shape == (100, 200)
    np.testing.assert_allclose(np.bincount(classes.ravel()) / classes.size, 0.2, rtol=0.05, atol=0)


def test_zeros_constant_and_impulse():
    np.testing.assert_array_equal(task("zeros").inputs(3, 9, 0, 0), 0.0)
    np.testing.assert_array_equal(task("constant", value=-2.5).inputs(3, 9, 0, 0), -2.5)
    impulse = task("impulse", value=4.0).inputs(0, 9, 0, 0)
    np.testing.assert_array_equal(impulse[0], 4.0)
    np.testing.assert_array_equal(impulse[1:], 0.0)
    np.testing.assert_array_equal(task("impulse", value=4.0).inputs(1, 9, 0, 0), 0.0)


# --- where the loss looks -------------------------------------------------------------------------------


def test_looks():
    assert list(task(length=5).looks()) == [4]
    assert list(task(length=5, at="every").looks()) == [0, 1, 2, 3, 4]
    assert list(task(length=5, at=[3, 0, -4]).looks()) == [0, 1, 3]
    assert task(length=5, at=[-2, 0]).lags == 4
    assert task(length=1).lags == 1


@pytest.mark.parametrize(
    ("at", "got"),
    [
        ("finale", "'finale'"),
        ([], r"\[\]"),
        ([5], r"\[5\]"),
        ([-6], r"\[-6\]"),
        ([1, 1], r"\[1, 1\]"),
        ([4, -1], r"\[4, -1\]"),
        ([1.5], r"\[1\.5\]"),
        ([True], r"\[True\]"),
        (["a"], r"\['a'\]"),
    ],
    ids=str,
)
def test_bad_places(at, got):
    expected = rf'task\.at: expected "final", "every" or a list of time steps below the length, got {got}\.'
    with pytest.raises(UserMistake, match=expected):
        task(length=5, at=at)


def test_bad_place_says_which_steps_there_are():
    with pytest.raises(UserMistake, match=r"With length 5, steps go from 0 to 4, each once\."):
        task(length=5, at=[7])
    with pytest.raises(UserMistake, match=r"Did you mean 'final'\?"):
        task(length=5, at="finale")


def test_all_problems_at_once():
    with pytest.raises(UserMistake) as caught:
        task(length=2, batch=-1, features=-2, outputs=0, loss="mes", at=[3])
    places = [problem.where for problem in caught.value.problems]
    assert {f"task.{x}" for x in ("batch", "features", "outputs", "loss", "at")} == set(places)
    assert "Did you mean 'mse'?" in str(caught.value)


def test_cross_entropy_needs_two_classes():
    with pytest.raises(
        UserMistake, match=r"task\.outputs: expected at least 2 classes for cross_entropy, got 1"
    ):
        task(loss="cross_entropy", outputs=1)
    with pytest.raises(UserMistake, match=r"task\.outputs: expected at least 2 classes"):
        task(loss="cross_entropy", features=1)


@given(st.integers(1, 300), st.data())
def test_looks_are_ascending_steps_below_the_length(length, data):
    steps = data.draw(
        st.lists(st.integers(-length, length - 1), min_size=1, max_size=8, unique_by=lambda t: t % length)
    )
    work = task(length=length, at=steps)
    looks = list(work.looks())
    assert looks == sorted({t % length for t in steps})
    assert work.lags == looks[-1] + 1


# --- given ----------------------------------------------------------------------------------------------


def test_given_rows_are_what_the_network_sees():
    work = task(
        "given", features=2, inputs_given=[[1, 2], [3, 4]], targets_given=[[5, 6], [7, 8]], length=2, batch=2
    )
    np.testing.assert_array_equal(work.inputs(0, 2, 0, 0)[..., 1], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(work.values(1, 2, 0, 0)[..., 0], [[7, 8]])


def test_given_mistakes():
    rows = {"inputs_given": [[1.0, 2.0]], "targets_given": [[1.0, 2.0]], "features": 2, "length": 1}
    with pytest.raises(UserMistake, match=r"task\.length: expected at most 1, the rows given, got 2"):
        task("given", **{**rows, "length": 2})
    with pytest.raises(UserMistake, match=r"task\.inputs_given: expected finite numbers of shape \(any, 3\)"):
        task("given", **{**rows, "features": 3, "outputs": 2})
    with pytest.raises(UserMistake, match=r"task\.targets_given: expected finite numbers of shape \(1, 2\)"):
        task("given", **{**rows, "targets_given": [[1.0]]})
    with pytest.raises(UserMistake, match="NaN or infinity among them"):
        task("given", **{**rows, "inputs_given": [[1.0, float("nan")]]})
    with pytest.raises(UserMistake, match=r'task\.loss: expected "mse" or "unit"'):
        task("given", **{**rows, "loss": "cross_entropy"})


def test_readings_without_a_standard_deviation_are_refused_where_they_are_to_be_divided_by_it(tmp_path):
    for rows in (["1e308", "-1e308"] * 6, ["1.0"] * 10 + ["1e308", "-1e308"]):
        file = csv(tmp_path, "\n".join(["d", *rows]))
        with pytest.raises(
            UserMistake, match=r"file: expected readings with a finite standard deviation, got"
        ):
            task("series", file=file, column="d", length=5)
        assert task("series", file=file, column="d", length=5, standardise=False).inputs(0, 5, 0, 0).max() > 0


# --- series ---------------------------------------------------------------------------------------------


def csv(tmp_path, text):
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_windows_slide_by_one_reading(tmp_path):
    """d1, d2 -> d3; d2, d3 -> d4; ..."""
    file = csv(tmp_path, "d\n" + "\n".join(str(float(i)) for i in range(1, 11)))
    work = task("series", file=file, column="d", features=2, length=4, batch=1, standardise=False)
    np.testing.assert_array_equal(work.inputs(0, 4, 0, 0)[..., 0], [[1, 2], [2, 3], [3, 4], [4, 5]])
    np.testing.assert_array_equal(work.values(0, 4, 0, 0)[:, 0, 0], [3, 4, 5, 6])


def test_samples_are_spread_from_the_first_window_to_the_last(tmp_path):
    file = csv(tmp_path, "d\n" + "\n".join(str(float(i)) for i in range(1, 11)))
    work = task("series", file=file, column="d", features=2, length=4, batch=3, standardise=False)
    x, y = work.inputs(0, 4, 0, 0), work.values(0, 4, 0, 0)
    assert x[0, 0, 0] == 1.0
    assert y[-1, 0, -1] == 10.0
    assert x[0, 0, 1] in (3.0, 4.0)
    whole = task("series", file=file, column="d", features=2, length=8, batch=2, standardise=False)
    np.testing.assert_array_equal(whole.values(0, 8, 0, 0)[:, 0, 0], np.arange(3, 11))


def test_standardised_record_has_mean_0_and_deviation_1(record):
    work = task("series", file=record, column="reading", features=1, length=399, batch=1)
    x = np.append(work.inputs(0, 399, 0, 0), work.values(398, 399, 0, 0))
    np.testing.assert_allclose([x.mean(), x.std()], [0.0, 1.0], rtol=0, atol=1e-12)


def test_content_counts_and_not_the_path(tmp_path, record):
    copy = tmp_path / "elsewhere.csv"
    copy.write_bytes(Path(record).read_bytes())
    one, other = make("series", record), make("series", str(copy))
    assert one.identity() == other.identity()
    changed = csv(tmp_path, "reading\n" + "\n".join(str(float(i)) for i in range(400)))
    assert make("series", changed).identity() != one.identity()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "d\n1\n\nx\n",
            r"task\.file: expected a finite number in every line of column 'd', got 'x' in line 4",
        ),
        ("d,e\n1,2\n,3\n", r"got a hole in line 3"),
        ("e,d\n1,2\n3\n", r"got a hole in line 3"),
        ("d\n1\nnan\n", r"got 'nan' in line 3"),
        ("d\n1\ninf\n", r"got 'inf' in line 3"),
        ("a,b\n1,2\n", r"task\.column: expected a column of r\.csv, got 'd'\. Known: a, b\."),
        (
            "a;d\n1;2\n",
            r"column of r\.csv, got 'd'\. Known: a;d\. The first line names the columns, with commas",
        ),
        ("", r"task\.file: expected a CSV file whose first line names its columns, got nothing in "),
        ("d,d\n1,2\n", r"column of r\.csv whose name no other has, got 'd', which 2 have"),
        ("d\n1\n2\n3\n", r"task\.length: expected at most 1 \(3 readings less the window\), got 5"),
        ("d\n", r"task\.file: expected two readings at least, got 0 in "),
        ("d\n1\n2\n", r"task\.features: expected at most 1 \(2 readings, one of which is to be told\)"),
    ],
)
def test_csv_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(UserMistake, match=message):
        task("series", file=csv(tmp_path, text), column="d", length=5)


def test_unreadable_files(tmp_path):
    with pytest.raises(UserMistake, match=r"task\.file: expected a readable CSV file, got .*No such file"):
        task("series", file=str(tmp_path / "none.csv"), column="d")
    with pytest.raises(UserMistake, match=r"expected a readable CSV file, got .*directory"):
        task("series", file=str(tmp_path), column="d")
    with pytest.raises(UserMistake, match=r"expected a readable CSV file, got .*unreadable"):
        task("series", file="a\0b", column="d")
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"d\n\xff\xfe\x00\n")
    with pytest.raises(UserMistake, match=r"not a UTF-8 CSV file"):
        task("series", file=str(binary), column="d")


def test_series_has_one_output(record):
    with pytest.raises(UserMistake, match=r'expected one output with loss "mse" or "unit", got outputs = 2'):
        make("series", record, outputs=2)


def test_a_file_changed_on_disk_is_seen_by_the_next_settings(tmp_path):
    """A record read once must not stand for a file that is another one by now."""
    file = csv(tmp_path, "d\n" + "\n".join(str(float(i)) for i in range(20)))
    first = task("series", file=file, column="d", length=5, standardise=False)
    csv(tmp_path, "d\n" + "\n".join(str(float(100 + i)) for i in range(20)))
    second = task("series", file=file, column="d", length=5, standardise=False)
    assert second.inputs(0, 1, 0, 0)[0, 0, 0] == 100.0
    with pytest.raises(UserMistake, match=r"as it was when the spec was read, got other readings"):
        first.inputs(0, 1, 0, 0)
