"""Some two hundred mutated specs and archives; `python -m tests.fuzz` tries as many as it is told."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("needs alarms", allow_module_level=True)

import fuzz


def test_mutated_specs() -> None:
    ends, faults = fuzz.specs(120)
    assert faults == []
    assert sum(ends.values()) == 120
    assert {"measured", "planned", "refused"} <= set(ends)


def test_mutated_archives() -> None:
    ends, faults = fuzz.archives(80)
    assert faults == []
    assert sum(ends.values()) == 80
    assert {"directory: not verified", "hostile zip: not verified"} <= set(ends)


def test_a_traceback_and_a_hang_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)

    def hang(rng: object) -> str:
        while True:
            pass

    def fall(rng: object) -> str:
        raise KeyError("x")

    assert "a hang" in fuzz.campaign("x", hang, range(1), 0)[1][0]
    assert "KeyError" in fuzz.campaign("x", fall, range(1), 0)[1][0]
