"""``gradlab plan``, ``show``, ``plot``, ``list`` and ``new``."""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trainings
from command import TINY, Cli

from gradlab.api import run
from gradlab.archive.files import DirectoryFiles
from gradlab.archive.summary import summary
from gradlab.archive.variables import ALWAYS
from gradlab.cli import complete
from gradlab.cli.catalogues import _registry
from gradlab.cli.contents import _run_line
from gradlab.cli.report import closing, counts_line
from gradlab.cli.terminal import plain
from gradlab.experiment.measures import measure_of, record_names


def test_plan_tells_what_a_spec_comes_to_and_runs_nothing(cli: Cli) -> None:
    sweep = '"task.length" = [3, 5]\nclip = ["off", {name = "norm", threshold = 1.0}]\n'
    Path("more.toml").write_text(TINY + sweep)
    table = json.loads(cli("plan", "more.toml", "--workers", 1, "--json").stdout)
    assert table["axes"]["radius"] == [0.5, 3.0]
    assert table["axes"]["clip"] == ["off", "norm(1.0)"]
    assert (table["cases"], table["forward_passes"], table["lanes"]) == (32, 8, 16)
    assert (table["forward_passes_unshared"], table["lanes_unshared"]) == (32, 32)
    assert table["workers"] == 1
    assert table["seconds"] > 0
    assert 0 < table["memory_bytes"] <= table["memory_bound_bytes"] == 2**30
    text = cli("plan", "more.toml", "--workers", 1).stdout
    assert "8 in place of 32: sharing saves 75%" in text
    assert "nothing was run" in text
    assert sorted(p.name for p in Path().iterdir()) == ["more.toml", "tiny.toml"]


def test_plan_takes_settings_and_refuses_what_is_wrong(cli: Cli) -> None:
    table = json.loads(cli("plan", "tiny.toml", "--json", "--set", "replicates=5").stdout)
    assert table["cases"] == 20
    assert cli("plan", "tiny.toml", "--set", "replicates=0").exit_code == 2
    assert cli("plan", "none.toml").exit_code == 2


def test_show_tells_what_an_archive_holds(cli: Cli, archive: Path) -> None:
    text = cli("show", archive).stdout
    for part in ("Tiny", "radius", "0.5, 3", "log10_state_gradient_norm", "Of 8 cases", "Run: gradlab run"):
        assert part in text
    table = json.loads(cli("show", archive, "--json").stdout)
    assert table["axes"] == {"radius": [0.5, 3.0], "activation": ["tanh", "identity"], "replicate": [0, 1]}
    assert table["records"]["growth_rate"]["units"] == "decades per time step"
    assert table["counts"]["all"] == 8
    assert table["failures"] == 0


def test_a_terminal_of_no_width_is_one_that_tells_none(program: Any, archive: Path) -> None:
    said = {}
    for width in ("0", "100"):
        with program("show", archive, env={"COLUMNS": width}) as process:
            said[width] = process.communicate()[0]
    assert "log10_gradient_norm" in said["0"]
    assert said["0"] == said["100"]


def test_show_gives_commands_as_a_shell_takes_them() -> None:
    command = ["gradlab", "run", "my spec.toml", "--set", "task.length=[25, 50]"]
    assert shlex.split(_run_line({"command": command}).partition("Run: ")[2].partition(" (")[0]) == command


def test_closing_lines_agree_in_number() -> None:
    counts = {"vanishing": 1, "stable": 1, "exploding": 1, "undetermined": 1, "failed": 1, "all": 5}
    assert counts_line(counts) == "Of 5 cases: 1 vanishes, 1 is stable, 1 explodes, 1 has no rate, 1 failed."
    many = dict.fromkeys(counts, 2) | {"all": 10}
    assert counts_line(many) == "Of 10 cases: 2 vanish, 2 are stable, 2 explode, 2 have no rate, 2 failed."
    assert counts_line({"ok": 1, "failed": 0, "all": 1}) == "Of 1 case: 1 ran."


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ((-0.2, -0.1), "nowhere: always vanishing"),
        ((-0.2, 0.0), "nowhere: never exploding"),
        ((0.0, 0.0), "nowhere: always zero"),
        ((0.0, 0.1), "nowhere: never vanishing"),
        ((0.1, 0.2), "nowhere: always exploding"),
    ],
)
def test_a_curve_that_never_changes_sign_says_which_it_has(rates: tuple[float, float], words: str) -> None:
    curve = {"at": {}, "crossings": [], "growth_rates": rates}
    (table,) = closing({"curves": [curve], "axis": "radius", "held": {}, "counts": {"all": 0}})[:1]
    assert list(table.columns[0].cells) == [words]


