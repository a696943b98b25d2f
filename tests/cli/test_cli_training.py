"""``gradlab run`` of trainings: the archive, workers, kills in the middle of a block, replay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr
from command import Cli
from trainings import REST, SPEC, digest, killed, states_met

from gradlab.api import open_archive, run
from gradlab.measure.checkpoint import read_state


def test_the_archive_holds_what_a_run_in_memory_gives(cli: Cli, spec: Path) -> None:
    result = cli("run", spec, "-o", "a", "--workers", 1, "--no-figures")
    assert result.exit_code == 0, result.stderr
    assert "What became of the replicates" in result.stdout
    assert not Path("a/checkpoints").exists()
    memory, disk = run(spec), open_archive("a").load()
    xr.testing.assert_identical(disk.drop_attrs(deep=False), memory.drop_attrs(deep=False))
    assert dict(disk.sizes) == {"clip": 2, "rate": 2, "replicate": 2, "update": 4, "lag": 10, "predictor": 1}
    assert disk["update"].values.tolist() == [0, 2, 3, 5]
    assert (disk["status"] == 1).all()
    assert disk.attrs["measure"] == "train"
    assert disk.attrs["metric"] == "error_rate"
    clipped = disk["clip_active_share"]
    assert (clipped.sel(clip="off") == 0).all()
    assert (disk["loss"].isel(rate=0, update=-1) != disk["loss"].isel(rate=1, update=-1)).all()


def test_two_workers_give_the_same_archive(cli: Cli, spec: Path, whole: Path) -> None:
    assert cli("run", spec, "-o", "two", "--workers", 2, *REST).exit_code == 0
    assert digest("two") == digest(whole)
    assert not Path("two/checkpoints").exists()


def test_replay_gives_identical_bits(cli: Cli, whole: Path) -> None:
    result = cli("verify", whole, "--replay", "all")
    assert result.exit_code == 0, result.stdout
    assert "Measured again: 8 of 8 cases" in result.stdout
    assert "Every number has the same bits." in result.stdout
    assert "verified (" in result.stdout


@pytest.mark.parametrize("saves", [1, 4])
def test_a_run_that_is_killed_goes_on_to_the_same_bits(
    saves: int, cli: Cli, spec: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spec, "a", saves)
    (path,) = Path("a/checkpoints").glob("*.npz")
    state = read_state(path)
    assert state is not None
    assert state["done"].tolist() == [saves] * 8, "all eight are one block"
    assert not (open_archive("a")["status"] == 1).any()
    met = states_met(monkeypatch)
    result = cli("run", spec, "-o", "a", "--workers", 1, *REST)
    assert result.exit_code == 0, result.stderr
    assert met == [[saves] * 8]
    assert not Path("a/checkpoints").exists()
    assert digest("a") == digest(whole)
    xr.testing.assert_identical(open_archive("a").load(), open_archive(whole).load())
    assert "verified (" in cli("verify", "a").stdout


def test_killed_with_one_worker_and_continued_with_two(cli: Cli, spec: Path, whole: Path) -> None:
    killed(spec, "a", 5)
    assert cli("run", spec, "-o", "a", "--workers", 2, *REST).exit_code == 0
    assert digest("a") == digest(whole)
    assert not Path("a/checkpoints").exists()
    assert cli("verify", "a").exit_code == 0


def test_killed_twice(cli: Cli, spec: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(spec, "a", 2)
    killed(spec, "a", 2)
    met = states_met(monkeypatch)
    assert cli("run", spec, "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert met == [[4] * 8]
    assert digest("a") == digest(whole)


def test_a_damaged_state_is_not_used(
    cli: Cli, spec: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spec, "a", 3)
    (path,) = Path("a/checkpoints").glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))
    met = states_met(monkeypatch)
    assert cli("run", spec, "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert met == [None]
    assert digest("a") == digest(whole)
    assert not Path("a/checkpoints").exists()


def test_another_training_does_not_go_on_from_it(
    cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spec, "a", 3)
    Path("other.toml").write_text(SPEC.replace("rate = 0.01", "rate = 0.01, beta1 = 0.8"))
    met = states_met(monkeypatch)
    assert cli("run", "other.toml", "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert met == [None]
    assert not Path("a/checkpoints").exists()
    assert cli("verify", "a").exit_code == 0


def test_a_folder_for_states_that_cannot_be_made_is_one_message(cli: Cli, spec: Path, whole: Path) -> None:
    killed(spec, "a", 1)
    shutil.rmtree("a/checkpoints")
    Path("a/checkpoints").write_text("in the way")
    result = cli("run", spec, "-o", "a", "--workers", 1, *REST)
    assert result.exit_code == 2
    assert "a/checkpoints: expected a folder that can be made, got File exists" in result.stderr
    Path("a/checkpoints").unlink()
    assert cli("run", spec, "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert digest("a") == digest(whole)


def test_a_wider_spec_trains_only_what_is_new(cli: Cli, spec: Path) -> None:
    assert cli("run", spec, "-o", "a", "--workers", 1, *REST).exit_code == 0
    wider = SPEC.replace("[0.001, 0.1]", "[0.001, 0.01, 0.1]")
    Path("wider.toml").write_text(wider)
    result = cli("run", "wider.toml", "-o", "a", "--workers", 1, "--no-figures")
    assert result.exit_code == 0, result.stderr
    assert "8 cases of 12 there already, 4 new." in result.stderr
    assert cli("run", "wider.toml", "-o", "b", "--workers", 1, *REST).exit_code == 0
    assert digest("a") == digest("b")


def test_what_simple_predictors_reach_is_told_once_where_it_is_one_number(cli: Cli, spec: Path) -> None:
    told = "What simple predictors reach in the same metric: constant 0.75."
    result = cli("run", spec, "-o", "a", "--workers", 1, "--no-figures")
    assert result.stdout.count(told) == 1
    assert cli("show", "a").stdout.count(told) == 1
    many = SPEC.replace('clip = ["off", { name = "norm", threshold = 0.5 }]', '"task.bits" = [2, 3]')
    Path("many.toml").write_text(many)
    result = cli("run", "many.toml", "-o", "b", "--workers", 1, "--no-figures")
    assert "What simple predictors" not in result.stdout
    (heading,) = [line for line in result.stdout.splitlines() if "cases" in line and "constant" in line]
    column = heading.index("constant") + len("constant") - 1
    found = [
        line.split()[-1]
        for line in result.stdout.splitlines()
        if len(line) > column and "0." in line[column - 5 :]
    ]
    assert sorted(found) == ["0.75", "0.75", "0.875", "0.875"]


CARRIED = """
measure = "train"
replicates = 2
[network]
hidden = 3
[task]
name = "characters"
file = "text.txt"
length = 6
batch = 2
[training]
updates = 6
records = 4
evaluate = 5
[sweep]
"training.carry_state" = [false, true]
"""


def test_states_carried_over_survive_a_kill_and_are_an_axis(cli: Cli, spec: Path) -> None:
    Path("text.txt").write_text("it was so and so it was, and so on it went; " * 4)
    Path("on.toml").write_text(CARRIED)
    assert cli("run", "on.toml", "-o", "whole", "--workers", 1, *REST).exit_code == 0
    killed(Path("on.toml"), "a", 9)
    assert cli("run", "on.toml", "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert digest("a") == digest("whole")
    ds = open_archive("whole").load()
    assert ds["carry_state"].values.tolist() == ["false", "true"]
    assert (ds["loss"].isel(carry_state=0) != ds["loss"].isel(carry_state=1)).any()
    # without it the key is what it was before there was such a setting
    plain = CARRIED.replace('[sweep]\n"training.carry_state" = [false, true]\n', "")
    Path("plain.toml").write_text(plain)
    assert cli("run", "plain.toml", "-o", "b", "--workers", 1, *REST).exit_code == 0
    keys = open_archive("b")["settings_key"].values
    assert (keys == ds["settings_key"].isel(carry_state=0).values).all()
    refused = CARRIED.replace('name = "characters"\nfile = "text.txt"\n', 'name = "noise"\n')
    Path("refused.toml").write_text(refused)
    result = cli("run", "refused.toml", "-o", "c", *REST)
    assert result.exit_code == 2
    assert "training.carry_state: expected false for a task whose sequences do not go on" in result.stderr
    assert not Path("c").exists()
