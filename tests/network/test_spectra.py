"""The contract of spectrum families, over the whole catalogue, and the laws they are named after."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.core.streams import canonical
from gradlab.network.spectra import AbstractSpectrum, registry
from gradlab.network.spectra._base import _memory
from gradlab.network.spectra._measure import properties
from gradlab.network.spectra._memory import Memory

SIZES = [1, 2, 3, 16, 33]
OWN = np.array([[0.5, -2.0, 0.0], [0.0, 0.25, 1.0], [3.0, 0.0, -0.125]])
# Settings under which a family has a matrix of every size; most need none.
VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in registry.names() if name not in ("sparse", "file")),
    {"name": "sparse", "connections": 1},
    {"name": "normal", "eigenvalues": "disc"},
    {"name": "nonnormal", "eigenvalues": "disc", "feed_forward": 3.0},
    {"name": "nonnormal", "feed_forward": 0.0},
    {"name": "singular", "spread": 1.0},
    {"name": "singular", "spread": 0.0},
    {"name": "heavy_tailed", "nu": 1.0},
    {"name": "heavy_tailed", "nu": 0.5},
    {"name": "low_rank", "noise": 0.0},
]
every_family = pytest.mark.parametrize(
    "table", VARIANTS, ids=lambda table: "-".join(map(str, table.values()))
)


@pytest.fixture(autouse=True)
def forgetful() -> None:
    _memory.clear()


def cases(table: dict[str, Any], sizes: list[int] = SIZES) -> list[tuple[AbstractSpectrum, int, str, float]]:
    """Return (entry, size, scaling, wanted) for every scaling a family claims, where it is possible."""
    entry = registry.get(table["name"])
    found = [
        (registry.build({**table, way: 0.7}), size, way, 0.7) for way in entry.scalings for size in sizes
    ]
    return [case for case in found if not (is_zero(table, case[1]) and case[2] in ("radius", "norm"))]


def is_zero(table: dict[str, Any], size: int) -> bool:
    return size == 1 and table["name"] in ("antisymmetric", "delay_line")


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


# --- laws --------------------------------------------------------------------------------------------


def draw(name: str, size: int, replicate: int = 0, **settings: Any) -> np.ndarray:
    return registry.build({"name": name, **settings}).draw(size, 11, replicate).matrix


def test_ginibre_fills_the_disc_evenly() -> None:
    moduli = np.abs(np.linalg.eigvals(draw("ginibre", 400, gain=1.0)))
    np.testing.assert_allclose([np.mean(moduli**2), np.mean(moduli < 0.5)], [0.5, 0.25], rtol=0.1)


def test_orthogonal_is_haar() -> None:
    """Moments of the trace: tr Q has mean 0 and variance 1, tr Q^2 has mean 1 (n >= 2)."""
    draws = [draw("orthogonal", 5, k, radius=1.0) for k in range(1200)]
    traces = np.array([np.trace(q) for q in draws])
    squares = np.array([np.trace(q @ q) for q in draws])
    assert all(np.abs(q @ q.T - np.eye(5)).max() < 1e-14 for q in draws)
    assert abs(traces.mean()) < 4 / np.sqrt(1200)
    assert abs(np.mean(traces**2) - 1.0) < 4 * np.sqrt(2.0 / 1200)
    assert abs(squares.mean() - 1.0) < 4 * squares.std() / np.sqrt(1200)
    firsts = np.array([q[0, 0] for q in draws])  # without the sign correction it has one sign only
    np.testing.assert_allclose(np.mean(firsts > 0), 0.5, atol=4 * 0.5 / np.sqrt(1200))
    np.testing.assert_allclose(np.mean(firsts**2), 1 / 5, rtol=0.15)
    np.testing.assert_allclose(np.mean([np.linalg.det(q) > 0 for q in draws]), 0.5, atol=0.06)


@pytest.mark.parametrize("name", ["symmetric", "antisymmetric"])
def test_semicircle(name: str) -> None:
    w = draw(name, 400, gain=1.0)
    assert np.array_equal(w.T, w if name == "symmetric" else -w)
    levels = np.linalg.eigvalsh(w if name == "symmetric" else 1j * w)
    np.testing.assert_allclose([levels.min(), levels.max()], [-2.0, 2.0], rtol=0.05)
    np.testing.assert_allclose([np.mean(levels**2), np.mean(levels**4)], [1.0, 2.0], rtol=0.05)


@pytest.mark.parametrize("size", [1, 6, 7])
def test_normal_ring_lies_on_the_circle(size: int) -> None:
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(draw("normal", size, radius=0.9))), 0.9, rtol=1e-13)


def test_normal_disc_is_uniform() -> None:
    moduli = np.abs(np.linalg.eigvals(draw("normal", 401, eigenvalues="disc")))
    assert moduli.max() <= 1.0
    np.testing.assert_allclose(np.mean(moduli**2), 0.5, rtol=0.12)


@pytest.mark.parametrize("name", ["normal", "nonnormal"])
def test_listed_eigenvalues_are_had(name: str) -> None:
    listed = [0.5, [0.3, 0.4], -0.25, [0.9, 0]]
    wanted = np.array([0.5, 0.3 + 0.4j, 0.3 - 0.4j, -0.25, 0.9])
    matrix = draw(name, 5, eigenvalues=listed)
    np.testing.assert_allclose(
        np.sort_complex(np.linalg.eigvals(matrix)), np.sort_complex(wanted), rtol=1e-10
    )
    scaled = draw(name, 5, eigenvalues=listed, radius=1.8)
    np.testing.assert_allclose(scaled, 2.0 * matrix, rtol=1e-9)


def test_nonnormal_grows_before_it_decays() -> None:
    w = draw("nonnormal", 64, radius=0.9, feed_forward=2.0)
    powers = [np.linalg.norm(np.linalg.matrix_power(w, k), 2) for k in range(1, 400)]
    assert max(powers) > 10.0
    assert powers[-1] < 1e-3


def test_feed_forward_is_relative_and_orders_the_departure() -> None:
    departures = [
        registry.build({"name": "nonnormal", "feed_forward": f, "radius": r}).draw(32, 0, 0).henrici_departure
        for f in (0.0, 0.5, 1.0, 4.0)
        for r in (0.5, 2.0)
    ]
    assert departures[::2] == departures[1::2]
    assert departures[0] < 1e-13
    assert departures[::2] == sorted(departures[::2])
    assert departures[-1] > 0.9


def test_singular_values_are_spread_as_said() -> None:
    values = np.linalg.svd(draw("singular", 9, spread=0.25), compute_uv=False)
    np.testing.assert_allclose(values, np.linspace(1.25, 0.75, 9), rtol=1e-13)
    assert draw("singular", 1, spread=0.25) in (-1.0, 1.0)


def test_delay_line_is_a_chain_that_ends() -> None:
    w = draw("delay_line", 5, norm=0.5)
    assert np.array_equal(w, 0.5 * np.eye(5, k=-1))
    assert np.linalg.norm(np.linalg.matrix_power(w, 4), 2) == 0.5**4
    assert not np.linalg.matrix_power(w, 5).any()
    drawn = registry.build({"name": "delay_line", "norm": 2.0}).draw(64, 0, 0)
    assert (drawn.radius, drawn.norm, drawn.henrici_departure) == (0.0, 2.0, 1.0)


def test_sparse_rows_have_their_connections() -> None:
    w = draw("sparse", 60, gain=1.0, connections=7)
    assert (np.count_nonzero(w, axis=1) == 7).all()
    assert np.count_nonzero(w.any(axis=0)) > 50, "columns are chosen at random"
    full = draw("sparse", 40, gain=1.0, connections=40)
    assert np.count_nonzero(full) == 1600


def test_heavy_tails() -> None:
    with_variance = np.abs(draw("heavy_tailed", 300, gain=1.0, nu=5.0)) * np.sqrt(300)
    np.testing.assert_allclose(np.sqrt(np.mean(with_variance**2)), 1.0, rtol=0.03)
    cauchy = np.abs(draw("heavy_tailed", 300, gain=2.0, nu=1.0)) * np.sqrt(300)
    np.testing.assert_allclose(np.median(cauchy), 2.0, rtol=0.03)  # the scale parameter of a Cauchy law
    assert cauchy.max() > 1e3


def test_low_rank_has_its_rank() -> None:
    values = np.linalg.svd(draw("low_rank", 50, gain=1.0, rank=3, noise=0.0), compute_uv=False)
    assert values[2] > 1.0
    assert values[3] < 1e-12
    noisy = np.linalg.svd(draw("low_rank", 50, gain=1.0, rank=3, noise=0.5), compute_uv=False)
    assert noisy[3] > 0.1
    np.testing.assert_allclose(
        draw("low_rank", 300, gain=1.0, rank=40, noise=1.0).std() * np.sqrt(300), 1.0, rtol=0.05
    )


def test_constant_is_all_ones() -> None:
    assert np.array_equal(draw("constant", 3, value=1.0), np.ones((3, 3)))
    np.testing.assert_allclose(draw("constant", 4, radius=1.0), np.full((4, 4), 0.25), rtol=1e-15)


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


# --- properties and memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-290, 1e-100, 1.0, 1e100, 1e290])
def test_properties_do_not_depend_on_the_range(scale: float) -> None:
    exact = properties(OWN)
    found = properties(OWN * scale)
    np.testing.assert_allclose(
        [found.radius, found.norm], [exact.radius * scale, exact.norm * scale], rtol=1e-13, atol=0
    )
    np.testing.assert_allclose(found.henrici_departure, exact.henrici_departure, rtol=1e-13)


def test_properties_of_a_known_matrix() -> None:
    """[[a, b], [c, a]]: eigenvalues a +- i sqrt(-bc), departure |b + c|/||W||_F."""
    found = properties(np.array([[3.0, 8.0], [-2.0, 3.0]]))
    np.testing.assert_allclose(
        [found.radius, found.henrici_departure], [5.0, 6.0 / np.sqrt(86.0)], rtol=1e-14
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**6))
def test_departure_is_the_definition(size: int, seed: int) -> None:
    matrix = np.random.RandomState(seed).standard_normal((size, size))
    square, moduli = np.sum(matrix**2), np.abs(np.linalg.eigvals(matrix))
    defined = max(square - np.sum(moduli**2), 0.0) / square
    np.testing.assert_allclose(properties(matrix).henrici_departure ** 2, defined, rtol=1e-9, atol=1e-12)


# --- masks -------------------------------------------------------------------------------------------

UPPER = np.kron(np.triu(np.ones((4, 4))), np.ones((4, 4))).astype(bool)


@every_family
def test_a_masked_matrix_has_exactly_what_was_asked_for(table: dict[str, Any]) -> None:
    """Zeros stand elsewhere before anything is scaled; the family's own zeros may leave nothing to scale."""
    checked = 0
    for entry, size, way, wanted in cases(table, [16]):
        whole = entry.draw(size, 3, 1)
        try:
            drawn = entry.draw(size, 3, 1, mask=UPPER)
        except UserMistake as mistake:
            assert "cannot be scaled up" in str(mistake)  # noqa: PT017  # it may be raised or not
            continue
        checked += 1
        assert not drawn.matrix[~UPPER].any()
        held = UPPER & (whole.matrix != 0)
        ratio = drawn.matrix[held] / whole.matrix[held]
        np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-13, atol=0)
        known = properties(drawn.matrix)
        for name in ("radius", "norm"):
            np.testing.assert_allclose(getattr(drawn, name), getattr(known, name), rtol=1e-9, atol=0)
        assert way not in ("radius", "norm") or getattr(drawn, way) == wanted
    assert checked


