"""Cases measured again: the same bits, within the tolerance, or different, with the worst one named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gradlab
from gradlab.archive.manifest import seal
from gradlab.checking import verify
from gradlab.checking.replay import kernels

Rewritten = Callable[[Path, str, Callable[[np.ndarray], object]], None]


def test_all_cases_have_the_same_bits(sound: Path, sound_zip: Path) -> None:
    for path in (sound, sound_zip):
        found = verify(path, sample=None)
        assert found.verified
        again = found.replay
        assert again is not None
        assert (again.cases, again.of, again.strata, again.older) == (16, 16, 4, 0)
        names = set(gradlab.open_archive(path).data_vars) - {"case_key", "settings_key", "code_key"}
        assert {one.name for one in again.variables} == names
        assert all((one.identical, one.within, one.different) == (16, 0, 0) for one in again.variables)
        assert again.then == again.now


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_a_sample_has_cases_of_every_kind(sound: Path, count: int) -> None:
    found = verify(sound, sample=count)
    assert found.verified
    assert found.replay is not None
    assert found.replay.cases == count
    assert all(one.identical == count for one in found.replay.variables)


def test_more_than_there_are_is_all(sound: Path) -> None:
    found = verify(sound, sample=1000)
    assert found.replay is not None
    assert found.replay.cases == 16


def test_a_number_that_was_changed(whole: Path, rewritten: Rewritten) -> None:
    changed = []

    def change(values: np.ndarray) -> None:
        values[1, 0, 1, 0] += 0.25
        values[0, 1, 1, 1] += 0.125
        changed.append(float(values[1, 0, 1, 0]))

    rewritten(whole, "loss", change)
    assert verify(whole).verified  # nothing but measuring again can tell
    found = verify(whole, sample=None)
    assert not found.verified
    assert found.replay is not None
    worst = found.replay.variables[0]
    assert (worst.name, worst.identical, worst.within, worst.different) == ("loss", 14, 0, 2)
    apart = 0.25 / (1.0 + changed[0])
    assert worst.worst == pytest.approx(apart, rel=1e-12)
    assert worst.at == {"cell": "lstm", "radius": 0.5, "clip": "norm(0.5)", "replicate": 0}
    assert str(found.problems[0]).startswith(
        "loss: expected the same numbers within 1e-06, measured again, got others in 2 of 16 cases, by up to "
        f"{apart:.3g} at cell lstm, radius 0.5, clip norm(0.5), replicate 0"
    )


def test_the_last_bit_is_within_the_tolerance(whole: Path, rewritten: Rewritten) -> None:
    def change(values: np.ndarray) -> None:
        values[1, 0, 1, 0] = np.nextafter(values[1, 0, 1, 0], 1e9)

    rewritten(whole, "log10_gradient_norm", change)
    found = verify(whole, sample=None)
    assert found.verified
    assert found.replay is not None
    worst = found.replay.variables[0]
    assert (worst.name, worst.identical, worst.within, worst.different) == ("log10_gradient_norm", 15, 1, 0)
    assert 0 < worst.worst < 1e-12
    strict = verify(whole, sample=None, tolerance=0.0)
    assert not strict.verified


def test_a_case_that_is_called_failed_but_does_not_fail(whole: Path, rewritten: Rewritten) -> None:
    def change(values: np.ndarray) -> None:
        values[0, 0, 0, 1] = 4

    rewritten(whole, "status", change)
    found = verify(whole, sample=None)
    assert {problem.where for problem in found.problems} >= {"status"}


def test_both_environments_are_told(whole: Path) -> None:
    file = whole / "provenance.json"
    table = json.loads(file.read_text())
    table["runs"][-1]["libraries"]["numpy"] = "1.0"
    file.write_text(json.dumps(table))
    seal(whole)
    found = verify(whole, sample=1)
    assert found.replay is not None
    assert found.replay.then["numpy"] == "1.0"
    assert found.replay.now["numpy"] == np.__version__


def test_row_blocks_layers_and_directions_of_a_mixed_sweep(tmp_path: Path) -> None:
    spec = {
        "network": {"hidden": 3},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 4},
        "sweep": {
            "network.cell": ["elman", "gru"],
            "network.layers": [1, 2],
            "network.bidirectional": [False, True],
        },
    }
    gradlab.run(spec, tmp_path / "a")
    found = verify(tmp_path / "a", sample=None)
    assert found.verified, found.problems
    assert found.replay is not None
    assert {one.identical for one in found.replay.variables} == {8}


def test_cases_that_overflow_do_so_again(tmp_path: Path) -> None:
    spec = {
        "network": {"hidden": 3, "activation": "identity", "spectrum": {"name": "ginibre", "radius": 1e200}},
        "task": {"name": "noise", "features": 2, "batch": 2, "length": 9},
    }
    gradlab.run(spec, tmp_path / "a")
    found = verify(tmp_path / "a", sample=None)
    assert found.verified, found.problems
    assert found.cases is not None
    assert found.cases["overflowed"] == 1


@pytest.mark.parametrize(
    ("blas", "names"),
    [
        ("openblas 0.3.30 Haswell, openblas 0.3.31 Haswell", {"Haswell"}),
        ("openblas 0.3.30 Haswell, openblas 0.3.31 SkylakeX", {"Haswell", "SkylakeX"}),
        ("mkl 2026.0 None", set()),
        ("openblas 0.3.30 Has;well, openblas 0.3.30 $(x)", set()),
        ("", set()),
    ],
)
def test_kernels_are_plain_words(blas: str, names: set[str]) -> None:
    assert kernels({"blas": blas}) == names