PLANE = {
    "measure": "landscape",
    "network": {"hidden": 2},
    "task": {"name": "noise", "length": 3, "batch": 2},
    "landscape": {
        "first": {"parameter": "weight_hh_l0", "entry": [0, 0], "start": 0.0, "stop": 1.0, "num": 2},
        "second": {"parameter": "weight_hh_l0", "entry": [0, 1], "start": 0.0, "stop": 1.0, "num": 2},
        "updates": 2,
    },
}
KINDS: dict[str, dict[str, Any]] = {
    "probe": tomllib.loads(TINY),
    "train": trainings.table(trainings.SPEC.replace("updates = 6", "updates = 2")),
    "landscape": PLANE,
}


@pytest.mark.parametrize("measure", KINDS)
def test_the_closing_lines_do_without_any_record(measure: str) -> None:
    """Whichever is not recorded, or alone is, the table is told as far as it is known."""
    ds = run(KINDS[measure] | {"record": list(measure_of(measure).records)})
    assert plain(*closing(summary(ds)))
    records = [name for name in ds.data_vars if name not in ALWAYS]
    for name in records:
        for dropped in ([name], [one for one in records if one != name]):
            assert "Of " in plain(*closing(summary(ds.drop_vars(dropped)))), dropped


def test_a_training_that_keeps_not_when_it_was_solved_says_nothing_of_it() -> None:
    ds = run(KINDS["train"])
    assert " solved " in plain(*closing(summary(ds)))
    assert "solved" not in plain(*closing(summary(ds.drop_vars("solved_at"))))


@pytest.mark.parametrize("command", ["show", "plot"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none", "none: expected an archive of gradlab, got nothing"),
        ("tiny.toml", "expected the directory of an archive of gradlab, or one packed as a zip file"),
        (".", "expected the directory of an archive of gradlab"),
        ("damaged", "archive.json: expected JSON"),
    ],
)
def test_what_is_no_archive_ends_with_2(cli: Cli, command: str, place: str, message: str) -> None:
    Path("damaged").mkdir()
    Path("damaged/archive.json").write_text("{")
    result = cli(command, place)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("arguments", ["show {}", "verify {}", "plot {}", "diff {} {}", "export {} --to csv"])
def test_a_folder_that_is_no_archive_is_not_walked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    """It may be the root of the disk, with a link in every other folder."""
    Path("folder").mkdir()
    Path("folder/link").symlink_to("nowhere")
    monkeypatch.setattr(DirectoryFiles, "_entries", lambda *_: pytest.fail("it was walked"))
    result = cli(*arguments.format("folder", "folder").split())
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: folder: expected the directory of an archive of gradlab, got a directory without "
        "archive.json\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "show LONG",
        "verify LONG",
        "plot LONG",
        "diff LONG LONG",
        "export LONG --to csv",
        "export ARCHIVE --to csv --out LONG",
        "pack ARCHIVE --out LONG",
        "merge ARCHIVE ARCHIVE --out LONG",
        "plan tiny.toml --out LONG",
        "run tiny.toml --out LONG --workers 1",
        "run tiny.toml --log LONG --workers 1",
        "sweep --out LONG --workers 1",
        "plot ARCHIVE --out LONG",
    ],
)
def test_a_name_that_is_too_long_is_a_mistake(cli: Cli, archive: Path, arguments: str) -> None:
    known = {"LONG": "x" * 300, "ARCHIVE": archive}
    result = cli(*(known.get(word, word) for word in arguments.split()))
    assert result.exit_code == 2, result.stdout
    assert re.search("^Error: .*name.*too long", result.stderr, re.MULTILINE)
    assert "Error" not in result.stderr.replace("Error: ", "", 1)
    assert {path.name for path in Path().iterdir()} == {"tiny.toml"}


