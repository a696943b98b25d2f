import itertools
import os

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlab.archive import chunks, creation, store
from gradlab.archive.content import content_digest
from gradlab.archive.files import files_of
from gradlab.archive.manifest import check
from gradlab.archive.reading import open_archive, read_failures
from gradlab.archive.schema import VARIABLES, recorded, to_dataset
from gradlab.archive.store import sealed
from gradlab.archive.variables import KEYS, STATUS
from gradlab.core.errors import UserMistake

GATES = ("input_gate", "forget_gate", "candidate", "output_gate")
DEEP = {"layers": 3, "directions": ("forward", "reverse"), "record": recorded()}
KINDS = {
    "one matrix": {},
    "four": {"gates": GATES},
    "deep": {**DEEP, "gates": GATES},
    "layers": {"layers": 2, "record": recorded()},
}


def in_memory(sweep):
    return to_dataset(sweep.axes, sweep.replicates, sweep.along, sweep.dense(), sweep.attrs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", [(1, 1, 1), (2, 2, 2), (5, 3, 2), (9, 9, 9), (5, 1, 1)])
def test_archive_is_identical_to_the_run_in_memory(tmp_path, sweep_class, kind, tile):
    sweep = sweep_class(**KINDS[kind], tile=tile)
    sink = sweep.open(tmp_path / "a")
    sweep.write_all(sink)
    assert sink.finished()[tuple(sweep.index.T)].all()
    assert sink.finished().sum() == len(sweep.index)
    sink.close()
    xr.testing.assert_identical(open_archive(tmp_path / "a").load(), in_memory(sweep))


def test_plain_open_zarr_reads_it(tmp_path, sweep):
    sweep.write_all(sweep.open(tmp_path / "a"))
    ds = xr.open_zarr(tmp_path / "a" / "data.zarr")
    xr.testing.assert_identical(ds.load(), in_memory(sweep))
    assert ds["status"].dtype == np.int8
    assert ds["first_overflow"].dtype == np.int64
    assert ds["activation"].values.tolist() == ["tanh", "relu", "ünïcode"]


def test_opening_reads_no_numbers(tmp_path, sweep, monkeypatch):
    sweep.write_all(sweep.open(tmp_path / "a"))
    for name in sweep.record:
        for file in (tmp_path / "a" / "data.zarr" / name).glob("c.*"):
            file.write_bytes(b"damaged")
    ds = open_archive(tmp_path / "a")
    assert ds.sizes == {"radius": 5, "activation": 3, "replicate": 2, "lag": 7}
    with pytest.raises(Exception, match=r"."):
        ds["loss"].load()


def test_chunks_are_what_zarr_writes(tmp_path):
    rng = np.random.default_rng(0)
    for dtype, fill in (("float64", np.nan), ("int8", 0), ("int64", -1)):
        values = (100 * rng.normal(size=(40, 300))).astype(dtype)
        arrays = {}
        for who in ("zarr", "ours"):
            array = zarr.create_array(
                tmp_path / f"{who}-{dtype}",
                shape=(80, 600),
                chunks=(40, 300),
                dtype=dtype,
                fill_value=fill,
                compressors=chunks.codec(values.itemsize),
                chunk_key_encoding={"name": "default", "separator": chunks.SEPARATOR},
            )
            if who == "zarr":
                array[40:, :300] = values
            else:
                chunks.write(tmp_path / f"{who}-{dtype}", (1, 0), values, fill)
                assert np.array_equal(array[40:, :300], values)
            arrays[who] = {f.name: f.read_bytes() for f in (tmp_path / f"{who}-{dtype}").glob("c.*")}
        assert list(arrays["ours"]) == ["c.1.0"]
        assert arrays["zarr"] == arrays["ours"]


def test_a_chunk_of_fill_values_is_not_kept(tmp_path):
    (tmp_path / "x").mkdir()
    chunks.write(tmp_path / "x", (0,), np.array([1.0, np.nan]), np.nan)
    assert (tmp_path / "x" / "c.0").is_file()
    chunks.write(tmp_path / "x", (0,), np.array([np.nan, np.nan]), np.nan)
    assert not list((tmp_path / "x").iterdir())


def test_long_rows_are_split_and_padded(tmp_path, sweep_class, monkeypatch):
    monkeypatch.setattr(creation, "CHUNK_BYTES", 8 * 8 * 3)  # three lags of a tile of eight
    sweep = sweep_class()
    sweep.write_all(sweep.open(tmp_path / "a"))
    array = zarr.open_group(tmp_path / "a" / "data.zarr", mode="r")["saturation"]
    assert array.chunks == (2, 2, 2, 3)
    xr.testing.assert_identical(open_archive(tmp_path / "a").load(), in_memory(sweep))


def test_fewer_lags_than_the_longest_are_padded(tmp_path, sweep):
    sink = sweep.open(tmp_path / "a")
    index = np.array([[0, 0, 0], [0, 0, 1]])
    records = sweep.records(index)
    for name, values in records.items():
        if "lag" in VARIABLES[name].over:
            records[name] = values[:, :4]
    sink.write(index, records)
    ds = open_archive(tmp_path / "a")
    np.testing.assert_array_equal(ds["saturation"][0, 0, 0, :4], records["saturation"][0])
    assert np.isnan(ds["saturation"][0, 0, :, 4:]).all()


def test_whatever_is_short_is_padded_at_its_end(tmp_path, sweep_class):
    sweep = sweep_class(**DEEP)
    sink = sweep.open(tmp_path / "a")
    index = np.array([[0, 0, 0], [0, 0, 1], [4, 2, 1]])
    records = sweep.records(index)
    short = {
        name: values[(slice(None), *(slice(n - 1) for n in values.shape[1:]))]
        for name, values in records.items()
    }
    sink.write(index, short)
    ds = open_archive(tmp_path / "a")
    for name in (
        "log10_path_gradient_norm",
        "log10_credit_norm",
        "log10_online_gradient_norm",
        "radius_drawn",
    ):
        found = ds[name].values[tuple(index.T)]
        inside = tuple(slice(n - 1) for n in found.shape[1:])
        np.testing.assert_array_equal(found[(slice(None), *inside)], short[name])
        outside = np.ones(found.shape, dtype=bool)
        outside[(slice(None), *inside)] = False
        assert outside.any()
        assert np.isnan(found[outside]).all(), name


def test_only_the_last_dimension_is_cut(tmp_path, sweep_class, monkeypatch):
    monkeypatch.setattr(creation, "CHUNK_BYTES", 8 * 8 * 3 * 2 * 3 * 2)  # two lags of a tile of eight
    sweep = sweep_class(**DEEP)
    sweep.write_all(sweep.open(tmp_path / "a"))
    data = zarr.open_group(tmp_path / "a" / "data.zarr", mode="r")
    assert data["log10_path_gradient_norm"].chunks == (2, 2, 2, 3, 2, 3, 2)
    assert data["log10_credit_norm"].chunks == (2, 2, 2, 7, 4)
    assert data["log10_online_gradient_norm"].chunks == (2, 2, 2, 7)
    assert data["radius_drawn"].chunks[3:] == (3, 2)
    xr.testing.assert_identical(open_archive(tmp_path / "a").load(), in_memory(sweep))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_any_pieces_gives_the_same_bytes(tmp_path_factory, sweep_class, tree, data):
    sweep = sweep_class(**KINDS[data.draw(st.sampled_from(["four", "deep"]))])
    whole, pieces = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("pieces")
    sweep.write_all(sweep.open(whole))
    order = data.draw(st.permutations(range(len(sweep.index))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=6)))
    again = set(data.draw(st.sets(st.sampled_from(cuts)))) if cuts else set()  # where the run is interrupted
    sink = sweep.open(pieces)
    for start, stop in itertools.pairwise([0, *cuts, len(order)]):
        if start in again:
            sink = sweep.open(pieces)
        index = sweep.index[list(order[start:stop])]
        sink.write(index, sweep.records(index))
    assert tree(whole) == tree(pieces)
    # What is known of chunks that are complete is what one would find by reading them.
    assert sink._written or again
    assert content_digest(files_of(pieces), sink._written) == content_digest(files_of(whole))


