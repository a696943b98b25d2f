import json
import shutil

import pytest

from gradlab.archive.reading import open_archive
from gradlab.archive.verify import check_structure
from gradlab.core.errors import UserMistake


@pytest.fixture
def archive(tmp_path, sweep):
    path = tmp_path / "a"
    sweep.write_all(sweep.open(path))
    return path


def edit(file, change):
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def both(archive, name, change):
    """Change an array's metadata in its own file and in the consolidated copy."""
    edit(archive / "data.zarr" / name / "zarr.json", change)
    edit(
        archive / "data.zarr" / "zarr.json",
        lambda root: change(root["consolidated_metadata"]["metadata"][name]),
    )


def said(path):
    problems = check_structure(path)
    with pytest.raises(UserMistake) as caught:
        open_archive(path)
    assert list(caught.value.problems) == problems
    return "\n".join(map(str, problems))


def test_a_good_archive_has_no_problems(archive):
    assert check_structure(archive) == []


def test_nothing_there(tmp_path):
    assert "nothing: there is no such directory" in said(tmp_path / "no")


def test_not_an_archive(tmp_path):
    (tmp_path / "x").write_text("y")
    assert "expected the directory of an archive of gradlab, got a directory without archive.json" in said(
        tmp_path
    )
    assert "a file that is neither" in said(tmp_path / "x")


def test_a_part_of_an_archive(archive):
    assert f"Give the archive's directory itself: {archive.resolve()}." in said(archive / "data.zarr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[]", 'expected "format": "gradlab archive" and a schema, got []'),
        ('{"format": "other", "schema": 1}', "gradlab archive"),
        ('{"format": "gradlab archive", "schema": "1"}', "gradlab archive"),
        ('{"format": "gradlab archive", "schema": 4, "complete": true}', "It was written by a newer gradlab"),
        ('{"format": "gradlab archive", "schema": 1, "complete": false}', "expected a complete archive"),
    ],
)
def test_marker(archive, text, message):
    (archive / "archive.json").write_text(text)
    assert message in said(archive)


@pytest.mark.parametrize("name", ["spec.resolved.toml", "data.zarr/zarr.json", "data.zarr/status/zarr.json"])
def test_missing_files_are_named(archive, name):
    (archive / name).unlink()
    assert f"{archive / name}: expected a file, got nothing" in said(archive)


def test_every_missing_variable_at_once(archive):
    for name in ("loss", "saturation"):
        shutil.rmtree(archive / "data.zarr" / name)
    message = said(archive)
    assert "loss" in message
    assert "saturation" in message


@pytest.mark.parametrize("name", ["data.zarr/zarr.json", "data.zarr/loss/zarr.json"])
@pytest.mark.parametrize("text", ["{", "", "[]", "null", '{"zarr_format": 2}', '{"node_type": "group"}'])
def test_damaged_metadata(archive, name, text):
    (archive / name).write_text(text)
    assert f"{archive / name}: expected" in said(archive)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "loss",
            {"data_type": "float32"},
            "expected a type among float64, int64, int8, bool, string, got 'float32'",
        ),
        (
            "loss",
            {"dimension_names": ["activation", "radius", "replicate"]},
            "expected dimensions 'radius, activation",
        ),
        ("loss", {"dimension_names": None}, "expected a shape with a name for each dimension"),
        (
            "loss",
            {"shape": [5, 3, 99]},
            "expected the shape of its coordinates (radius: 5, activation: 3, replicate: 2)",
        ),
        ("loss", {"shape": [5, 3, -2]}, "expected a shape"),
        ("loss", {"shape": "big"}, "expected a shape"),
        ("loss", {"attributes": {"units": "furlongs"}}, "expected unit '1', got 'furlongs'"),
        ("loss", {"data_type": "int64", "fill_value": 0}, "expected type float64, got 'int64'"),
        ("loss", {"attributes": 3}, "expected attributes by name, got 3"),
        (
            "loss",
            {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]},
            "codecs among blosc, bytes, vlen-utf8",
        ),
        ("loss", {"codecs": 3}, "codecs among"),
        ("radius", {"data_type": "int8", "fill_value": 0}, "expected a coordinate of numbers or text"),
    ],
)
def test_arrays_are_held_against_the_schema(archive, name, change, message):
    both(archive, name, lambda metadata: metadata.update(change))
    text = said(archive)
    assert str(archive / "data.zarr" / name) in text
    assert message in text


def test_the_two_copies_of_metadata_agree(archive):
    edit(archive / "data.zarr" / "loss" / "zarr.json", lambda m: m.update(data_type="int64"))
    assert "expected what the group's consolidated metadata says" in said(archive)


def test_states_must_be_there(archive):
    def drop(root):
        del root["consolidated_metadata"]["metadata"]["status"]

    edit(archive / "data.zarr" / "zarr.json", drop)
    assert "status: expected this variable in the archive, got nothing" in said(archive)


@pytest.mark.parametrize("name", ["../elsewhere", "..", "a\\b"])
def test_names_do_not_lead_out(archive, name):
    def add(root):
        root["consolidated_metadata"]["metadata"][name] = {"node_type": "array"}

    edit(archive / "data.zarr" / "zarr.json", add)
    assert "expected names of arrays in it" in said(archive)


def test_damaged_coordinates(archive):
    (archive / "data.zarr" / "radius" / "c.0").write_bytes(b"\x00" * 7)
    with pytest.raises(UserMistake, match=r"radius.c\.0: expected a chunk of the array, got a damaged one"):
        open_archive(archive)
