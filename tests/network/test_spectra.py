"""The contract of spectrum families, over the whole catalogue."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from spectra import SIZES, VARIANTS, cases, every_family, is_zero

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.core.streams import canonical
from gradlab.network.spectra import AbstractSpectrum, registry
from gradlab.network.spectra._base import _memory
from gradlab.network.spectra._measure import properties


@pytest.fixture(autouse=True)
def forgetful() -> None:
    _memory.clear()


# --- the checks; each takes a table, so that the suite can be shown to fail --------------------------


def check_properties(table: dict[str, Any]) -> None:
    """What is reported of a matrix is what it is, by another algorithm; a scaling gives what it says."""
    for entry, size, way, wanted in cases(table):
        drawn = entry.draw(size, 3, 1)
        matrix = drawn.matrix
        assert matrix.shape == (size, size)
        assert matrix.dtype == np.float64
        assert np.isfinite(matrix).all()
        if way in ("radius", "norm"):
            assert getattr(drawn, way) == wanted
        eigenvalues = np.linalg.eigvals(matrix)
        # Eigenvalues of matrices far from normal are ill-conditioned, those of nearly nilpotent ones most.
        rtol = 1e-11 if drawn.henrici_departure < 0.3 else 1e-6
        np.testing.assert_allclose(np.abs(eigenvalues).max(), drawn.radius, rtol=rtol, atol=1e-300)
        np.testing.assert_allclose(
            np.linalg.svd(matrix, compute_uv=False)[0], drawn.norm, rtol=1e-12, atol=1e-300
        )
        square = np.sum(matrix**2)
        departure = np.sqrt(max(square - np.sum(np.abs(eigenvalues) ** 2), 0.0) / square) if square else 0.0
        np.testing.assert_allclose(departure, drawn.henrici_departure, rtol=1e-6, atol=1e-6)  # it cancels


def check_normal(table: dict[str, Any]) -> None:
    """A family that claims to be normal commutes with its transpose; radius and norm agree."""
    if not registry.get(table["name"]).normal:
        return
    for entry, size, _, _ in cases(table):
        drawn = entry.draw(size, 3, 1)
        w = drawn.matrix
        assert np.linalg.norm(w @ w.T - w.T @ w) <= 1e-13 * np.sum(w**2)
        np.testing.assert_allclose(drawn.radius, drawn.norm, rtol=1e-12, atol=0)
        assert drawn.henrici_departure <= 1e-13


def check_exact_radius(table: dict[str, Any]) -> None:
    """Every wanted radius is had to rounding; a family without one refuses."""
    entry = registry.get(table["name"])
    assert entry.exact_radius == ("radius" in entry.scalings)
    if not entry.exact_radius:
        with pytest.raises(UserMistake, match=rf"spectrum\.radius: expected '{entry.name}' to be scaled by"):
            registry.build({**table, "radius": 1.0})
        return
    for wanted in (0.0, 1e-200, 0.3, 1.0, 1e200):
        drawn = registry.build({**table, "radius": wanted}).draw(16, 0, 0)
        measured = np.abs(np.linalg.eigvals(drawn.matrix)).max()
        rtol = 1e-11 if drawn.henrici_departure < 0.3 else 1e-6
        np.testing.assert_allclose([drawn.radius, measured], wanted, rtol=rtol, atol=0)


def check_proportional(table: dict[str, Any]) -> None:
    """Two scalings of one family are the same matrix, multiplied."""
    for size in SIZES:
        if is_zero(table, size):
            continue
        drawn = [entry.draw(size, 5, 2) for entry, n, _, _ in cases(table) if n == size]
        drawn += [
            registry.build({**settings_of(entry), way: 1.9}).draw(size, 5, 2)
            for entry, n, way, _ in cases(table)
            if n == size
        ]
        for other in drawn[1:]:
            factor = other.norm / drawn[0].norm
            np.testing.assert_allclose(other.matrix, factor * drawn[0].matrix, rtol=2e-15, atol=0)
            np.testing.assert_allclose(other.radius, factor * drawn[0].radius, rtol=2e-15, atol=0)
            assert other.henrici_departure == drawn[0].henrici_departure


def check_pure(table: dict[str, Any]) -> None:
    """Numbers depend on seed, replicate, part and size, each, and on nothing that was done before."""
    entry, size, _, _ = next(case for case in cases(table, [16]))
    first = entry.draw(size, 1, 2)
    others = [entry.draw(size, *key) for key in [(0, 2), (1, 0), (1, 2, "forget_gate")]]
    assert all(np.array_equal(first.matrix, other.matrix) == entry.deterministic for other in others)
    again = entry.draw(size, 1, 2)
    assert np.array_equal(first.matrix, again.matrix), "remembered"
    again.matrix[...] = 0.0
    _memory.clear()
    np.random.seed(0)  # noqa: NPY002  # the global generator must not matter
    for other in VARIANTS[:4]:
        next(case for case in cases(other, [16]))[0].draw(16, 1, 2)
    entry.draw(size - 1, 1, 2)
    anew = entry.draw(size, 1, 2)
    assert np.array_equal(first.matrix, anew.matrix), "drawn anew"
    assert (first.radius, first.norm, first.henrici_departure) == (
        anew.radius,
        anew.norm,
        anew.henrici_departure,
    )


def check_law_radius(table: dict[str, Any]) -> None:
    """At gain 1 the radius of a large matrix is what the law says."""
    entry = registry.get(table["name"])
    if entry.law_radius is None:
        return
    table = {**table, "connections": 15} if "connections" in table else table
    drawn = registry.build({**table, "gain": 1.0}).draw(400, 0, 0)
    np.testing.assert_allclose(drawn.radius, entry.law_radius, rtol=0.1)
    np.testing.assert_allclose(drawn.matrix.std() * np.sqrt(400), 1.0, rtol=0.02)


def check_scaling_settings(table: dict[str, Any]) -> None:
    """Exactly one of the claimed scalings; negative, NaN, several, unfit or none is one clear message."""
    entry = registry.get(table["name"])
    ways = entry.scalings
    for way in ways:
        for bad in (-1.0, float("nan"), float("inf")):
            with pytest.raises(
                UserMistake, match=rf"spectrum\.{way}: expected a finite number of at least 0"
            ):
                registry.build({**table, way: bad})
    for way in {"radius", "norm", "gain"} - set(ways):
        with pytest.raises(
            UserMistake, match=rf"spectrum\.{way}: .*scaled by .*{way} = 1\.0\. {re.escape(entry.why)}"
        ):
            registry.build({**table, way: 1.0})
    if len(ways) > 1:
        with pytest.raises(
            UserMistake, match=rf"spectrum\.{ways[1]}: expected .* one of .*got {ways[0]} and {ways[1]}"
        ):
            registry.build({**table, ways[0]: 1.0, ways[1]: 1.0})
    if entry.unscaled:
        assert registry.build(table).draw(16, 0, 0).norm > 0
    else:
        with pytest.raises(UserMistake, match=rf"spectrum\.{ways[0]}: expected .*, got none\. "):
            registry.build(table)


def check_round_trip(table: dict[str, Any]) -> None:
    """Settings build the same entry again; the identity is plain; the law does not know the scaling."""
    for entry, _, way, _ in cases(table, [16]):
        assert registry.build(settings_of(entry)) == entry
        assert pickle.loads(pickle.dumps(entry)) == entry
        other = registry.build({**settings_of(entry), way: 1.9})
        assert canonical(entry.law_settings()) == canonical(other.law_settings())
        assert canonical(entry.identity()) != canonical(other.identity())


CHECKS = [
    check_properties,
    check_normal,
    check_exact_radius,
    check_proportional,
    check_pure,
    check_law_radius,
    check_scaling_settings,
    check_round_trip,
]


@every_family
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[dict[str, Any]], None], table: dict[str, Any]) -> None:
    check(table)


def test_every_family_is_under_contract() -> None:
    assert {table["name"] for table in VARIANTS} | {"file"} == set(registry.names())


# --- negative control --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Impostor(AbstractSpectrum):
    """Wrong on purpose, in every claim."""

    name: ClassVar[str] = "impostor"
    scalings: ClassVar[tuple[str, ...]] = ("norm", "gain")
    why: ClassVar[str] = ""
    normal: ClassVar[bool] = True
    exact_radius: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    law_radius: ClassVar[float | None] = 2.0

    def __post_init__(self) -> None:
        """Accept everything."""

    def law_settings(self) -> dict[str, Any]:
        return self.identity()

    def law(self, size: int, stream: np.random.RandomState) -> np.ndarray:
        matrix = stream.standard_normal((size, size)) / np.sqrt(size)
        return matrix * (2.0 if self.norm is None else 1.0) + (0.01 if self.norm == 1.9 else 0.0)


@pytest.mark.parametrize(
    "check", [c for c in CHECKS if c is not check_properties], ids=lambda check: check.__name__
)
def test_wrong_family_fails_every_check(
    check: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._load(), "impostor", Impostor)
    with pytest.raises((AssertionError, UserMistake, pytest.fail.Exception)):
        check({"name": "impostor"})


def test_wrong_properties_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = type(properties(np.eye(2)))(1.0, 1.0, 0.5)
    monkeypatch.setattr("gradlab.network.spectra._base.properties", lambda matrix: wrong)
    with pytest.raises(AssertionError):
        check_properties({"name": "ginibre"})