def test_an_archive_is_sealed_as_what_was_measured(tmp_path, sweep):
    """Whatever happens to its files between writing and sealing."""
    sweep.write_all(sweep.open(tmp_path / "a"))
    measured = content_digest(files_of(tmp_path / "a"))
    with sealed(tmp_path / "b") as written:
        sink = sweep.open(tmp_path / "b")
        sink._written = written
        sweep.write_all(sink)
        gone, damaged, *_ = sorted((tmp_path / "b" / "data.zarr" / "saturation").glob("c.*"))
        gone.unlink()
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert {name for name, _ in written} == {
        name for name in set(sweep.record) - {*KEYS} if len(sink.layout.shape(name)) > len(sweep.axes) + 1
    }
    seal = check(tmp_path / "b")
    assert not seal.problems
    assert seal.content_digest == measured
    assert content_digest(files_of(tmp_path / "b")) != measured  # which is what `verify` finds


def test_forgetting_what_memory_holds_changes_nothing(tmp_path, sweep, tree, monkeypatch):
    sweep.write_all(sweep.open(tmp_path / "a"))
    monkeypatch.setattr(store, "CACHE_BYTES", 0)
    sink = sweep.open(tmp_path / "b")
    for place in sweep.index[::-1]:
        sink.write(place[None], sweep.records(place[None]))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_killed_between_data_and_status(tmp_path, sweep, tree, monkeypatch):
    sweep.write_all(sweep.open(tmp_path / "a"))
    real = chunks.write

    written = set()

    def killed(array, *rest):
        if array.name == "status":
            raise KeyboardInterrupt
        written.add(array.name)
        real(array, *rest)

    sink = sweep.open(tmp_path / "b")
    first, rest = sweep.index[:3], sweep.index[3:]
    sink.write(first, sweep.records(first))
    monkeypatch.setattr(chunks, "write", killed)
    wrong = {name: np.full_like(values, 7) for name, values in sweep.records(rest).items()}
    with pytest.raises(KeyboardInterrupt):
        sink.write(rest, wrong)
    monkeypatch.setattr(chunks, "write", real)
    assert written == set(sweep.record) - {"status", *KEYS}
    (tmp_path / "b" / "data.zarr" / "loss" / "c.0.0.0.partial").write_bytes(b"half")

    sink = sweep.open(tmp_path / "b")
    assert np.argwhere(sink.finished()).tolist() == first.tolist()
    missing = rest[2:]
    sink.write(missing, sweep.records(missing))
    sink.write(rest[:2], sweep.records(rest[:2]))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_what_a_killed_run_left_does_not_survive_beside_other_cases(tmp_path, sweep, monkeypatch):
    sink = sweep.open(tmp_path / "a")
    pair = np.array([[0, 0, 0], [0, 0, 1]])
    sink.write(pair, sweep.records(pair) | {"status": np.zeros(2, np.int8)})  # as if the status were lost
    sink = sweep.open(tmp_path / "a")
    sink.write(pair[:1], sweep.records(pair[:1]))
    ds = open_archive(tmp_path / "a")
    assert not np.isnan(ds["loss"][0, 0, 0])
    assert np.isnan(ds["loss"][0, 0, 1])


