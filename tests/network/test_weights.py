"""Weights trained elsewhere: what is found in a file, and every mistake in one."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gradlab.core.errors import UserMistake
from gradlab.network import tensors
from gradlab.network.cells import registry as cells
from gradlab.network.grouping import affine, grouped
from gradlab.network.weights import read_weights

DATA = Path(__file__).resolve().parents[1] / "data"
ROWS = {"elman": 1, "gru": 3, "lstm": 4}
HIDDEN, FEATURES = 4, 3


def network(cell="lstm", prefix="", layers=1, directions=1, biases=True, dtype="float64"):
    """Arrays in the names of PyTorch; each has numbers of its own."""
    stream, rows, out = np.random.default_rng(3), ROWS[cell] * HIDDEN, {}
    for k in range(layers):
        features = HIDDEN * directions if k else FEATURES
        for suffix in ("", "_reverse")[:directions]:
            shapes = {"weight_ih": (rows, features), "weight_hh": (rows, HIDDEN)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if biases else {}
            for name, shape in shapes.items():
                out[f"{prefix}{name}_l{k}{suffix}"] = stream.standard_normal(shape).astype(dtype)
    return out


def linear(name, width=HIDDEN, outputs=2, bias=True):
    out = {f"{name}.weight": np.full((outputs, width), 0.5)}
    return out | ({f"{name}.bias": np.full(outputs, 0.25)} if bias else {})


def problems(arrays, **options):
    with pytest.raises(UserMistake) as caught:
        read_weights(arrays, **options)
    return [str(problem) for problem in caught.value.problems]


# --- what is found --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ROWS)
@pytest.mark.parametrize("prefix", ["", "rnn.", "model.lstm.", "_orig_mod.module.encoder."])
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (3, 1), (2, 2)])
def test_cell_sizes_and_prefix_are_told_from_the_arrays(cell, prefix, layers, directions):
    arrays = network(cell, prefix, layers, directions)
    found = read_weights(arrays)
    assert (found.cell.name, found.hidden, found.features) == (cell, HIDDEN, FEATURES)
    assert (found.layers, found.bidirectional, found.prefix) == (layers, directions == 2, prefix)
    assert found.parameters.keys() == {name.removeprefix(prefix) for name in arrays}
    for name, values in found.parameters.items():
        np.testing.assert_array_equal(values, arrays[prefix + name])


def test_biases_may_be_absent_all_together():
    assert "bias_ih_l0" not in read_weights(network(biases=False)).parameters


def test_the_only_linear_layer_of_fitting_width_is_the_readout():
    arrays = network(directions=2, prefix="lstm.") | linear("head", 2 * HIDDEN) | linear("other", 5)
    found = read_weights(arrays)
    assert (found.readout, found.outputs) == ("head", 2)
    np.testing.assert_array_equal(found.parameters["weight_ho"], np.full((2, 2 * HIDDEN), 0.5))
    np.testing.assert_array_equal(found.parameters["bias_o"], [0.25, 0.25])
    assert found.unused == ("other.bias", "other.weight")


def test_of_several_linear_layers_one_is_to_be_chosen():
    arrays = network() | linear("a") | linear("b")
    assert problems(arrays) == [
        "readout: expected which of several linear layers with 4 inputs to take, or 'none', got nothing. "
        "There are 'a', 'b'."
    ]
    assert read_weights(arrays, readout="b").readout == "b"
    assert read_weights(arrays, readout="b.weight").readout == "b"
    assert read_weights(arrays, readout="none").readout is None
    assert problems(arrays, readout="aa") == [
        "readout: expected the name of a linear layer with 4 inputs, got 'aa'. Did you mean 'a'?"
    ]


@pytest.mark.parametrize("shape", [(3,), (2, 1)])
@pytest.mark.parametrize("named", [True, False])
def test_the_bias_of_the_readout_has_a_number_for_each_output(shape, named):
    arrays = network() | linear("fc", outputs=2)
    arrays["fc.bias"] = np.zeros(shape)
    options = {"readout": "fc"} if named else {}
    assert problems(arrays, **options) == [
        f"fc.bias: expected finite numbers of shape (2,) (outputs), got shape {shape}"
    ]


def test_a_layer_without_bias_is_a_readout_only_if_it_is_named():
    arrays = network() | linear("embedding", bias=False)
    assert read_weights(arrays).readout is None
    found = read_weights(arrays, readout="embedding")
    assert "weight_ho" in found.parameters
    assert "bias_o" not in found.parameters


def test_arrays_of_a_drawn_case_are_read_as_they_are():
    arrays = network() | {"weight_ho": np.ones((2, HIDDEN)), "bias_o": np.ones(2)}
    found = read_weights(arrays)
    assert found.parameters.keys() == arrays.keys()
    assert found.readout == "weight_ho"


def test_of_several_recurrent_layers_one_is_to_be_chosen():
    arrays = network(prefix="encoder.lstm.") | network("gru", prefix="decoder.gru.")
    (problem,) = problems(arrays)
    assert problem.startswith("prefix: expected which of several recurrent layers to take, got nothing.")
    assert "'encoder.lstm.'" in problem
    assert "'decoder.gru.'" in problem
    for prefix in ("decoder.gru", "decoder.gru."):
        assert read_weights(arrays, prefix=prefix).cell.name == "gru"
    (problem,) = problems(arrays, prefix="decoder.lstm")
    assert "prefix: expected what stands before a name such as weight_hh_l0, got 'decoder.lstm'" in problem


def test_a_cell_may_be_named():
    assert read_weights(network("elman"), cell="antisymmetric").cell.name == "antisymmetric"
    assert (
        "weight_hh_l0: expected shape (1 * hidden, hidden) for 'elman'"
        in problems(network(), cell="elman")[0]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype):
    assert read_weights(network(dtype=dtype)).dtype == dtype


def test_of_mixed_precisions_the_wider_one_is_taken():
    arrays = network(dtype="float32")
    arrays["bias_ih_l0"] = arrays["bias_ih_l0"].astype("float64")
    assert read_weights(arrays).dtype == "float64"
    assert read_weights(arrays).halves == ()


def test_half_precision_becomes_single_and_is_told():
    arrays = network(dtype="float16")
    found = read_weights(arrays)
    assert found.dtype == "float32"
    assert set(found.halves) == set(arrays)
    np.testing.assert_array_equal(found.parameters["weight_hh_l0"], arrays["weight_hh_l0"])


def test_the_digest_is_of_the_numbers():
    arrays = network()
    moved = {name: arrays[name] for name in reversed(arrays)}
    assert read_weights(moved).sha256 == read_weights(arrays).sha256
    moved["bias_ih_l0"] = moved["bias_ih_l0"] + 1e-15
    assert read_weights(moved).sha256 != read_weights(arrays).sha256


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cell", "layers", "bidirectional", "prefix", "readout", "unused"),
    [
        ("lstm-2-bidirectional", "lstm", 2, True, "lstm.", "head", ("embedding.weight",)),
        ("lstm", "lstm", 1, False, "model.lstm.", "fc", ()),
        ("gru", "gru", 1, False, "gru.", "out", ()),
        ("rnn-relu", "elman", 1, False, "rnn.", "fc", ()),
    ],
)
def test_a_file_that_pytorch_wrote(name, cell, layers, bidirectional, prefix, readout, unused):
    found = read_weights(DATA / f"{name}.safetensors")
    assert (found.cell.name, found.layers, found.bidirectional) == (cell, layers, bidirectional)
    assert (found.prefix, found.readout, found.unused) == (prefix, readout, unused)
    assert len(found.sha256) == 64


def test_an_npz_file_holds_the_same(tmp_path):
    arrays = network(prefix="lstm.") | linear("fc")
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    found, given = read_weights(tmp_path / "w.npz"), read_weights(arrays)
    assert found.parameters.keys() == given.parameters.keys()
    for name in given.parameters:
        np.testing.assert_array_equal(found.parameters[name], given.parameters[name])


def safetensors(path, entries):
    """Write a file by hand: name -> (the format's own dtype, shape, bytes)."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def upper_halves(values):
    return (np.ascontiguousarray(values, dtype="<f4").view("<u4") >> 16).astype("<u2")


def test_bfloat16_is_read_exactly(tmp_path):
    halves = {name: upper_halves(values) for name, values in network("elman", "rnn.").items()}
    safetensors(tmp_path / "w.safetensors", {n: ("BF16", v.shape, v.tobytes()) for n, v in halves.items()})
    found = read_weights(tmp_path / "w.safetensors")
    assert found.dtype == "float32"
    assert set(found.halves) == set(halves)
    for name, values in found.parameters.items():
        np.testing.assert_array_equal(upper_halves(values), halves[f"rnn.{name}"])
        assert not (values.view("<u4") & 0xFFFF).any()


def truncated(path):
    content = (DATA / "lstm.safetensors").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def huge_header(path):
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def pickled(path):
    np.savez(path, **network(), **{"fc.weight": np.array([[None]])})


def pickle_in_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({"weight_hh_l0": 1}))


