"""The contract of initialisers, over the whole catalogue, and the reading of .npy files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.core.streams import canonical
from gradlab.network.initialisers import AbstractInitialiser, registry

SHAPE = (4, 3)
NUMBERS = np.arange(12.0).reshape(SHAPE) - 5.0
TABLES = {
    "normal": {"gain": 0.7},
    "uniform": {"bound": 0.2},
    "constant": {"value": -1.5},
    "given": {"values": NUMBERS.tolist()},
    "file": {"path": "numbers.npy"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.save(tmp_path / "numbers.npy", NUMBERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(name: str, **changes: object) -> AbstractInitialiser:
    return registry.build({"name": name, **TABLES[name], **changes})


def check_pure(entry: AbstractInitialiser) -> None:
    """The numbers depend on seed, replicate, role and shape, each, and on nothing done before."""
    first = entry.draw(SHAPE, 1, 2, "input weights")
    others = [
        entry.draw(SHAPE, *key)
        for key in [(0, 2, "input weights"), (1, 0, "input weights"), (1, 2, "biases")]
    ]
    np.random.seed(0)  # noqa: NPY002  # the global generator must not matter
    again = entry.draw(SHAPE, 1, 2, "input weights")
    assert first.shape == SHAPE
    assert first.dtype == np.float64
    assert np.array_equal(first, again)
    assert all(np.array_equal(first, other) == entry.deterministic for other in others)
    again[...] = 0.0
    assert np.array_equal(first, entry.draw(SHAPE, 1, 2, "input weights")), "the caller's copy was kept"


def check_scale(entry: AbstractInitialiser) -> None:
    """An axis over the scale is paired: the same numbers, multiplied."""
    if entry.scale is None:
        return
    table = settings_of(entry)
    doubled = registry.build({**table, entry.scale: 2.0 * table[entry.scale]})
    ours, theirs = (e.draw(SHAPE, 0, 0, "biases") for e in (entry, doubled))
    assert np.array_equal(2.0 * ours, theirs)
    assert np.any(ours != 0)
    assert not np.any(registry.build({**table, entry.scale: 0.0}).draw(SHAPE, 0, 0, "biases"))


def check_identity(entry: AbstractInitialiser) -> None:
    """The identity is plain and pickling changes nothing."""
    canonical(entry.identity())
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert registry.build(settings_of(entry)) == entry


CHECKS = [check_pure, check_scale, check_identity]


def test_every_initialiser_is_under_contract() -> None:
    assert sorted(TABLES) == registry.names()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[AbstractInitialiser], None], name: str) -> None:
    check(build(name))


@dataclass(frozen=True)
class Impure(AbstractInitialiser):
    """Wrong on purpose: the numbers come from the global generator and the scale is not one."""

    name: ClassVar[str] = "normal"
    scale: ClassVar[str | None] = "gain"
    gain: float = 1.0

    def law(self, shape: tuple[int, int], stream: np.random.RandomState) -> np.ndarray:
        return np.random.standard_normal(shape) + self.gain  # noqa: NPY002


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_wrong_initialiser_fails_every_check(check: Callable[[AbstractInitialiser], None]) -> None:
    with pytest.raises(AssertionError):
        check(Impure())


def test_normal_has_the_standard_deviation_it_says() -> None:
    numbers = build("normal", gain=2.0).draw((400, 256), 0, 0, "input weights")
    np.testing.assert_allclose(numbers.std() * np.sqrt(256), 2.0, rtol=0.02)
    np.testing.assert_allclose(np.mean(numbers**4) / np.mean(numbers**2) ** 2, 3.0, rtol=0.05)


def test_uniform_fills_its_interval() -> None:
    numbers = build("uniform", bound=0.5).draw((400, 256), 0, 0, "input weights")
    assert np.abs(numbers).max() <= 0.5
    np.testing.assert_allclose(
        np.quantile(numbers, [0.001, 0.25, 0.75, 0.999]), [-0.499, -0.25, 0.25, 0.499], rtol=0.02
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["given", "file"])
def test_numbers_of_ones_own_come_out_as_they_are(name: str) -> None:
    entry = build(name)
    assert np.array_equal(entry.draw(SHAPE, 0, 0, "biases"), NUMBERS)
    with pytest.raises(UserMistake, match=rf"{name}: expected numbers of shape \(3, 4\).*got shape \(4, 3\)"):
        entry.draw((3, 4), 0, 0, "biases")
    with pytest.raises(UserMistake, match=r"network\.bias: expected numbers of shape \(4, 1\)"):
        entry.check_shape((4, 1), "network.bias")


def test_a_file_is_known_by_its_content(folder: Path) -> None:
    np.save(folder / "copy.npy", NUMBERS)
    entry, copy = build("file"), build("file", path="copy.npy")
    assert entry.identity() == copy.identity()
    np.save(folder / "numbers.npy", NUMBERS + 1)
    assert build("file").identity() != copy.identity()
    with pytest.raises(UserMistake, match="path: expected the file as it was when the settings were read"):
        entry.draw(SHAPE, 0, 0, "biases")


class Poison:
    """Unpickling this raises: nothing may ever try."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (_unpickled, ("an object was unpickled",))


