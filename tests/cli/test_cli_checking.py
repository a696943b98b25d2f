"""``gradlab verify``, ``diff``, ``pack`` and ``export``; packed archives where directories are taken."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import TINY, Cli

import gradlab
from gradlab.experiment.worker import linear_algebra

Program = Callable[..., subprocess.Popen[str]]
#: The test needs two sets of kernels that this processor can run: those of 2008 and of 2013.
OTHER_LINEAR_ALGEBRA = not (
    {pool["internal_api"] for pool in linear_algebra()} == {"openblas"}
    and "X86_V3" in np.show_config(mode="dicts")["SIMD Extensions"]["found"]
)


@pytest.fixture
def packed(cli: Cli, archive: Path) -> Path:
    result = cli("pack", archive, "--out", "tiny.zip", "--author", "Ada", "--date", "2026-01-31", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["file"] == "tiny.zip"
    return Path("tiny.zip")


def test_verify_says_verified(cli: Cli, archive: Path, packed: Path) -> None:
    for path in (archive, packed):
        result = cli("verify", path)
        assert result.exit_code == 0
        assert f"{path}: verified (" in result.stdout.replace("\n", "")
        assert "keys of 8 cases computed again" in result.stdout.replace("\n", " ")
        assert cli("verify", path, "--quiet").stdout == ""


def test_verify_names_what_is_wrong_and_ends_with_1(cli: Cli, archive: Path) -> None:
    shutil.copytree(archive, "copy")
    file = Path("copy/data.zarr/loss/c.0.0.0")
    file.write_bytes(file.read_bytes()[:-1])
    Path("copy/\x1b[31mred [bold]").write_text("surplus")
    result = cli("verify", "copy")
    assert result.exit_code == 1
    assert f"{file}: expected" in result.stdout
    assert "copy: NOT verified" in result.stdout
    assert "\x1b" not in result.stdout
    assert "?[31mred [bold]: expected no file" in result.stdout
    table = json.loads(cli("verify", "copy", "--json").stdout)
    assert table["verified"] is False
    assert {problem["where"] for problem in table["problems"]} >= {str(file)}


def test_replay_shows_every_variable_and_both_environments(cli: Cli, packed: Path) -> None:
    text = cli("verify", packed, "--replay", "all").stdout
    assert "Measured again: 8 of 8 cases, of 2 kinds" in text
    assert "Every number has the same bits." in text
    table = json.loads(cli("verify", packed, "--replay", 3, "--json").stdout)
    assert table["replay"]["cases"] == 3
    assert table["replay"]["then"]["numpy"] == table["replay"]["now"]["numpy"]
    for wrong in ("some", "-1", "1e3"):
        assert cli("verify", packed, "--replay", wrong).exit_code == 2


def test_verify_of_nothing_is_a_mistake(cli: Cli) -> None:
    result = cli("verify", "none")
    assert result.exit_code == 2
    assert "nothing: there is no such directory" in result.stderr


def test_diff_tells_equal_from_not(cli: Cli, archive: Path, packed: Path) -> None:
    result = cli("diff", archive, packed)
    assert (result.exit_code, result.stdout.strip().rpartition("\n")[2]) == (0, "Equal.")
    Path("more.toml").write_text(TINY.replace("replicates = 2", "replicates = 3"))
    assert cli("run", "more.toml", "--out", "more", "--quiet", "--no-figures", "--workers", 1).exit_code == 0
    result = cli("diff", packed, "more")
    assert result.exit_code == 1
    one = "radius 0.5, activation tanh, replicate 2"
    for part in ("replicates", "4 cases only in more:", one, "8 cases in both"):
        assert part in result.stdout
    table = json.loads(cli("diff", packed, "more", "--json").stdout)
    assert table["equal"] is False
    assert table["settings"] == {"replicates": [2, 3]}
    assert [len(one) for one in table["only"]] == [0, 4]
    assert table["common"] == 8
    assert cli("diff", packed, "none").exit_code == 2
    assert cli("diff", packed, "more", "--quiet").stdout == ""


def test_show_and_plot_take_a_packed_archive(cli: Cli, archive: Path, packed: Path) -> None:
    ours, theirs = (json.loads(cli("show", path, "--json").stdout) for path in (archive, packed))
    apart = ("archive", "figures")
    assert {k: v for k, v in ours.items() if k not in apart} == {
        k: v for k, v in theirs.items() if k not in apart
    }
    assert "Of 8 cases" in cli("show", packed).stdout
    assert cli("plot", packed, "profile", "--format", "png").exit_code == 0
    assert Path("tiny-figures/profile.png").is_file()


@pytest.mark.parametrize("to", ["netcdf", "csv"])
def test_export(cli: Cli, packed: Path, to: str) -> None:
    result = cli("export", packed, "--to", to, "--json")
    assert result.exit_code == 0
    path = Path(json.loads(result.stdout)["path"])
    assert path == Path({"netcdf": "tiny.nc", "csv": "tiny-csv"}[to])  # relative, as the archive was named
    assert path.exists()
    again = cli("export", packed, "--to", to)
    assert again.exit_code == 2
    assert "Give another --out." in again.stderr
    assert cli("export", packed, "--to", "xls").exit_code == 2


def test_what_is_made_beside_an_archive_is_named_as_the_archive_was(
    cli: Cli, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(archive, "sub/kept")
    assert cli("pack", "sub/kept").stderr.startswith("sub/kept.zip: ")
    monkeypatch.chdir("sub/kept")
    assert cli("export", ".", "--to", "csv").exit_code == 0
    assert Path("../kept-csv/cases.csv").is_file()


def test_pack_is_told_what_is_wrong(cli: Cli, archive: Path) -> None:
    assert cli("pack", "none").exit_code == 2
    assert cli("pack", archive, "--out", "a.zip", "--licence", "a b").exit_code == 2
    assert not Path("a.zip").exists()


def test_pack_tells_what_an_unsealed_archive_lacks_in_one_sentence(cli: Cli, archive: Path) -> None:
    shutil.copytree(archive, "open")
    Path("open/manifest.json").unlink()
    result = cli("pack", "open")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: open: expected a sealed archive, got open/manifest.json: expected the manifest of a sealed "
        "archive, got nothing. Run the experiment into it again, which seals it unless its data are "
        "damaged.\n"
    )


def test_hostile_titles_reach_the_terminal_as_plain_text(cli: Cli) -> None:
    title = r'title = "\u001b]0;owned\u0007[red]x"'
    Path("hostile.toml").write_text(TINY.replace('title = "Tiny"', title))
    assert cli("run", "hostile.toml", "--out", "h", "--quiet", "--no-figures", "--workers", 1).exit_code == 0
    assert gradlab.open_archive("h").attrs["title"].startswith("\x1b")
    shown = cli("show", "h").stdout
    assert "?]0;owned?[red]x" in shown
    assert "\x1b" not in shown
    cli("pack", "h")
    assert "\x1b" not in cli("show", "h.zip").stdout
    assert "\x1b" not in cli("diff", "h", "h.zip").stdout


def test_verify_says_how_many_processes_it_starts_if_none_are_asked_for(cli: Cli):
    said = cli("verify", "--help", env={"COLUMNS": "200"}).stdout
    assert "[default: 1]" in next(line for line in said.splitlines() if "--workers" in line)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_measured_is_the_same_environment_when_it_is_measured_again(
    program: Program, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    flags = ["--workers", workers, "--no-figures", "--quiet"]
    free = {"cwd": tmp_path, "env": {"OPENBLAS_NUM_THREADS": ""}}  # as many threads as there are cores
    run = program("run", "tiny.toml", "--out", "tiny", *flags, **free)
    run.communicate()
    assert run.returncode == 0
    (told,) = json.loads((tmp_path / "tiny/provenance.json").read_text())["runs"]
    assert len(told["blas"]) == 2  # NumPy's and SciPy's
    assert {pool["num_threads"] for pool in told["blas"]} == {1}
    out, _ = program("verify", "tiny", "--replay", 2, **free).communicate()
    assert "Every number has the same bits." in out
    assert "The environment is the same as then." in out


@pytest.mark.skipif(OTHER_LINEAR_ALGEBRA, reason="these kernels are of OpenBLAS, for this processor")
def test_other_kernels_round_otherwise_and_replay_says_how_to_have_them(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    old, new = ({"cwd": tmp_path, "env": {"OPENBLAS_CORETYPE": name}} for name in ("Nehalem", "Haswell"))
    run = program("run", "tiny.toml", "--out", "tiny", "--no-figures", "--quiet", **old)
    run.communicate()
    assert run.returncode == 0
    hint = "OPENBLAS_CORETYPE=Nehalem gradlab verify"
    there, _ = program("verify", "tiny", "--replay", "all", **new).communicate()
    assert "Every number has the same bits." not in there
    assert hint in there
    again, _ = program("verify", "tiny", "--replay", "all", **old).communicate()
    assert "Every number has the same bits." in again
    assert hint not in again