def no_zip(path):
    path.write_bytes(b"PK nothing")


def declared(path, shape):
    """Write an archive whose array declares more numbers than it has."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight_hh_l0.npy", member.getvalue() + bytes(64))
        archive.writestr("weight_ih_l0.npy", member.getvalue() + bytes(64))


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight_hh_l0.npy", bytes(1 << 20))


BROKEN = {
    "truncated.safetensors": (truncated, "which is damaged"),
    "header.safetensors": (huge_header, "which is damaged"),
    "pickled.npz": (pickled, "fc.weight: expected an array of numbers, got an array of Python objects in"),
    "inside.npz": (pickle_in_zip, "data.pkl: expected an array of numbers, got what is no .npy array in"),
    "nozip.npz": (no_zip, "damaged or no .npz file"),
    "absurd.npz": (lambda path: declared(path, (1 << 40, 1 << 38)), "bytes declared, 64 there"),
    "short.npz": (lambda path: declared(path, (4, 4)), "128 bytes declared, 64 there"),
    "model.pt": (
        lambda path: path.write_bytes(b"x"),
        "never unpickled. In PyTorch: safetensors.torch.save_file",
    ),
    "model.txt": (lambda path: path.write_bytes(b"x"), "a .safetensors or .npz file"),
    "folder.npz": (Path.mkdir, "cannot be read"),
    "none.npz": (lambda path: None, "no file at"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_message(tmp_path, name):
    make, message = BROKEN[name]
    make(tmp_path / name)
    for problem in problems(tmp_path / name):
        assert problem.startswith(("weights: expected", "weight_", "fc.weight: ", "data.pkl: "))
        assert message in problem
        assert str(tmp_path) in problem
        assert "\n" not in problem


def test_what_unpacks_to_too_much_is_refused_before_it_is(tmp_path, monkeypatch):
    bomb(tmp_path / "bomb.npz")
    monkeypatch.setattr(tensors, "LARGEST_BYTES", 1 << 16)
    (problem,) = problems(tmp_path / "bomb.npz")
    assert "unpacks to 1048576 bytes; 65536 are the most" in problem
    (tmp_path / "large.safetensors").write_bytes(bytes(1 << 17))
    (problem,) = problems(tmp_path / "large.safetensors")
    assert "which has 131072 bytes; 65536 are the most" in problem


# --- what is wrong with the arrays ----------------------------------------------------------------------


def test_missing_surplus_and_misshapen_arrays_are_named_all_at_once():
    arrays = network(prefix="lstm.", layers=2)
    del arrays["lstm.weight_hh_l1"]
    del arrays["lstm.bias_hh_l0"]
    arrays["lstm.bias_ih_l1"] = np.ones(3)
    arrays["lstm.weight_zz_l0"] = np.ones(3)
    arrays["lstm.weight_ih_l0"][2, 1] = np.nan
    found = problems(arrays)
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "lstm.bias_hh_l0", "lstm.bias_ih_l1", "lstm.weight_hh_l1", "lstm.weight_ih_l0", "lstm.weight_zz_l0",
    ]  # fmt: skip
    text = "\n".join(found)
    assert "lstm.bias_hh_l0: expected an array of this name" in text
    assert "lstm.bias_ih_l1: expected finite numbers of shape (16) (rows), got shape (3,)" in text
    assert "lstm.weight_zz_l0: expected no such array in 'lstm' of 2 layers" in text
    assert "lstm.weight_ih_l0: expected finite numbers, got NaN or infinity among them" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value):
    arrays = network() | linear("fc")
    arrays["fc.bias"][1] = value
    assert problems(arrays) == ["fc.bias: expected finite numbers, got NaN or infinity among them"]


def test_a_layer_that_is_missing_is_named():
    arrays = {name: values for name, values in network(layers=3).items() if "_l1" not in name}
    assert problems(arrays) == ["weights: expected layers numbered l0, l1, ... without a gap, got l0, l2"]


def test_a_missing_direction_is_named():
    arrays = network(layers=2, directions=2)
    del arrays["weight_ih_l1_reverse"]
    assert [problem.partition(":")[0] for problem in problems(arrays)] == ["weight_ih_l1_reverse"]


def test_projections_are_refused_in_words():
    arrays = network(prefix="lstm.") | {"lstm.weight_hr_l0": np.ones((2, HIDDEN))}
    (problem,) = problems(arrays)
    assert problem.startswith("lstm.weight_hr_l0: expected a network whose states are as many as its hidden")
    assert "Train it with proj_size=0" in problem


def test_rows_of_no_known_cell_are_refused():
    arrays = network() | {"weight_hh_l0": np.ones((2 * HIDDEN, HIDDEN))}
    (problem,) = problems(arrays)
    assert "1 * hidden (elman), 3 * hidden (gru), 4 * hidden (lstm) rows, got shape (8, 4)" in problem


@pytest.mark.parametrize("dtype", ["int64", "complex128", "bool"])
def test_other_kinds_of_numbers_are_refused(dtype):
    arrays = network() | {"bias_hh_l0": np.ones(4 * HIDDEN, dtype=dtype)}
    assert problems(arrays) == [
        f"bias_hh_l0: expected float32, float64, float16 or bfloat16, got dtype {dtype}"
    ]


class NoArray:
    def __array__(self, *_, **__):
        raise TypeError("got an unsupported kind of number")


def test_what_is_no_array_is_named():
    (problem,) = problems(network() | {"bias_hh_l0": NoArray()})
    assert problem.startswith("bias_hh_l0: expected an array of numbers, got ")
    (problem,) = problems(5)
    assert problem.startswith("weights: expected a .safetensors or .npz file")


def test_a_file_without_a_recurrent_layer_says_what_it_has():
    (problem,) = problems(linear("fc"))
    assert problem.startswith("weights: expected a recurrent layer, got the arrays 'fc.bias', 'fc.weight'.")


# --- grouping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_rows_stand_as_they_are_and_biases_are_added(cell):
    arrays, the_cell = network(cell, layers=2, directions=2), cells.build(cell)
    groups = grouped(arrays, the_cell)
    assert [len(layer) for layer in groups] == [2, 2]
    got = affine(groups[1][1], the_cell, HIDDEN)
    bias = arrays["bias_ih_l1_reverse"] + arrays["bias_hh_l1_reverse"]
    parts = [arrays["weight_hh_l1_reverse"], arrays["weight_ih_l1_reverse"], bias[:, None]]
    np.testing.assert_array_equal(got, np.concatenate(parts, axis=1))


def test_the_gru_keeps_the_two_parts_of_its_candidate_apart():
    """Blocks are reset, update, recurrent part of the candidate, input part of the candidate."""
    arrays, the_cell = network("gru"), cells.build("gru")
    assert the_cell.row_blocks == ("reset_gate", "update_gate", "candidate_recurrent", "candidate")
    got = affine(grouped(arrays, the_cell)[0][0], the_cell, HIDDEN).reshape(4, HIDDEN, -1)
    w, u, b, c = (
        arrays[f"{name}_l0"].reshape(3, HIDDEN, -1)
        for name in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")
    )
    nothing = np.zeros_like
    for block, parts in enumerate(
        [
            (w[0], u[0], b[0] + c[0]),
            (w[1], u[1], b[1] + c[1]),
            (w[2], nothing(u[2]), c[2]),
            (nothing(w[2]), u[2], b[2]),
        ]
    ):
        np.testing.assert_array_equal(got[block], np.concatenate(parts, axis=1), err_msg=str(block))


def test_single_biases_may_be_left_out_of_arrays():
    arrays = network()
    del arrays["bias_hh_l0"]
    (group,) = grouped(arrays, cells.build("lstm"))[0]
    np.testing.assert_array_equal(affine(group, cells.build("lstm"), HIDDEN)[:, -1], arrays["bias_ih_l0"])