def _unpickled(message: str) -> None:
    raise AssertionError(message)


def truncated(path: Path) -> None:
    np.save(path, NUMBERS)
    path.write_bytes(path.read_bytes()[:-8])


def archive(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=NUMBERS)
    path.with_suffix(".npz").rename(path)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no file at"),
    "a folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "not a .npy file"),
    "text": (lambda path: path.write_text("1 2\n3 4\n"), "not a .npy file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1.0])), "not a .npy file"),
    "archive": (archive, "not a .npy file"),
    "truncated": (truncated, "damaged"),
    "magic only": (lambda path: path.write_bytes(b"\x93NUMPY"), "damaged"),
    "objects": (
        lambda path: np.save(path, np.array([[Poison()]], dtype=object), allow_pickle=True),
        "an array of Python objects. Objects are never unpickled",
    ),
    "text array": (lambda path: np.save(path, np.array([["a", "b"]])), "an array of dtype <U1"),
    "complex": (lambda path: np.save(path, np.ones((2, 2), complex)), "an array of dtype complex128"),
    "booleans": (lambda path: np.save(path, np.ones((2, 2), bool)), "an array of dtype bool"),
    "one-dimensional": (lambda path: np.save(path, np.ones(3)), r"an array of shape \(3,\)"),
    "three-dimensional": (lambda path: np.save(path, np.ones((1, 2, 3))), r"an array of shape \(1, 2, 3\)"),
    "nothing in it": (lambda path: np.save(path, np.ones((0, 0))), r"an array of shape \(0, 0\)"),
    "nan": (lambda path: np.save(path, np.array([[1.0, np.nan]])), "NaN or infinity among them"),
    "infinity": (lambda path: np.save(path, np.array([[1.0], [-np.inf]])), "NaN or infinity among them"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_clear_message(case: str, tmp_path: Path) -> None:
    write, message = BAD_FILES[case]
    path = tmp_path / "bad.npy"
    write(path)
    with pytest.raises(
        UserMistake, match=rf"network\.bias\.path: expected a \.npy file with a matrix.*{message}"
    ) as caught:
        registry.build({"name": "file", "path": str(path)}, "network.bias")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("dtype", ["float32", "int16", ">f8"])
def test_other_number_types_become_float64(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.asfortranarray(NUMBERS.astype(dtype)))
    matrix = registry.build({"name": "file", "path": str(tmp_path / "m.npy")}).draw(SHAPE, 0, 0, "biases")
    assert matrix.dtype == np.dtype("float64")
    assert np.array_equal(matrix, NUMBERS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"name": "normal", "gain": -1},
            r"initialiser\.gain: expected a finite number of at least 0, got -1",
        ),
        ({"name": "uniform"}, r"initialiser\.bound: expected a value, got nothing"),
        ({"name": "uniform", "bound": float("nan")}, r"initialiser\.bound: expected a finite number"),
        ({"name": "constant", "value": True}, r"initialiser\.value: expected a number, got True"),
        (
            {"name": "constant", "value": float("inf")},
            r"initialiser\.value: expected a finite number, got inf",
        ),
        ({"name": "given", "values": []}, r"initialiser\.values: expected a list of rows.*got \(\)"),
        (
            {"name": "given", "values": [1.0, 2.0]},
            r"initialiser\.values\[0\]: expected a list of rows.*got 1\.0",
        ),
        ({"name": "given", "values": [[1.0, 2.0], [3.0]]}, r"initialiser\.values\[1\]: expected 2 numbers"),
        (
            {"name": "given", "values": [[1.0, "x"]]},
            r"initialiser\.values\[0\]\[1\]: expected a finite number, got 'x'",
        ),
        ({"name": "nromal"}, r"Did you mean 'normal'\?"),
    ],
)
def test_unfit_settings_are_the_users_mistake(table: dict, message: str) -> None:
    with pytest.raises(UserMistake, match=message):
        registry.build(table)