def test_record_narrows_the_archive(tmp_path, sweep_class):
    sweep = sweep_class(record=("loss", "regime", "status", "first_overflow", *KEYS))
    sink = sweep.open(tmp_path / "a", record=["loss", "regime"])
    full = sweep_class()
    sink.write(full.index, full.records(full.index))  # more than is kept
    ds = open_archive(tmp_path / "a")
    assert set(ds.data_vars) == {"loss", "regime", "status", "first_overflow", *KEYS}
    assert "lag" not in ds.dims


def test_another_tile_goes_on_in_the_archives_own(tmp_path, sweep, tree):
    sweep.write_all(sweep.open(tmp_path / "a"))
    sweep.open(tmp_path / "b")
    sweep.write_all(sweep.open(tmp_path / "b", tile=(5, 3, 1)))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_failed_cases_keep_their_reason_and_are_tried_again(tmp_path, sweep):
    path = tmp_path / "a"
    sink = sweep.open(path)
    index = np.array([[0, 0, 1], [3, 1, 0]])
    sink.write(index[:1], sweep.records(index[:1]) | {"status": np.zeros(1, np.int8)})  # left by a killed run
    sink.fail(index, "Traceback …\nValueError: no", [{"radius": 0.5}, {"radius": np.float64(1.25)}])
    assert not sink.finished().any()
    ds = open_archive(path)
    assert int((ds["status"] == STATUS["failed"]).sum()) == 2
    assert np.isnan(ds["loss"].values).all()
    found = read_failures(path)
    assert [f["index"] for f in found] == index.tolist()
    assert found[1]["settings_key"] == sweep.case_keys[3, 1, 0]
    assert found[1]["error"].endswith("ValueError: no")
    assert found[0]["settings"] == {"radius": 0.5}

    with (path / "failures.jsonl").open("a") as file:
        file.write('{"index": [0, 0')  # killed here
    sink = sweep.open(path)
    assert not sink.finished().any()
    sink.write(index[:1], sweep.records(index[:1]))
    sink.fail(index[1:], "other", [{"radius": 2}])
    assert [(f["index"], f["error"]) for f in read_failures(path)] == [([3, 1, 0], "other")]


def test_no_failures_without_a_file(tmp_path, sweep):
    sweep.open(tmp_path / "a")
    assert read_failures(tmp_path / "a") == []


def test_a_changed_title_is_the_same_experiment(tmp_path, sweep, sweep_class, tree):
    path = tmp_path / "a"
    sweep.write_all(sweep.open(path))
    renamed = sweep_class(attrs=sweep.attrs | {"title": "Étude"})
    sink = renamed.open(path, spec_text="title = 'Étude'\n", spec_resolved="title = 'Étude'\nseed = 3\n")
    assert sink.finished().sum() == len(sweep.index)
    assert open_archive(path).attrs["title"] == "Étude"
    assert "Étude" in (path / "spec.toml").read_text(encoding="utf-8")
    fresh = tmp_path / "b"
    renamed.write_all(
        renamed.open(fresh, spec_text="title = 'Étude'\n", spec_resolved="title = 'Étude'\nseed = 3\n")
    )
    assert tree(path) == tree(fresh)


def _full(*_arguments, **_settings):
    raise OSError(28, os.strerror(28))


def _denied(*_arguments, **_settings):
    raise PermissionError(13, os.strerror(13))


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            _full,
            "expected room on the disk, got a full disk. The 3 cases finished before are kept.",
        ),
        (
            _denied,
            "expected a directory that can be written, got no permission to write. The 3 cases finished",
        ),
    ],
)
def test_the_disk_refuses_a_write(tmp_path, sweep, tree, monkeypatch, refusal, message):
    sweep.write_all(sweep.open(tmp_path / "whole"))
    path = tmp_path / "a"
    sink = sweep.open(path)
    sink.write(sweep.index[:3], sweep.records(sweep.index[:3]))
    with monkeypatch.context() as patched:
        patched.setattr(chunks.os, "replace", refusal)
        with pytest.raises(UserMistake) as caught:
            sweep.write_all(sink)
    assert f"{path}: {message}" in str(caught.value)
    assert sink.finished().sum() == 3
    assert not list(path.rglob("*.partial"))
    sink = sweep.open(path)
    assert sink.finished().sum() == 3
    sweep.write_all(sink)
    assert tree(path) == tree(tmp_path / "whole")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_disk_that_is_full_in_earnest(tmp_path, sweep):
    path = tmp_path / "a"
    sink = sweep.open(path)
    (path / "failures.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserMistake, match="room on the disk, got a full disk"):
        sink.fail(sweep.index[:1], "error", [{}])
    assert not (sink._status == STATUS["failed"]).any()


def test_the_disk_refuses_the_creation(tmp_path, sweep, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", _full)
        with pytest.raises(UserMistake, match="room on the disk"):
            sweep.open(tmp_path / "a")
    sweep.write_all(sweep.open(tmp_path / "a"))
    xr.testing.assert_identical(open_archive(tmp_path / "a").load(), in_memory(sweep))
