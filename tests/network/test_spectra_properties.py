"""Properties of matrices, masks, and the memory of what was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import OWN, cases, every_family

from gradlab.core.errors import UserMistake
from gradlab.core.memory import Memory
from gradlab.network.spectra import registry
from gradlab.network.spectra._base import _memory
from gradlab.network.spectra._measure import properties


@pytest.fixture(autouse=True)
def forgetful() -> None:
    _memory.clear()


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
    memory = Memory(3 * 80, lambda held: held[0])
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
