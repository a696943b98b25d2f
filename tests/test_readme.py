"""The README: its commands, code, links and versions are those of the program."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

import gradlab

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def program_lines() -> list[list[str]]:
    """Return the arguments of every line of the README that calls the program."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    calls = [line.rpartition("&& ")[2] for line in lines]
    return [shlex.split(call, comments=True)[1:] for call in calls if call.startswith("gradlab ")]


def test_the_first_two_commands_are_those_a_fresh_machine_needs() -> None:
    assert [block.strip() for block in blocks("sh")[:2]] == [
        "pip install . && gradlab run experiments/spectral-sweep.toml",
        "pip install '.[test]' && pytest",
    ]


def test_it_opens_with_the_question_a_figure_the_commands_and_what_it_is_not() -> None:
    parts = [r"\*\*At which .*\?\*\*", r"^!\[", r"^```sh", r"^## What it is not"]
    places = [re.search(part, TEXT, re.MULTILINE) for part in parts]
    starts = [place.start() for place in places if place is not None]
    assert len(starts) == len(parts)
    assert starts == sorted(starts)


@pytest.mark.parametrize("arguments", program_lines(), ids=" ".join)
def test_every_command_shown_exists_with_the_options_shown(arguments: list[str]) -> None:
    import typer.main

    from gradlab.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert arguments[0] in commands
    options = {option for param in commands[arguments[0]].params for option in param.opts}
    assert {word for word in arguments if word.startswith("--")} <= options


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_runs(
    code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("-199")  # about -1998, as its comment says


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_spec_shown_is_valid(text: str) -> None:
    assert gradlab.Spec.from_dict(tomllib.loads(text)).sweep


@pytest.mark.parametrize("document", ["README.md", "experiments/README.md", "results/README.md"])
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text(encoding="utf-8")):
        assert target.startswith("http") or (folder / target).exists(), target


def test_the_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == gradlab.__version__  # type: ignore[index]


def test_catalogues_are_as_large_as_the_changelog_says() -> None:
    from gradlab import tasks
    from gradlab.learning import clipping, optimisers, schedules
    from gradlab.network import activations, spectra
    from gradlab.tasks import losses

    numbers = ["three", "four", "five", "eight", "thirteen", "fourteen", "nineteen", "twenty-five"]
    sizes = dict(zip(numbers, (3, 4, 5, 8, 13, 14, 19, 25), strict=True))
    folders = {"activations": activations, "families of recurrent weights": spectra, "tasks": tasks}
    folders |= {"losses": losses, "clipping rules": clipping}
    folders |= {"optimisers": optimisers, "schedules": schedules}
    told = {name: len(folder.registry.names()) for name, folder in folders.items()}
    told["experiments"] = len(list((ROOT / "experiments").glob("*.toml")))
    text = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split()).lower()
    for name, size in told.items():
        found = re.search(rf"(\S+) {name}", text)
        assert found is not None, name
        assert sizes.get(found[1]) == size, found[0]