def test_plot_draws_what_is_asked_for_and_prints_the_paths(cli: Cli, archive: Path) -> None:
    result = cli("plot", archive, "phase", "--format", "svg,png", "--out", "paper")
    assert result.exit_code == 0
    assert result.stdout == "paper/phase.svg\npaper/phase.png\n"
    assert Path("paper/phase.svg").read_bytes().startswith(b"<?xml")
    assert Path("paper/phase.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_names_draws_what_the_data_allow(cli: Cli, archive: Path) -> None:
    result = cli("plot", archive, "--format", "svg", "--out", "all", "--json")
    assert result.exit_code == 0
    assert {"profile", "phase", "spectrum"} <= set(json.loads(result.stdout))
    assert "Of other data: cells, clipping, " in result.stderr
    assert "(`gradlab plot ARCHIVE cells` says what it needs)." in result.stderr


def test_plot_takes_settings_of_figures_and_shows_a_part(cli: Cli, archive: Path) -> None:
    texts = {}
    for name, more in {
        "whole": [],
        "part": ["--where", "activation == 'identity' and radius > 1"],
        "panels": ["--set", "panel=radius", "--set", "curve=activation"],
    }.items():
        result = cli("plot", archive, "profile", *more, "--format", "svg", "--out", name)
        assert result.exit_code == 0, result.stderr
        texts[name] = Path(name, "profile.svg").read_text()
    assert "activation: identity; radius: 3; " in texts["part"]
    assert "radius 0.5" in texts["panels"]
    assert "activation: " not in texts["whole"]


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["phsae", "--format", "svg,jpeg"],
         ["got 'phsae'. Did you mean 'phase'?", "--format: expected one of png, pdf, svg, got 'jpeg'"]),
        (["clipping"], ["figure 'clipping': expected a dataset with the axis 'clip'"]),
        (["profile", "--set", "panle=radius"],
         ["settings.panle: expected a setting of profile, got 'panle'. Did you mean 'panel'?"]),
        (["profile", "--set", "curve"], ["'curve': expected KEY=VALUE, got 'curve'. As in panel=length."]),
        (["profile", "--set", "panel=3"], ["profile.panel: expected "]),
        (["phase", "--set", "panel=length"], ["settings.panel: expected a setting of phase, got 'panel'. "]),
        (["--where", "radus == 8"], ["where: expected the name of an axis, got 'radus'"]),
        (["--where", "radius > 1000"], ["where: expected a filter that holds for some case, got one that"]),
        (["spectrum", "--where", "radius < 1"], ["figure 'spectrum': expected no filter, got 'radius < 1'."]),
        (["phase", "--out", "tiny.toml"], ["tiny.toml: expected a folder that can be written"]),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_ends_with_2(
    cli: Cli, archive: Path, arguments: list[str], messages: list[str]
) -> None:
    result = cli("plot", archive, *arguments)
    assert result.exit_code == 2
    assert all(message in result.stderr for message in messages)
    assert Path("tiny.toml").read_text() == TINY


@pytest.mark.parametrize("what", complete.LISTS)
def test_list_tells_every_entry_its_claims_and_settings(cli: Cli, what: str) -> None:
    table = json.loads(cli("list", what, "--json").stdout)
    expected = record_names() if what == "records" else _registry(what).names()
    assert list(table) == expected
    assert all(entry["what"] for entry in table.values())
    text = cli("list", what, env={"COLUMNS": "200"}).stdout
    assert all(f"  {name} " in text for name in expected)


def test_names_in_a_list_are_not_cut(cli: Cli) -> None:
    text = cli("list", "figures", env={"COLUMNS": "80"}).stdout
    assert "log10_clipped_gradient_norm" in text
    assert max(map(len, text.splitlines())) <= 80


def test_list_gives_claims_and_defaults(cli: Cli) -> None:
    activations = json.loads(cli("list", "activations", "--json").stdout)
    assert activations["logistic"]["claims"] == {"derivative_bound": 0.25, "bounded": True, "analytic": True}
    assert activations["leaky_relu"]["settings"] == {"slope": 0.01}
    clips = json.loads(cli("list", "clips", "--json").stdout)
    assert clips["adjoint_norm"]["claims"]["scope"] == "adjoint"
    assert clips["adjoint_norm"]["settings"] == {"threshold": "required"}
    spectra = json.loads(cli("list", "spectra", "--json").stdout)
    assert spectra["delay_line"]["settings"] == {"norm": None}
    assert "threshold, required" in cli("list", "clips").stdout


