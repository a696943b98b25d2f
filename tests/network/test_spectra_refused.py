"""Matrices that cannot be drawn or scaled, and the user's own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spectra import OWN, every_family

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.network.spectra import registry
from gradlab.network.spectra._base import _memory


@pytest.fixture(autouse=True)
def forgetful() -> None:
    _memory.clear()


# --- what cannot be scaled ---------------------------------------------------------------------------


def test_a_zero_matrix_cannot_be_scaled_up() -> None:
    for way in ("radius", "norm"):
        entry = registry.build({"name": "antisymmetric", way: 0.5})
        with pytest.raises(
            UserMistake, match=rf"{way}: expected 0, or a matrix of 'antisymmetric' of size 1 whose {way}"
        ):
            entry.draw(1, 0, 0)
    zero = registry.build({"name": "antisymmetric", "radius": 0.0}).draw(1, 0, 0)
    assert (zero.matrix.item(), zero.radius, zero.norm, zero.henrici_departure) == (0.0, 0.0, 0.0, 0.0)
    alone = registry.build({"name": "delay_line", "norm": 1.0})
    with pytest.raises(
        UserMistake, match="norm: expected 0, or a matrix of 'delay_line' of size 1 whose norm is not 0"
    ):
        alone.draw(1, 0, 0)


@every_family
def test_scaled_to_zero_is_zero(table: dict[str, Any]) -> None:
    for way in registry.get(table["name"]).scalings:
        drawn = registry.build({**table, way: 0.0}).draw(4, 0, 0)
        assert not drawn.matrix.any()
        assert (drawn.radius, drawn.norm, drawn.henrici_departure) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("table", "size", "message"),
    [
        ({"name": "sparse", "gain": 1.0}, 8, "connections: expected an integer of at most 8, got 15"),
        ({"name": "low_rank", "gain": 1.0, "rank": 9}, 8, "rank: expected an integer of at most 8, got 9"),
        (
            {"name": "normal", "eigenvalues": [1, [0, 1]]},
            4,
            r"eigenvalues: .*hidden units \(4\), got 3.*conjugate",
        ),
        ({"name": "nonnormal", "eigenvalues": [1.0]}, 2, r"eigenvalues: .*hidden units \(2\), got 1"),
        ({"name": "ginibre", "gain": 1.0}, 0, "size: expected an integer of at least 1, got 0"),
    ],
)
def test_a_family_without_a_matrix_of_the_size_says_so(table: dict, size: int, message: str) -> None:
    entry = registry.build(table)
    for attempt in (lambda: entry.check_size(size), lambda: entry.draw(size, 0, 0)):
        with pytest.raises(UserMistake, match=message):
            attempt()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"name": "normal", "eigenvalues": "rign"},
            r"spectrum\.eigenvalues: expected 'ring'.*Did you mean 'ring'",
        ),
        ({"name": "normal", "eigenvalues": []}, r"spectrum\.eigenvalues: expected 'ring'"),
        (
            {"name": "normal", "eigenvalues": [[1, 2, 3]]},
            r"spectrum\.eigenvalues\[0\]: expected a number or a pair",
        ),
        (
            {"name": "normal", "eigenvalues": [1, float("nan")]},
            r"spectrum\.eigenvalues\[1\]: expected a finite number",
        ),
        (
            {"name": "nonnormal", "feed_forward": -1},
            r"spectrum\.feed_forward: expected a finite number of at least 0",
        ),
        ({"name": "singular", "spread": 1.5}, r"spectrum\.spread: .*at least 0 and of at most 1, got 1\.5"),
        (
            {"name": "sparse", "connections": 0, "gain": 1},
            r"spectrum\.connections: expected an integer of at least 1",
        ),
        (
            {"name": "heavy_tailed", "nu": 0.0, "gain": 1},
            r"spectrum\.nu: expected a finite number of at least 0\.5",
        ),
        ({"name": "low_rank", "rank": 0, "gain": 1}, r"spectrum\.rank: expected an integer of at least 1"),
        (
            {"name": "delay_line", "radius": 0.9},
            r"spectrum\.radius: .*scaled by norm, got radius = 0\.9\. .*nilpotent",
        ),
        (
            {"name": "constant", "gain": 1.0},
            r"spectrum\.gain: .*radius or norm or value.*give the entry itself",
        ),
        ({"name": "ginibre", "value": 1.0}, r"spectrum\.value: expected a setting of 'ginibre'"),
    ],
)
def test_unfit_settings_are_the_users_mistake(table: dict, message: str) -> None:
    with pytest.raises(UserMistake, match=message):
        registry.build(table)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UserMistake) as caught:
        registry.build(
            {"name": "low_rank", "rank": 0, "noise": -1.0, "radius": 1.0, "gain": 1.0}, "network.spectrum"
        )
    places = [problem.where for problem in caught.value.problems]
    assert places == ["network.spectrum.rank", "network.spectrum.noise", "network.spectrum.gain"]


# --- the user's own matrix ---------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    np.save(tmp_path / "own.npy", OWN)
    return tmp_path / "own.npy"


def test_file_stands_as_it_is_unless_scaled(own: Path) -> None:
    entry = registry.build({"name": "file", "path": str(own)})
    drawn = entry.draw(3, 0, 0)
    assert np.array_equal(drawn.matrix, OWN)
    np.testing.assert_allclose(drawn.radius, np.abs(np.linalg.eigvals(OWN)).max(), rtol=1e-13)
    scaled = registry.build({"name": "file", "path": str(own), "radius": 0.5}).draw(3, 9, 9)
    np.testing.assert_allclose(scaled.matrix, OWN * (0.5 / drawn.radius), rtol=2e-16, atol=0)
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert registry.build(settings_of(entry)) == entry


def test_file_is_known_by_its_content(own: Path) -> None:
    entry = registry.build({"name": "file", "path": str(own)})
    moved = own.with_name("moved.npy")
    moved.write_bytes(own.read_bytes())
    assert registry.build({"name": "file", "path": str(moved)}).identity() == entry.identity()
    np.save(own, OWN + 1.0)
    assert registry.build({"name": "file", "path": str(own)}).identity() != entry.identity()
    with pytest.raises(
        UserMistake, match="path: expected the file as it was when the settings were read, got other bytes"
    ):
        entry.draw(3, 0, 0)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3)), r"expected a square matrix, got one of shape \(2, 3\)"),
        (np.array([[None]]), "got an array of Python objects. Objects are never unpickled"),
        (np.array([[np.nan]]), "got NaN or infinity among them"),
        (np.ones((2, 2), complex), "got an array of dtype complex128"),
    ],
)
def test_unfit_file_is_the_users_mistake(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(UserMistake, match=rf"network\.spectrum\.path: {message}|{message}"):
        registry.build({"name": "file", "path": str(tmp_path / "bad.npy")}, "network.spectrum")


def test_file_that_is_missing_or_of_another_size(own: Path) -> None:
    with pytest.raises(UserMistake, match=r"spectrum\.path: .*got no file at '.*none\.npy'"):
        registry.build({"name": "file", "path": str(own.with_name("none.npy"))})
    entry = registry.build({"name": "file", "path": str(own)})
    with pytest.raises(
        UserMistake, match=r"path: expected a matrix of shape \(4, 4\).*Set network\.hidden = 3"
    ):
        entry.draw(4, 0, 0)


@pytest.mark.parametrize("strength", [1.0, 1e-150, 1e150])
def test_nilpotent_file_cannot_be_scaled_to_a_radius(strength: float, tmp_path: Path) -> None:
    """In a random basis the computed radius of a nilpotent matrix is rounding error, not a radius."""
    q = np.linalg.qr(np.random.RandomState(0).standard_normal((6, 6)))[0]
    square_zero = np.zeros((6, 6))
    square_zero[0, 3] = square_zero[1, 4] = strength
    for name, matrix in [("turned", q @ square_zero @ q.T), ("plain", square_zero)]:
        np.save(tmp_path / f"{name}.npy", matrix)
        entry = registry.build({"name": "file", "path": str(tmp_path / f"{name}.npy"), "radius": 1.0})
        with pytest.raises(
            UserMistake, match="radius: expected 0, or a matrix of 'file' of size 6 whose radius is not 0"
        ):
            entry.draw(6, 0, 0)
