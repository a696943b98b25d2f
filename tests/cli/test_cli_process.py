"""The program as a process: what it loads, how fast it answers, how it ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import PROGRAM

from gradlab.api import open_archive
from gradlab.cli import complete
from gradlab.cli.catalogues import _registry
from gradlab.cli.early import wants_workers
from gradlab.figures import style

Program = Callable[..., subprocess.Popen[str]]
HEAVY = {"numpy", "scipy", "xarray", "zarr", "matplotlib", "pandas", "threadpoolctl", "dask", "distributed"}
COMMANDS = ("run", "sweep", "probe", "plan", "plot", "show", "list", "new")
LOADED = """
import sys
from gradlab.cli.main import main
try:
    main()
except SystemExit as end:
    code = end.code
print(code, *sorted(sys.modules), file=sys.stderr)
"""
BARE = """
import typer
app = typer.Typer()
@app.command()
def main(name: str = "x") -> None:
    "Say it."
app()
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([command, "-h"] for command in COMMANDS)],
)  # fmt: skip
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True
    )
    code, *modules = done.stderr.split()
    assert code in ("0", "None")
    assert "typer" in modules
    loaded = {module.partition(".")[0] for module in modules}
    assert not HEAVY & loaded
    assert (
        "pydantic" not in loaded or len(arguments) > 1
    )  # Typer itself reads the options of a command with it
    assert ("Usage: gradlab" in done.stdout) == (arguments != ["--version"])


def test_plan_and_show_look_at_an_archive_without_what_writes_one(archive: Path) -> None:
    """The libraries that write and label numbers take longer to load than a plan of 100 000 cases takes."""
    for arguments in (["plan", archive.parent / "tiny.toml", "--out", archive], ["show", archive]):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        code, *modules = done.stderr.split()
        assert code in ("0", "None")
        assert not {"zarr", "xarray", "matplotlib", "pandas"} & set(modules)


def test_help_takes_no_more_than_half_again_the_time_of_a_bare_program(tmp_path: Path) -> None:
    bare = tmp_path / "bare.py"
    bare.write_text(BARE)
    best = {"bare": float("inf"), "gradlab": float("inf")}
    for _ in range(8):
        for name, command in (("bare", [sys.executable, str(bare)]), ("gradlab", PROGRAM)):
            began = time.perf_counter()
            subprocess.run([*command, "--help"], capture_output=True, check=True)
            best[name] = min(best[name], time.perf_counter() - began)
    assert best["gradlab"] <= 1.5 * best["bare"], best


def test_every_command_explains_itself_with_examples(program: Program) -> None:
    process = program("--help")
    text = process.communicate()[0]
    for command in COMMANDS:
        assert f"│ {command} " in text
        out = program(command, "--help").communicate()[0]
        assert "For example:" in out
        assert f" gradlab {command}" in out


@pytest.mark.parametrize("catalogue", complete.CATALOGUES)
def test_completion_knows_the_names_without_loading_the_catalogue(catalogue: str) -> None:
    assert complete.entry_names(catalogue) == _registry(catalogue).names()


def test_completion_completes_names_lists_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/wide.toml").write_text("")
    Path("results/one").mkdir(parents=True)
    Path("results/one/archive.json").write_text("{}")
    assert complete.entries("activations")("tanh,so") == ["tanh,softplus", "tanh,softsign"]
    assert complete.figures("ph") == ["phase"]
    assert complete.specs("") == ["experiments/wide.toml"]
    assert complete.archives("res") == ["results/one"]
    assert complete.formats("png,s") == ["png,svg"]
    assert complete.FORMATS == style.FORMATS