def test_list_alone_names_everything_and_an_unknown_catalogue_is_refused(cli: Cli) -> None:
    assert list(json.loads(cli("list", "--json").stdout)) == list(complete.LISTS)
    assert "activations: " in cli("list").stdout
    result = cli("list", "activation")
    assert result.exit_code == 2
    assert "Did you mean 'activations'?" in result.stderr


@pytest.mark.parametrize("name", ["mine", "mine.toml"])
def test_new_writes_a_spec_that_runs(cli: Cli, name: str) -> None:
    assert cli("new", name).exit_code == 0
    tiny = [f"--set={key}" for key in ("network.hidden=4", "task.batch=2", "task.length=5", "replicates=1")]
    result = cli("run", "mine.toml", *tiny, "--workers", 1, "--no-figures")
    assert result.exit_code == 0, result.stderr
    assert Path("results/mine/data.zarr").is_dir()


def test_every_line_commented_out_in_the_starter_is_valid_too(cli: Cli) -> None:
    cli("new", "mine")
    keys = ("record", "memory", "input", "bias", "readout", "dtype", '"task.length"', '"clip"', "where")
    lines = Path("mine.toml").read_text().splitlines()
    opened = [line[2:] if line.startswith(tuple(f"# {key} = " for key in keys)) else line for line in lines]
    assert sum(a != b for a, b in zip(lines, opened, strict=True)) == len(keys)
    Path("mine.toml").write_text("\n".join(opened))
    result = cli("run", "mine.toml", "--workers", 1, "--no-figures", "--quiet", "--set", "network.hidden=4",
                 "--set", "task.length=5", "--set", "task.batch=2", "--set", "replicates=1")  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny", "tiny.toml: expected a file that does not exist yet, got one that does"),
        ("", "NAME: expected a name for a file"),
        ("a\nb", "NAME: expected a name for a file"),
        ("none/mine", "none/mine.toml: expected a file that can be written, got No such file or directory"),
    ],
)
def test_new_refuses_what_it_cannot_write(cli: Cli, name: str, message: str) -> None:
    result = cli("new", name)
    assert result.exit_code == 2
    assert message in result.stderr
    assert Path("tiny.toml").read_text() == TINY
    assert [p.name for p in Path().iterdir()] == ["tiny.toml"]


def test_an_odd_name_is_quoted_in_the_spec(cli: Cli) -> None:
    assert cli("new", 'a "b" {c}').output.endswith("""gradlab run 'a "b" {c}.toml'\n""")
    assert cli("plan", 'a "b" {c}.toml', "--json").exit_code == 0


def test_a_name_that_begins_with_a_dash_is_given_as_a_path(cli: Cli) -> None:
    result = cli("new", "--", "-x")
    assert result.stdout == "-x.toml is written. Run it with: gradlab run ./-x.toml\n"
    assert "gradlab plan ./-x.toml\n" in Path("-x.toml").read_text()
    assert cli("plan", "./-x.toml").exit_code == 0


def test_figures_of_no_number_are_json_all_the_same(cli: Cli) -> None:
    from gradlab.cli.terminal import _json

    assert _json({"a": (math.inf, -math.inf, math.nan, 1.5)}) == {"a": ["inf", "-inf", None, 1.5]}


def test_records_say_what_they_run_along_and_when_they_are_recorded(cli: Cli) -> None:
    table = json.loads(cli("list", "records", "--json").stdout)
    claims = {name: (entry["claims"]["along"], entry["claims"]["recorded"]) for name, entry in table.items()}
    along = {"probe": ["layer", "direction", "lag"], "train": ["update", "lag"]}
    assert claims["saturation"] == (along, "by default")
    assert table["saturation"]["claims"]["measure"] == ["probe", "train"]
    assert claims["smoothness"] == (["update"], "on request")
    assert claims["log10_credit_norm"] == (["loss_time", "lag"], "on request")
    assert claims["learner_bias"] == ("each case", "for learners other than bptt")


def test_learners_say_what_they_claim(cli: Cli) -> None:
    claims = json.loads(cli("list", "learners", "--json").stdout)["bptt"]["claims"]
    assert claims == {
        "online": False,
        "stochastic": False,
        "exact": True,
        "for_training": False,
        "has_adjoints": True,
        "cells": "all",
    }
