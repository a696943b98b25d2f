"""Archives for programs that read no Zarr: nothing is lost on the way."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import xarray as xr

import gradlab
from gradlab.archive.content import content_digest
from gradlab.archive.export import export
from gradlab.archive.files import files_of
from gradlab.archive.packed import pack
from gradlab.archive.variables import REGIME, STATUS
from gradlab.core.errors import UserMistake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "mixed"
    spec = {
        "title": "Ünïcode",
        "seed": 1 << 40,
        "network": {"hidden": 3, "activation": "identity"},
        "task": {"name": "noise", "features": 2, "batch": 2},
        "sweep": {
            "network.cell": ["elman", "lstm"],
            "network.layers": [1, 2],
            "task.length": [3, 5],
            "network.spectrum.radius": [0.5, 1e200],
        },
    }
    gradlab.run(spec, path)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_netcdf_gives_every_value_back(made: Path, tmp_path: Path, packed: bool) -> None:
    source = pack(made, tmp_path / "mixed.zip") if packed else made
    out = export(source, "netcdf", tmp_path / "mixed.nc")
    ours = gradlab.open_archive(made)
    with xr.open_dataset(out, engine="scipy") as theirs:
        assert set(theirs.variables) == set(ours.variables)
        assert set(theirs.coords) == set(ours.coords)
        for name, array in ours.variables.items():
            other = theirs.variables[name]
            assert other.dims == array.dims
            if array.dtype.kind == "T":
                assert other.values.tolist() == array.values.tolist()
            elif array.dtype.kind == "f":
                a, b = array.values, other.values
                same = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
                assert same.all(), name
            else:
                assert np.array_equal(other.values, array.values)
            assert other.attrs["units"] == array.attrs["units"]
            assert other.attrs["description"] == array.attrs["description"]
        assert theirs["status"].attrs["flag_meanings"] == ours["status"].attrs["flag_meanings"]
        assert theirs.attrs["title"] == "Ünïcode"
        assert theirs.attrs["seed"] == str(1 << 40)
        assert theirs.attrs["gradlab_settings"] == (made / "spec.resolved.toml").read_text()
        assert theirs.attrs["gradlab_content_digest"] == content_digest(files_of(made))


def test_netcdf_is_read_without_xarray(made: Path, tmp_path: Path) -> None:
    out = export(made, "netcdf", tmp_path / "a.nc")
    ours = gradlab.open_archive(made)
    with scipy.io.netcdf_file(out, mmap=False) as file:
        assert np.array_equal(file.variables["loss"][:], ours["loss"].values, equal_nan=True)
        keys = file.variables["settings_key"][:].tobytes().decode()
    assert "".join(ours["settings_key"].values.ravel().tolist()) == keys


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def value(text: str) -> Any:
    return float(text.replace("Inf", "inf"))


def test_csv_has_a_row_a_case(made: Path, tmp_path: Path) -> None:
    out = export(made, "csv", tmp_path / "csv")
    ds = gradlab.open_archive(made)
    table = rows(out / "cases.csv")
    assert len(table) == ds["status"].size
    states, regimes = ({v: k for k, v in flags.items()} for flags in (STATUS, REGIME))
    for row in table:
        at = ds.sel(
            cell=row["cell"],
            layers=int(row["layers"]),
            length=int(row["length"]),
            radius=float(row["radius"]),
            replicate=int(row["replicate"]),
        )
        assert row["status"] == states[int(at["status"])]
        assert row["regime"] == regimes[int(at["regime"])]
        assert row["settings_key"] == at["settings_key"].item()
        for name in ("loss", "growth_rate", "log10_gradient_norm"):
            assert np.array_equal(value(row[name]), float(at[name]), equal_nan=True)
    assert "Inf" in {row["loss"] for row in table}


def test_csv_has_a_row_a_place_along_lags(made: Path, tmp_path: Path) -> None:
    out = export(made, "csv", tmp_path / "csv")
    ds = gradlab.open_archive(made)
    table = rows(out / "by_layer_lag.csv")
    norms = ds["log10_state_gradient_norm"].transpose(..., "layer", "lag")
    assert {row["layer"] for row in table} == {"0", "1"}
    found = 0
    for row in table:
        at = norms.sel(
            cell=row["cell"],
            layers=int(row["layers"]),
            length=int(row["length"]),
            radius=float(row["radius"]),
        ).sel(replicate=0, layer=int(row["layer"]), lag=int(row["lag"]))
        assert np.array_equal(value(row["log10_state_gradient_norm"]), float(at), equal_nan=True)
        found += not math.isnan(float(at))
    assert found == int(np.isfinite(norms.values).sum() + np.isinf(norms.values).sum())
    # No row is past the end of a shorter case, or of a layer that the network has not.
    assert not [row for row in table if int(row["lag"]) >= int(row["length"])]
    assert not [row for row in table if int(row["layer"]) >= int(row["layers"])]


def test_csv_says_what_every_column_is(made: Path, tmp_path: Path) -> None:
    out = export(made, "csv", tmp_path / "csv")
    told = {(row["file"], row["column"]): row for row in rows(out / "columns.csv")}
    for file in out.glob("*.csv"):
        if file.name != "columns.csv":
            heads = rows(file)[0].keys()
            assert {(file.name, head) for head in heads} <= set(told)
    assert told["cases.csv", "growth_rate"]["units"] == "decades per time step"
    variables = set(gradlab.open_archive(made).variables)
    assert {column for _, column in told} == variables
    assert (out / "spec.resolved.toml").read_bytes() == (made / "spec.resolved.toml").read_bytes()


def test_text_is_no_formula(tmp_path: Path, sweep: Any) -> None:
    from gradlab.archive.export import _guarded, _written

    assert [_guarded(text) for text in ("=1+1", "-x", "@a", "tanh")] == ["'=1+1", "'-x", "'@a", "tanh"]
    assert _written(np.array([-1.5, 2.0]), None) == ["-1.5", "2.0"]


def test_a_case_left_out_by_a_filter_has_no_row(tmp_path: Path, sweep: Any) -> None:
    sweep.write_all(sweep.open(tmp_path / "a"))
    table = rows(export(tmp_path / "a", "csv") / "cases.csv")
    assert len(table) == len(sweep.index)
    assert {row["activation"] for row in table} == {"tanh", "relu", "ünïcode"}
    assert {(row["activation"], row["batch"]) for row in table} == {
        ("tanh", "8"),
        ("relu", "16"),
        ("ünïcode", "32"),
    }


def test_nothing_is_replaced(made: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    for to in ("netcdf", "csv"):
        with pytest.raises(UserMistake, match="expected a place where nothing is yet"):
            export(made, to, tmp_path / "x")
    with pytest.raises(UserMistake, match="--to: expected netcdf or csv, got 'xls'"):
        export(made, "xls", tmp_path / "y")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("to", ["netcdf", "csv"])
def test_what_lies_beside_is_left_alone(made: Path, tmp_path: Path, to: str) -> None:
    for name in ("out.partial", "out-csv.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    export(made, to, tmp_path / "out")
    left = {"out", "out.partial", "out-csv.partial"}
    assert {p.name for p in tmp_path.iterdir()} == left
    assert all((tmp_path / name / "mine").exists() for name in left - {"out"})


def test_what_netcdf_has_no_room_for_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradlab.archive.export.MOST_NETCDF", 100)
    with pytest.raises(UserMistake, match="Use --to csv"):
        export(made, "netcdf", tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []
