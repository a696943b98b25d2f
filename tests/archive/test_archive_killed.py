"""Runs stopped in earnest; `python -m tests.killing` tries many more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import killing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and drops capabilities")
LENGTH = 20


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return killing.bench_in(tmp_path_factory.mktemp("bench"), LENGTH)


@pytest.mark.parametrize("seed", [1, pytest.param(range(2, 4), marks=[pytest.mark.slow, pytest.mark.long])])
def test_whatever_stops_a_run_the_same_command_ends_it_with_the_same_bytes(tmp_path, bench, seed):
    for number, one in enumerate([seed] if isinstance(seed, int) else seed):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        counts, faults = killing.trials(bench, folder, 3, one)
        assert faults == []
        assert counts


def test_the_trial_sees_a_wrong_number_and_a_wrong_byte(tmp_path, bench):
    """A control: what a trial compares is not always equal."""
    import shutil

    import zarr

    shutil.copytree(bench.folder / "whole run", tmp_path / "a")
    killing.check_between(bench, tmp_path / "a")
    zarr.open_group(tmp_path / "a" / "data.zarr", mode="r+")["loss"][0, 0, 0, 0] += 1e-9
    with pytest.raises(killing.Fault, match="other numbers"):
        killing.check_between(bench, tmp_path / "a")
    assert killing.content(tmp_path / "a") != bench.whole
