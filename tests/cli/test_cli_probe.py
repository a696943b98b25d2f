"""``gradlab probe``: a network trained elsewhere, measured; its archive is one like any other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from command import DATA, Cli, known

import gradlab
from gradlab.archive.verify import check_structure
from gradlab.experiment.toml import read_toml

NAMES = ("lstm", "gru", "rnn-relu", "lstm-2-bidirectional")


RTOL = 1e-10


def activation_of(name: str) -> str:
    return "relu" if name == "rnn-relu" else "tanh"


def log10_norms(arrays: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(divide="ignore"):
        return np.log10(np.sqrt((arrays**2).sum(axis=(1, 2))))


@pytest.mark.parametrize("name", NAMES)
def test_adjoints_and_loss_agree_with_pytorchs_autograd(name: str) -> None:
    arrays = known(name)
    weights = DATA / f"{name}.safetensors"
    ds = gradlab.probe(weights, arrays["inputs"], arrays["targets"], activation=activation_of(name))
    np.testing.assert_allclose(ds["loss"].values, [arrays["loss"]], rtol=RTOL, atol=0)
    profile = ds["log10_state_gradient_norm"].isel(replicate=0)
    adjoints = {key.removeprefix("adjoint l"): norms for key, norms in arrays.items() if "adjoint" in key}
    assert adjoints
    for place, each in adjoints.items():
        layer, _, reverse = place.partition("_")
        at = {"layer": int(layer), "direction": "reverse" if reverse else "forward"}
        got = profile.sel({dim: label for dim, label in at.items() if dim in profile.dims}).values
        # A lag counts back in the direction's own time, whose last step is the sequence's first in reverse.
        expected = log10_norms(each)[:: 1 if reverse else -1]
        if (
            reverse and int(layer) == ds.sizes["layer"] - 1
        ):  # of the top layer the loss sees one step: its first
            assert np.isnan(got[1:]).all()
            got, expected = got[:1], expected[-1:]
        np.testing.assert_allclose(10.0**got, 10.0**expected, rtol=RTOL, atol=0, err_msg=place)


@pytest.mark.parametrize("name", NAMES)
def test_the_norm_of_all_gradients_agrees_with_pytorchs_autograd(name: str) -> None:
    """Two biases of a row block that are added are one parameter here, whose gradient counts once."""
    arrays = known(name)
    weights = DATA / f"{name}.safetensors"
    ds = gradlab.probe(weights, arrays["inputs"], arrays["targets"], activation=activation_of(name))
    squares = 0.0
    for key, gradient in arrays.items():
        if key.startswith("gradient"):
            # The recurrent bias of the GRU's candidate stands alone: its last third.
            own = gradient[len(gradient) * 2 // 3 :] if name == "gru" else gradient[:0]
            squares += ((own if "bias_hh" in key else gradient) ** 2).sum()
    np.testing.assert_allclose(
        10.0 ** ds["log10_gradient_norm"].values, [np.sqrt(squares)], rtol=RTOL, atol=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_holds_what_is_returned_without_one(name: str, tmp_path: Path) -> None:
    arrays = known(name)
    settings = {"inputs": arrays["inputs"], "targets": arrays["targets"], "activation": activation_of(name)}
    held = gradlab.probe(DATA / f"{name}.safetensors", **settings)
    kept = gradlab.probe(DATA / f"{name}.safetensors", **settings, out=tmp_path / "a")
    xr.testing.assert_identical(kept.load(), held)
    assert not check_structure(tmp_path / "a")
    assert held.attrs["cell"] == {"rnn-relu": "elman", "gru": "gru"}.get(name, "lstm")
    assert (held["status"] == 1).all()


def test_a_mapping_of_arrays_gives_the_same_numbers_as_their_file() -> None:
    from gradlab.network.weights import read_weights

    arrays = known("lstm")
    file = DATA / "lstm.safetensors"
    a = gradlab.probe(file, arrays["inputs"], arrays["targets"])
    b = gradlab.probe(read_weights(file).parameters, arrays["inputs"], arrays["targets"])
    keys = ["case_key", "settings_key"]
    xr.testing.assert_identical(a.drop_vars(keys).drop_attrs(), b.drop_vars(keys).drop_attrs())
    assert a["case_key"].values != b["case_key"].values


def test_a_drawn_case_written_to_a_file_gives_the_records_of_the_run(tmp_path: Path) -> None:
    spec = {
        "network": {"cell": "lstm", "hidden": 5},
        "task": {"name": "noise", "features": 3, "batch": 4, "length": 9, "at": "every"},
        "clip": {"name": "adjoint_norm", "threshold": 0.1},
    }
    case, run = gradlab.draw(spec), gradlab.run(spec)
    np.savez(tmp_path / "own.npz", **case.parameters)
    ds = gradlab.probe(
        tmp_path / "own.npz",
        case.inputs,
        case.targets,
        at="every",
        clip=spec["clip"],
        record=list(run.data_vars)[:0] or None,
    )
    # Keys name the weights; the others are measured anew, not scaled along.
    apart = {"case_key", "settings_key", "radius_drawn", "norm_drawn", "henrici_departure"}
    names = (set(run.data_vars) & set(ds.data_vars)) - apart
    assert len(names) > 15
    for name in names:
        np.testing.assert_array_equal(ds[name].values, run[name].values, err_msg=name)


def test_without_targets_unit_vectors_are_transported() -> None:
    arrays = known("lstm")
    a, b, c = (gradlab.probe(DATA / "lstm.safetensors", arrays["inputs"], seed=seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(a, b)
    np.testing.assert_allclose(
        a["log10_state_gradient_norm"][0, 0], np.log10(np.sqrt(3) / 3), rtol=1e-12, atol=0
    )
    assert a["loss"].values != c["loss"].values


@pytest.mark.parametrize("change", ["weights", "inputs", "targets", "at", "clip", "seed"])
def test_the_key_is_of_all_that_determines_the_numbers(change: str, tmp_path: Path) -> None:
    from gradlab.network.weights import read_weights

    arrays = known("lstm")
    given: dict[str, Any] = {
        "weights": read_weights(DATA / "lstm.safetensors").parameters,
        "inputs": arrays["inputs"],
        "targets": arrays["targets"],
    }
    others = {
        "weights": {**given["weights"], "bias_o": given["weights"]["bias_o"] + 1},
        "inputs": given["inputs"] + 1,
        "targets": given["targets"] + 1,
        "at": [6],
        "clip": {"name": "norm", "threshold": 1.0},
        "seed": 1,
    }
    key = gradlab.probe(**given)["case_key"].values
    assert gradlab.probe(**given, title="other", record=["loss"])["case_key"].values == key
    assert gradlab.probe(**{**given, change: others[change]})["case_key"].values != key


def test_the_key_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    inputs = known("lstm")["inputs"]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(DATA / "lstm.safetensors", tmp_path / folder / "w.safetensors")
        np.save(tmp_path / folder / "x.npy", inputs)
    a, b = (gradlab.probe(tmp_path / f / "w.safetensors", tmp_path / f / "x.npy") for f in ("a", "b"))
    xr.testing.assert_identical(a, b)


def test_targets_may_leave_out_dimensions_of_size_one() -> None:
    arrays = known("lstm")
    weights, x, y = DATA / "lstm.safetensors", arrays["inputs"], arrays["targets"]
    whole = gradlab.probe(weights, x, y)["loss"].values
    assert gradlab.probe(weights, x, y[0])["loss"].values == whole
    one = gradlab.probe(weights, x[:, :1], y[:, :1])["loss"].values
    for less in (y[:, 0], y[0, 0]):
        assert gradlab.probe(weights, x[:, 0], less)["loss"].values == one
    classes = gradlab.probe(weights, x, np.array([[0, 1, 1]]), loss="cross_entropy")["loss"].values
    assert gradlab.probe(weights, x, np.array([0, 1, 1]), loss="cross_entropy")["loss"].values == classes


def test_a_probe_leaves_an_archive_that_show_and_plot_understand(files: Cli) -> None:
    result = files("probe", "trained.safetensors", "--inputs", "x.npy", "--targets", "y.npy", "--out", "a")
    assert result.exit_code == 0, result.stderr
    assert (
        "lstm: 1 layer, 4 hidden units, 3 features, float64, prefix model.lstm, readout fc." in result.stderr
    )
    assert "decades per time step" in result.stdout
    assert "Of 1 case: 1 vanishes." in result.stdout
    assert {"profile.png", "spectrum.png"} <= {path.name for path in Path("a/figures").iterdir()}
    shown = json.loads(files("show", "a", "--json").stdout)
    assert shown["title"] == "trained.safetensors"
    assert shown["runs"][0]["command"][:3] == ["gradlab", "probe", "trained.safetensors"]
    assert shown["counts"]["all"] == 1
    drawn = files(
        "plot", "a", "spectrum", "profile", "--format", "svg", "--out", "elsewhere", "--outside", "."
    )
    assert drawn.exit_code == 0, drawn.stderr
    assert len(drawn.stdout.split()) == 2
    settings = read_toml("a/spec.resolved.toml")
    assert settings["network"]["weights"]["file"] == os.path.abspath("trained.safetensors")
    assert len(settings["network"]["weights"]["sha256"]) == len(settings["task"]["inputs"]["sha256"]) == 64
    assert not check_structure("a")


def test_matrices_are_not_drawn_from_another_file(files: Cli) -> None:
    files("probe", "trained.safetensors", "--inputs", "x.npy", "--out", "a", "--no-figures")
    shutil.copy(DATA / "gru.safetensors", "trained.safetensors")
    result = files("plot", "a", "spectrum", "--outside", ".")
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    Path("trained.safetensors").unlink()
    assert "no file at" in files("plot", "a", "spectrum", "--outside", ".").stderr
    # An archive may come from a stranger: what it names is not looked at unasked.
    os.mkfifo("trained.safetensors")
    result = files("plot", "a", "spectrum")
    assert result.exit_code == 2
    assert "--outside FOLDER" in result.stderr
    assert files("plot", "a", "profile").exit_code == 0


def test_again_it_finds_what_is_there_and_refuses_another(files: Cli) -> None:
    arguments = ("probe", "trained.safetensors", "--inputs", "x.npy", "--out", "a", "--no-figures", "--json")
    first, again = json.loads(files(*arguments).stdout), json.loads(files(*arguments).stdout)
    assert (first["done"], again["done"], again["kept"]) == (1, 0, 1)
    assert first["growth_rate"] == again["growth_rate"] < 0
    assert first["regime"] == "vanishing"
    assert first["unused"] == ["fc.bias", "fc.weight"]
    other = files(*arguments, "--at", "every")
    assert other.exit_code == 2
    assert "an archive of another one" in other.stderr


def test_quiet_and_json(files: Cli) -> None:
    result = files("probe", "trained.safetensors", "--inputs", "x.csv", "--no-figures", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    (archive,) = Path("results").iterdir()
    assert archive.name.startswith("trained-")
    assert gradlab.open_archive(archive).attrs["title"] == "trained.safetensors"


def test_settings_reach_the_measurement(files: Cli) -> None:
    records = ["clip_factor", "log10_state_gradient_norm", "log10_path_gradient_norm"]
    flags = "--at 2 --clip norm:0.01 --title Mine --readout fc --prefix model.lstm --cell lstm --loss mse"
    result = files(
        "probe",
        "trained.safetensors",
        *["--inputs", "x.npy", "--targets", "y.npy", "--activation", "tanh", "--out", "a", "--no-figures"],
        *flags.split(),
        "--record",
        ",".join(records),
    )
    assert result.exit_code == 0, result.stderr
    ds = gradlab.open_archive("a")
    assert ds.attrs["title"] == "Mine"
    assert dict(ds.sizes) == {"replicate": 1, "path": 3, "lag": 3}
    assert 0 < float(ds["clip_factor"][0]) < 1
    assert set(ds.data_vars) == {*records, "status", "first_overflow", "settings_key", "code_key", "case_key"}


def test_a_csv_file_is_one_sample_with_or_without_a_header(files: Cli) -> None:
    rows = Path("x.csv").read_text()
    Path("bare.csv").write_text(rows.partition("\n")[2])
    inputs = known("lstm")["inputs"][:, 0]
    expected = gradlab.probe("trained.safetensors", inputs)
    for name in ("x.csv", "bare.csv"):
        got = gradlab.probe("trained.safetensors", name)
        keys = ["case_key", "settings_key"]
        xr.testing.assert_equal(got.drop_vars(keys), expected.drop_vars(keys).assign_attrs(got.attrs))


def test_an_overflow_is_a_status_and_no_failure(files: Cli) -> None:
    weights = {"weight_ih_l0": np.ones((2, 1)), "weight_hh_l0": np.full((2, 2), 1e200)}
    np.savez("w.npz", **weights)
    np.save("ones.npy", np.ones((5, 1)))
    result = files(
        "probe", "w.npz", "--inputs", "ones.npy", "--activation", "relu", "--out", "a", "--no-figures"
    )
    assert result.exit_code == 0, result.stderr
    assert "1 overflowed" in result.stdout
    assert int(gradlab.open_archive("a")["first_overflow"][0]) == 2
