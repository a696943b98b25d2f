"""Metadata and chunks that claim too much are refused before anything is allocated."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import blosc
from numcodecs.vlen import VLenUTF8

import gradlab
from gradlab.archive.content import content_digest
from gradlab.archive.files import files_of
from gradlab.archive.forms import MOST_CHUNK, Form, form_of
from gradlab.checking import verify
from gradlab.core.errors import UserMistake

GOOD: dict[str, Any] = {
    "shape": [4, 6],
    "dimension_names": ["a", "lag"],
    "data_type": "float64",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 6]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc"}],
    "fill_value": "NaN",
    "attributes": {},
}


def form(**changes: Any) -> Form:
    return form_of("x", "x", GOOD | changes, 1)


def chunked(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [1 << 25, 6]}, "at most 16777216 cases"),
        ({"shape": [1 << 20, 1 << 20]}, "274877906944 bytes"),
        ({"shape": [1 << 62, 1]}, "a shape with a name for each dimension"),
        ({"shape": [4.0, 6]}, "a shape with a name for each dimension"),
        ({"shape": [True, 6]}, "a shape with a name for each dimension"),
        ({"shape": [1] * 40, "dimension_names": ["a"] * 40}, "a shape with a name for each dimension"),
        ({"chunk_grid": chunked(1 << 20, 1 << 10)}, "chunks of at most 134217728 bytes"),
        ({"chunk_grid": chunked(0, 6)}, "a regular grid of chunks"),
        ({"chunk_grid": chunked(2)}, "a regular grid of chunks"),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "codecs among"),
        ({"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]}, "codecs among"),
        ({"codecs": [{"name": "vlen-utf8"}]}, "codecs among"),
        ({"storage_transformers": [{"name": "x"}]}, "no storage transformers"),
        ({"fill_value": "text"}, "a fill value of its type"),
        ({"fill_value": True}, "a fill value of its type"),
        ({"data_type": "object"}, "a type among"),
        ({"chunk_key_encoding": {"name": "v2"}}, "the default names of chunks"),
    ],
)
def test_metadata_of_no_archive(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserMistake, match=message):
        form(**changes)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("c.0.0", (0, 0)),
        ("c.1.0", (1, 0)),
        ("c.2.0", None),
        ("c.01.0", None),
        ("c.0", None),
        ("c.0.0.0", None),
        ("c.-1.0", None),
        ("c.².0", None),
        ("d.0.0", None),
        ("c/0/0", None),
        ("c.99999999999999999999999.0", None),
        ("", None),
    ],
)
def test_names_of_chunks(key: str, place: tuple[int, ...] | None) -> None:
    assert form().place(key) == place


def test_a_chunk_comes_back() -> None:
    values = np.arange(12.0).reshape(2, 6)
    data = blosc.compress(values.tobytes(), b"lz4", 5, 1)
    assert np.array_equal(form().values(data), values)
    texts = np.array(["a", "", "ü", "x" * 100], dtype=object)
    of_text = form(
        shape=[4],
        dimension_names=["a"],
        data_type="string",
        fill_value="",
        codecs=[{"name": "vlen-utf8"}, {"name": "blosc"}],
        chunk_grid=chunked(4),
    )
    data = blosc.compress(bytes(VLenUTF8().encode(texts)), b"lz4", 5, 1)
    assert of_text.values(data).tolist() == texts.tolist()


@pytest.mark.parametrize("claimed", [0, 95, 97, MOST_CHUNK + 1, (1 << 32) - 1])
def test_a_chunk_that_claims_another_size_is_not_inflated(claimed: int) -> None:
    data = bytearray(blosc.compress(bytes(96), b"lz4", 5, 1))
    data[4:8] = claimed.to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(ValueError, match="not a chunk of the size that the metadata say"):
        form().values(bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("count", [0, 3, 5, 1 << 30, (1 << 32) - 1])
def test_texts_that_claim_another_number(count: int) -> None:
    of_text = form(
        shape=[4],
        dimension_names=["a"],
        data_type="string",
        fill_value="",
        codecs=[{"name": "vlen-utf8"}],
        chunk_grid=chunked(4),
    )
    with pytest.raises(ValueError, match="texts"):
        of_text.values(count.to_bytes(4, "little") + bytes(40))
    with pytest.raises(ValueError, match="texts"):
        of_text.values((4).to_bytes(4, "little") + b"\xff" * 40)


def declared(sweep: Any, path: Path, replicates: int) -> Path:
    """An archive whose metadata claim far more replicates than are stored."""
    sweep.write_all(sweep.open(path))
    root = json.loads((path / "data.zarr" / "zarr.json").read_text())
    for name, told in root["consolidated_metadata"]["metadata"].items():
        if "replicate" in told.get("dimension_names", ()):
            told["shape"][told["dimension_names"].index("replicate")] = replicates
            (path / "data.zarr" / name / "zarr.json").write_text(json.dumps(told))
    (path / "data.zarr" / "zarr.json").write_text(json.dumps(root))
    return path


def test_a_small_archive_that_claims_to_be_huge_is_refused(sweep: Any, tmp_path: Path) -> None:
    path = declared(sweep, tmp_path / "a", 1 << 30)
    with pytest.raises(UserMistake, match="at most 16777216 cases"):
        gradlab.open_archive(path)
    assert any("at most 16777216 cases" in str(problem) for problem in verify(path).problems)


def test_the_digest_does_not_depend_on_how_chunks_are_cut(sweep_class: Any, tmp_path: Path) -> None:
    digests = set()
    for tile in ((1, 1, 1), (2, 2, 2), (5, 3, 2)):
        sweep = sweep_class(tile=tile)
        path = tmp_path / "-".join(map(str, tile))
        sweep.write_all(sweep.open(path))
        digests.add(content_digest(files_of(path)))
    assert len(digests) == 1
