"""An archive's arrays without labels: the same values, dimensions and findings as with them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from gradlab.api import run
from gradlab.archive.packed import pack
from gradlab.archive.plain import PlainData, data_of
from gradlab.archive.reading import open_archive
from gradlab.archive.summary import summary
from gradlab.core.errors import UserMistake

SWEEP = {
    "title": "T",
    "replicates": 2,
    "network": {"hidden": 3},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 6},
    "sweep": {
        "network.spectrum.radius": [0.2, 1.0, 3.0],
        "network.activation": ["tanh", "identity"],
        "clip": ["off", {"name": "norm", "threshold": 0.1}],
        "where": "radius < 2 or clip == 'off'",
    },
}
TRAINING = {
    "measure": "train",
    "network": {"hidden": 2},
    "task": {"name": "adding", "length": 22, "batch": 2},
    "training": {"updates": 2},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "sweep"
    run(SWEEP, path)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_plain_data_are_those_of_the_labelled_dataset(archive, packed, tmp_path):
    path = archive
    if packed:
        path = tmp_path / "sweep.zip"
        pack(archive, path)
    plain, labelled = PlainData(path), open_archive(path)
    assert plain.attrs == labelled.attrs
    assert plain.sizes == dict(labelled.sizes)
    assert list(plain.data_vars) == list(labelled.data_vars)
    assert "nothing" not in plain
    for name in labelled.variables:
        one, other = plain[str(name)], labelled[name]
        assert (one.dims, one.attrs) == (other.dims, other.attrs)
        texts = one.dtype.kind == "T" and other.dtype.kind in "TO"  # releases of xarray before 2026.9
        np.testing.assert_array_equal(one.values, other.values, strict=not texts)
    assert np.isnan(plain["growth_rate"].values).any()  # points that the filter left out


def test_dimensions_come_in_the_order_asked_for(archive):
    plain, labelled = PlainData(archive)["growth_rate"], open_archive(archive)["growth_rate"]
    for order in (("replicate", ...), (..., "radius"), ("clip", ..., "radius"), plain.dims[::-1]):
        np.testing.assert_array_equal(plain.along(*order), labelled.transpose(*order).values)


def test_findings_are_the_same(archive):
    found = summary(PlainData(archive))
    assert found == summary(open_archive(archive))
    assert found["curves"]


def test_trainings_come_with_labels(tmp_path):
    run(TRAINING, tmp_path / "training")
    assert summary(data_of(tmp_path / "training"))["groups"]


def test_a_damaged_chunk_is_told(archive, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(archive, copy)
    chunk = next((copy / "data.zarr" / "growth_rate").glob("c*"))
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(UserMistake, match="a damaged one"):
        summary(data_of(copy))
