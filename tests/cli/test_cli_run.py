"""``gradlab run``: exit codes, what is said, and what is on disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from command import TINY, Cli

from gradlab.api import open_archive


def test_a_run_leaves_an_archive_with_spec_data_figures_and_provenance(cli: Cli) -> None:
    result = cli("run", "tiny.toml", "--workers", 1)
    assert result.exit_code == 0
    out = Path("results/tiny")
    assert (out / "spec.toml").read_text() == TINY
    data = xr.open_zarr(out / "data.zarr", consolidated=True)
    assert dict(data.sizes) == {"radius": 2, "activation": 2, "replicate": 2, "lag": 5}
    assert (data["status"] == 1).all()
    assert {"phase.png", "phase.pdf", "profile.png"} <= {p.name for p in (out / "figures").iterdir()}
    runs = json.loads((out / "provenance.json").read_text())["runs"]
    assert runs[0]["command"] == ["gradlab", "run", "tiny.toml", "--workers", "1"]


def test_the_run_tells_plan_progress_and_findings(cli: Cli) -> None:
    result = cli("run", "tiny.toml", "--workers", 1, "--no-figures")
    assert "8 cases: radius 2 x activation 2 x replicate 2" in result.stderr
    assert "8 of 8 cases" in result.stderr
    assert "a second" in result.stderr
    assert "Where the mean slope changes sign" in result.stdout
    assert "(to exploding)" in result.stdout
    assert "Of 8 cases: " in result.stdout
    assert not list(Path("results/tiny/figures").iterdir())


def test_quiet_says_nothing(cli: Cli) -> None:
    result = cli("run", "tiny.toml", "--workers", 1, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_json_is_all_there_is_on_standard_output(cli: Cli) -> None:
    result = cli("run", "tiny.toml", "--workers", 1, "--json", "--out", "there")
    table = json.loads(result.stdout)
    assert table["archive"] == "there"
    assert table["counts"]["all"] == table["done"] == 8
    assert table["axis"] == "radius"
    assert [curve["at"] for curve in table["curves"]] == [{"activation": "tanh"}, {"activation": "identity"}]
    assert all(Path(file).is_file() for files in table["figures"].values() for file in files)
    assert "phase" in table["figures"]


def test_run_again_it_finds_everything_there(cli: Cli) -> None:
    cli("run", "tiny.toml", "--workers", 1, "--no-figures")
    again = cli("run", "tiny.toml", "--workers", 1, "--no-figures", "--json")
    assert again.exit_code == 0
    assert "8 cases of 8 there already" in again.stderr
    assert {key: json.loads(again.stdout)[key] for key in ("done", "kept")} == {"done": 0, "kept": 8}


def test_settings_beside_the_spec_are_run_and_kept(cli: Cli) -> None:
    result = cli(
        "run", "tiny.toml", "--workers", 1, "--no-figures", "--set", "network.hidden=3",
        "--set", "network.spectrum.radius=0.9", "--out", "set",
    )  # fmt: skip
    assert result.exit_code == 0
    text = Path("set/spec.toml").read_text()
    assert text.startswith("# tiny.toml with --set network.hidden=3 --set network.spectrum.radius=0.9\n")
    assert dict(open_archive("set").sizes) == {"radius": 1, "activation": 2, "replicate": 2, "lag": 5}
    kept = cli("run", "set/spec.toml", "--workers", 1, "--no-figures", "--out", "again")
    assert kept.exit_code == 0
    np.testing.assert_array_equal(open_archive("set")["case_key"], open_archive("again")["case_key"])


def test_two_workers_give_the_same_numbers_as_one(cli: Cli, archive: Path) -> None:
    result = cli("run", "tiny.toml", "--workers", 2, "--no-figures", "--memory", "2GiB")
    assert result.exit_code == 0
    xr.testing.assert_identical(open_archive("results/tiny").load(), open_archive(archive).load())


def test_failed_cases_end_with_1_and_say_how_many_and_where_to_read_why(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradlab.measure import probe as measure

    probe = measure.probe

    def broken(block, *rest):  # type: ignore[no-untyped-def]
        if any(run.network.spectra[0].radius == 3.0 and run.replicate == 1 for run in block.runs):
            raise ZeroDivisionError("no [bold]such[/bold] thing")
        return probe(block, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(measure, "probe", broken)
        result = cli("run", "tiny.toml", "--workers", 1, "--no-figures")
    assert result.exit_code == 1
    assert "2 of 8 cases failed. Why, with the settings of each: results/tiny/failures.jsonl" in result.stderr
    assert "  2 x ZeroDivisionError: no [bold]such[/bold] thing" in result.stderr
    assert "2 failed" in result.stdout
    lines = [json.loads(line) for line in Path("results/tiny/failures.jsonl").read_text().splitlines()]
    told = [case["settings"] for line in lines for case in line["cases"]]
    assert [settings["replicate"] for settings in told] == [1, 1]
    assert {settings["network"]["activation"]["name"] for settings in told} == {"tanh", "identity"}
    assert "ZeroDivisionError" in lines[0]["error"]

    mended = cli("run", "tiny.toml", "--workers", 1, "--no-figures", "--json")
    assert mended.exit_code == 0
    assert {key: json.loads(mended.stdout)[key] for key in ("done", "kept")} == {"done": 2, "kept": 6}


def test_a_full_disk_is_told_without_a_traceback_and_loses_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradlab.archive import chunks

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(chunks, "write", full)
        result = cli("run", "tiny.toml", "--workers", 1, "--no-figures")
    assert result.exit_code == 2
    assert "expected room on the disk, got a full disk" in result.stderr
    assert "Traceback" not in result.output
    assert cli("run", "tiny.toml", "--workers", 1, "--no-figures").exit_code == 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            ("hidden", "hiden"),
            "network.hiden: expected a setting of the network, got 'hiden'. Did you mean 'hidden'?",
        ),
        (('"tanh"', '"tahn"'), "got 'tahn'. Did you mean 'tanh'?"),
        (("length = 5", "length = 0"), "task.length: expected an integer of at least 1, got 0"),
        (("[0.5, 3.0]", "[-0.5, 3.0]"), "radius: expected a finite number of at least 0, got -0.5"),
        (("[0.5, 3.0]", "[nan, 3.0]"), "expected a finite number, got nan"),
        (("[0.5, 3.0]", "[]"), "expected at least one value, got an empty list"),
        (("[0.5, 3.0]", "[3.0, 3.0]"), "twice"),
        (("replicates = 2", "replicates = 2 2"), "expected a TOML file, got a syntax error"),
        (("hidden = 4", 'hidden = 4\nspectrum = "delay_line"'), "'delay_line' to be scaled by norm"),
        (("[sweep]", '[clip]\nname = "norm"\nthreshold = 0\n[sweep]'), "clip.threshold: expected"),
    ],
)
def test_a_wrong_spec_ends_with_2_and_one_clear_line(cli: Cli, edit: tuple[str, str], message: str) -> None:
    Path("wrong.toml").write_text(TINY.replace(*edit))
    result = cli("run", "wrong.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert all(line.startswith("Error: ") for line in result.stderr.splitlines())
    assert not Path("results").exists()


def test_every_problem_of_a_spec_is_told_at_once(cli: Cli) -> None:
    Path("wrong.toml").write_text(TINY.replace("length = 5", "length = 0").replace("hidden", "hiden"))
    result = cli("run", "wrong.toml")
    assert result.exit_code == 2
    assert all(word in result.stderr for word in ("task.length", "network.hiden"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml: expected a TOML file that can be read"),
        (["."], "expected a TOML file that can be read"),
        (["binary.toml"], "binary.toml: expected a TOML file in UTF-8"),
        (["tiny.toml", "--set", "network.hiden=3"], "Did you mean 'hidden'?"),
        (["tiny.toml", "--set", "hidden"], "expected KEY=VALUE"),
        (["tiny.toml", "--memory", "lots"], '--memory: expected an amount of memory such as "1GiB"'),
        (["tiny.toml", "--memory", "1MiB"], "memory: expected at least"),
        (["tiny.toml", "--out", "tiny.toml"], "expected a directory, or nothing yet, got a file"),
        (["tiny.toml", "--out", "full"], "expected an empty directory or an archive of gradlab"),
        (
            ["tiny.toml", "--out", "tiny.toml/inside"],
            "tiny.toml/inside: expected a disk that can be written, got Not a directory",
        ),
    ],
)
def test_wrong_arguments_end_with_2_and_harm_nothing(cli: Cli, arguments: list[str], message: str) -> None:
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("years of work")
    result = cli("run", *arguments, "--workers", 1)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert Path("tiny.toml").read_text() == TINY
    assert [p.name for p in Path("full").iterdir()] == ["thesis.tex"]


def test_another_experiment_in_the_same_place_is_refused_and_kept(cli: Cli) -> None:
    cli("run", "tiny.toml", "--workers", 1, "--no-figures", "--out", "one")
    before = {p: p.read_bytes() for p in Path("one").rglob("*") if p.is_file()}
    result = cli("run", "tiny.toml", "--workers", 1, "--out", "one", "--set", "seed=1")
    assert result.exit_code == 2
    assert "Error: one" in result.stderr
    assert {p: p.read_bytes() for p in Path("one").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "arguments", [["--workers", "0"], ["--workers", "two"], ["--wrokers", "1"], ["--set"]]
)
def test_wrong_flags_end_with_2(cli: Cli, arguments: list[str]) -> None:
    result = cli("run", "tiny.toml", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert not Path("results").exists()


def test_names_from_a_spec_are_never_read_as_markup_or_control(cli: Cli) -> None:
    Path("odd.toml").write_text(TINY.replace('"Tiny"', '"[red]T\\u001b[31m[/nonsense]"'))
    result = cli("run", "odd.toml", "--workers", 1, "--no-figures")
    assert result.exit_code == 0
    assert "[red]T?[31m[/nonsense]" in result.stderr
    assert "\x1b" not in result.output
    shown = cli("show", "results/odd")
    assert "[red]T?[31m[/nonsense]" in shown.stdout
    assert "\x1b" not in shown.output
