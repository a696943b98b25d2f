"""Archives that grow, in parts, of other code, held by another run: what the program says and ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr
from command import TINY, Cli

from gradlab.api import open_archive
from gradlab.archive import store
from gradlab.archive.lock import writing
from gradlab.core import fingerprint

FINER = TINY.replace("[0.5, 3.0]", "[0.5, 1.0, 3.0]").replace('"identity"]', '"identity", "relu"]')
OTHER = TINY.replace("[0.5, 3.0]", "[1.0]")
REST = ("--workers", 1, "--no-figures")


@pytest.fixture
def specs(cli: Cli) -> Cli:
    Path("finer.toml").write_text(FINER)
    Path("other.toml").write_text(OTHER)
    assert cli("run", "tiny.toml", "-o", "a", *REST, "--quiet").exit_code == 0
    return cli


def digest(path: str) -> str:
    return str(json.loads((Path(path) / "manifest.json").read_text())["content_digest"])


def test_plan_and_run_say_how_many_cases_are_which(specs: Cli) -> None:
    text = specs("plan", "finer.toml", "--out", "a", "--workers", 1).stdout
    assert "a: 8 cases of 18 there already, 10 new." in text
    assert "a: its data are laid out anew first." in text
    table = json.loads(specs("plan", "finer.toml", "--out", "a", "--json").stdout)["archive"]
    assert (table["there"], table["new"], table["failed"], table["beside"]) == (8, 10, 0, 0)
    left, whole = (
        json.loads(specs("plan", "finer.toml", "--json", *more).stdout) for more in (("--out", "a"), ())
    )
    assert left["cases"] == whole["cases"]
    assert 0 < left["forward_passes"] < whole["forward_passes"]
    done = json.loads(specs("plan", "tiny.toml", "--out", "a", "--json").stdout)
    assert (done["blocks"], done["forward_passes"], done["lanes"], done["seconds"]) == (0, 0, 0, 0.0)
    assert "there is no archive yet: all cases are new" in specs("plan", "tiny.toml", "--out", "no").stdout
    result = specs("run", "finer.toml", "-o", "a", *REST)
    assert result.exit_code == 0
    assert "8 cases of 18 there already, 10 new." in result.stderr
    assert "10 cases measured" in result.stderr
    assert specs("run", "finer.toml", "-o", "whole", *REST).exit_code == 0
    assert digest("a") == digest("whole")


def test_nothing_is_dropped_but_by_prune(specs: Cli) -> None:
    assert "8 cases of other specs kept beside." in specs("plan", "other.toml", "--out", "a").stdout
    assert specs("run", "other.toml", "-o", "a", *REST).exit_code == 0
    assert (open_archive("a")["status"] == 1).sum() == 12
    pruned = specs("plan", "other.toml", "--out", "a", "--prune").stdout
    assert "8 cases dropped that are not in the spec." in pruned
    assert (open_archive("a")["status"] == 1).sum() == 12
    assert specs("run", "other.toml", "-o", "a", "--prune", *REST).exit_code == 0
    assert open_archive("a")["radius"].values.tolist() == [1.0]


def test_parts_are_merged_to_the_whole(specs: Cli) -> None:
    for part in (1, 2, 3):
        result = specs("run", "finer.toml", "-o", f"part-{part}", "--partition", f"{part}/3", *REST)
        assert result.exit_code == 0
    specs("run", "finer.toml", "-o", "whole", *REST)
    result = specs("merge", "part-3", "part-1", "--out", "some")
    assert result.exit_code == 0
    assert " of 18 in some, " in result.stderr
    assert "not run." in result.stderr
    result = specs("merge", "part-3", "part-1", "part-2", "--out", "merged", "--json")
    assert json.loads(result.stdout) == {"archive": "merged", "cases": 18, "there": 18, "failed": 0, "new": 0}
    assert digest("merged") == digest("whole")
    xr.testing.assert_identical(open_archive("merged").load(), open_archive("whole").load())
    assert specs("run", "finer.toml", "-o", "x", "--partition", "4/3", *REST).exit_code == 2
    wrong = ("--partition", "4/3", "--memory", "much", "--scheduler", "local:2", "--workers", 2)
    result = specs("run", "finer.toml", "-o", "x", *wrong)
    assert result.exit_code == 2
    told = [line.split()[1] for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert told == ["--memory:", "--partition:", "--scheduler:"]
    assert specs("merge", "part-1", "nowhere", "--out", "y").exit_code == 2
    assert not Path("y").exists()


def test_a_second_run_says_who_holds_the_archive(specs: Cli) -> None:
    with writing("a", ["gradlab", "run", "theirs.toml"]):
        result = specs("run", "finer.toml", "-o", "a", *REST)
        assert result.exit_code == 2
        assert "another run writes (process " in result.stderr
        assert "gradlab run theirs.toml" in result.stderr
        assert specs("show", "a").exit_code == 0
        assert specs("plan", "finer.toml", "--out", "a").exit_code == 0


def test_older_code_is_told_and_refused(specs: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fingerprint.code_key()
    assert "other numerical code" not in specs("show", "a").stdout
    for module in (fingerprint, store):
        monkeypatch.setattr(module, "code_key", lambda: "1" * 16)
    monkeypatch.setattr("gradlab.cli.contents.code_key", lambda: "1" * 16)
    assert "8 cases measured by other code than today's." in specs("plan", "finer.toml", "-o", "a").stdout
    shown = " ".join(specs("show", "a").stdout.split())
    assert f"Measured by other numerical code: 8 cases by {own}; today's is {'1' * 16}." in shown
    result = specs("run", "finer.toml", "-o", "a", *REST)
    assert result.exit_code == 2
    assert f"a: expected cases measured by the numerical code of today ({'1' * 16})" in result.stderr
    assert f"got 8 of 8 measured by other code, older or newer: 8 by {own}" in result.stderr
    assert "--accept-older-code" in result.stderr
    assert specs("run", "finer.toml", "-o", "a", "--accept-older-code", *REST).exit_code == 0
    table = json.loads(specs("show", "a", "--json").stdout)
    assert table["code"] == {own: 8, "1" * 16: 10}
    assert specs("run", "finer.toml", "-o", "fresh", *REST).exit_code == 0
    result = specs("merge", "a", "fresh", "--out", "both")
    assert result.exit_code == 2
    assert "the same numerical code" in result.stderr