@pytest.mark.parametrize(
    ("words", "expected"),
    [("gradlab list act", "activations"), ("gradlab sweep --cell ls", "lstm"), ("gradlab sw", "sweep")],
)  # fmt: skip
def test_the_shell_gets_its_completions(program: Program, words: str, expected: str) -> None:
    environment = {
        "_GRADLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    out, _ = program(env=environment).communicate()
    assert out.split() == [expected]


def test_interrupted_it_ends_with_130_and_the_line_that_continues(program: Program, tmp_path: Path) -> None:
    flags = shlex.split("--hidden 4 --batch 2 --length 1500 --radius 0.5:1.5:30 --replicates 6")
    flags += ["--no-figures", "--out", "there"]
    process = program("sweep", *flags, "--workers", 2, cwd=tmp_path, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "a second" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    *_, note, again = err.splitlines()
    assert note == "Interrupted. What was finished is kept in there. To continue:"
    assert shlex.split(again) == ["gradlab", "sweep", *flags, "--workers", "2"]
    status = open_archive(tmp_path / "there")["status"].values
    assert 0 < (status == 1).sum() < status.size

    process = program(*shlex.split(again)[1:], cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"{(status == 1).sum()} cases of 180 there already" in err
    assert (open_archive(tmp_path / "there")["status"] == 1).all()


@pytest.mark.parametrize("arguments", [["list", "records"], ["list", "--json"], ["sweep", "--print-spec"]])
def test_a_reader_that_goes_away_is_no_error(program: Program, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = program(*arguments, stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_help_to_a_closed_pipe_is_quiet(program: Program) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = program("--help", stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_told(program: Program) -> None:
    with open("/dev/full", "w") as full:
        process = program("list", stdout=full)
        err = process.communicate()[1]
    assert process.returncode == 2
    assert (
        err == "Error: standard output: expected a place that can be written, got No space left on device\n"
    )


def test_output_in_a_narrow_encoding_does_not_fail(program: Program, tmp_path: Path) -> None:
    flags = [
        "--hidden",
        3,
        "--batch",
        2,
        "--length",
        4,
        "--title",
        "Lyapunov–Süß",
        "--workers",
        1,
        "--no-figures",
    ]
    process = program("sweep", *flags, cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    _, err = process.communicate()
    assert process.returncode == 0
    assert "Lyapunov\\u2013S" in err


def test_a_bug_shows_its_traceback(tmp_path: Path) -> None:
    code = (
        "import gradlab.cli.listing as l, gradlab.cli.catalogues as c\n"
        "def broken(*_): raise ZeroDivisionError('a bug')\n"
        "c.overview = broken\n"
        "from gradlab.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_when_all_is_done_is_no_traceback() -> None:
    code = (
        "import atexit, time\n"
        "atexit.register(lambda: (print('late', flush=True), time.sleep(60)))\n"
        "from gradlab.cli.main import main\nmain()\n"
    )
    command = [sys.executable, "-u", "-c", code, "list", "tasks", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "late\n":
                process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_no_arguments_show_the_help(program: Program) -> None:
    assert "Commands" in "".join(program().communicate())


def test_the_bar_of_a_terminal_shows_cases_speed_and_time_left() -> None:
    from gradlab.cli.progress import Progress

    progress = Progress(quiet=True)
    progress.start(10, 110)
    progress._began -= 10.0  # ten seconds ago
    progress.advance(20, 3)
    assert progress.state() == "30 of 110 cases, 2 a second, 40 s left, 3 failed"
    progress.advance(80, 0)
    assert progress.state() == "110 of 110 cases, 10 a second, 3 failed"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run spec.toml", True),
        ("run spec.toml --workers 2 --quiet", True),
        ("run spec.toml --workers=12", True),
        ("sweep --spectrum ginibre", True),
        ("run spec.toml --workers 1", False),
        ("run spec.toml --workers=1", False),
        ("run spec.toml --scheduler tcp://there", False),
        ("run --help", False),
        ("sweep -h", False),
        ("sweep --print-spec", False),
        ("plan spec.toml", False),
        ("", False),
    ],
)
def test_processes_get_ready_for_command_lines_that_want_some(line: str, expected: bool) -> None:
    assert wants_workers(line.split()) is expected