def test_the_memory_knows_masks_apart() -> None:
    entry = registry.build({"name": "ginibre", "radius": 0.9})
    first = [entry.draw(16, 0, 0, mask=mask).matrix for mask in (None, UPPER, UPPER.T, np.ones_like(UPPER))]
    np.testing.assert_array_equal(first[0], first[3])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])
    np.testing.assert_array_equal(entry.draw(16, 0, 0, mask=UPPER.copy()).matrix, first[1])
    _memory.clear()
    np.testing.assert_array_equal(entry.draw(16, 0, 0, mask=UPPER).matrix, first[1])


def test_a_mask_that_leaves_nothing_to_scale_is_refused() -> None:
    """A strictly upper triangular matrix is nilpotent: it has no radius, but a norm."""
    above = np.triu(np.ones((8, 8), dtype=bool), 1)
    with pytest.raises(UserMistake, match=r"radius: expected 0, or a matrix .* whose radius is not 0"):
        registry.build({"name": "ginibre", "radius": 1.0}).draw(8, 0, 0, mask=above)
    drawn = registry.build({"name": "ginibre", "norm": 1.0}).draw(8, 0, 0, mask=above)
    assert drawn.radius == pytest.approx(0.0, abs=1e-12)  # the eigenvalues of a triangle are its diagonal
    assert drawn.norm == 1.0


def test_memory_is_bounded_and_never_changes_a_result() -> None:
    memory = Memory(bound=3 * 80)
    made: list[int] = []

    def get(key: int) -> float:
        def make() -> tuple[np.ndarray, Any]:
            made.append(key)
            return np.full(10, float(key)), properties(np.eye(1))

        return float(memory.get(key, make)[0][0])

    assert [get(key) for key in (1, 2, 3, 1, 4, 1, 2)] == [1, 2, 3, 1, 4, 1, 2]
    assert made == [1, 2, 3, 4, 2], "the least recently used is forgotten"


def test_one_matrix_serves_a_whole_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(
        "gradlab.network.spectra._base.properties", lambda matrix: calls.append(1) or properties(matrix)
    )
    for radius in np.linspace(0.5, 1.5, 21):
        registry.build({"name": "ginibre", "radius": radius}).draw(8, 0, 0)
    assert len(calls) == 1
