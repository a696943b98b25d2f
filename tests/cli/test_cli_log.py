"""``--log FILE``: what batch systems keep of a run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from command import Cli
from test_cli_training import SPEC

from gradlab.cli import logbook, watch
from gradlab.cli.logbook import Log
from gradlab.cli.terminal import speed
from gradlab.core.errors import UserMistake
from gradlab.measure.probe import Block

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ(?: |$)")


def lines(path: str = "run.log") -> list[str]:
    """Return the lines of a log without the time, which each must have."""
    found = Path(path).read_text(encoding="utf-8").splitlines()
    assert all(STAMP.match(line) for line in found), found
    return [STAMP.sub("", line) for line in found]


def test_a_quiet_run_tells_its_log_all_that_a_loud_one_tells(cli: Cli) -> None:
    loud = cli("run", "tiny.toml", "-o", "a", "--workers", 1)
    quiet = cli("run", "tiny.toml", "-o", "b", "--workers", 1, "--quiet", "--log", "run.log")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    found = lines()
    assert re.fullmatch(
        r"gradlab \S+: gradlab run tiny.toml -o b --workers 1 --quiet --log run.log", found[0]
    )
    assert "8 of 8 cases" in "\n".join(found)
    timeless = [line for line in found[1:] if " measured in " not in line and " of 8 cases" not in line]
    told = [line.replace("To a,", "To b,") for line in (loud.stderr + loud.stdout).splitlines()]
    told = [line for line in told if " measured in " not in line and " of 8 cases" not in line]
    assert [line.rstrip() for line in timeless] == [line.rstrip() for line in told]
    assert "[bold]" not in Path("run.log").read_text()


def test_a_second_run_appends(cli: Cli) -> None:
    for _ in range(2):
        assert cli("run", "tiny.toml", "-o", "a", "--no-figures", "-q", "--log", "run.log").exit_code == 0
    found = lines()
    assert sum(line.startswith("gradlab ") for line in found) == 2
    assert any("8 cases there already" in line or "8 of 8" in line for line in found)


def test_a_sweep_has_a_log_too(cli: Cli) -> None:
    flags = ("--radius", "0.5,1.5", "--length", 5, "--hidden", 4, "--batch", 2)
    assert cli("sweep", *flags, "-o", "a", "--no-figures", "-q", "--log", "run.log").exit_code == 0
    assert any("Of 2 cases" in line for line in lines())
    shown = cli("sweep", *flags, "--print-spec", "--log", "other.log")
    assert shown.exit_code == 0
    assert not Path("other.log").exists()


@pytest.mark.parametrize("where", ["nowhere/run.log", "."])
def test_a_file_that_cannot_be_written_is_one_message_before_anything_runs(cli: Cli, where: str) -> None:
    for command in (("run", "tiny.toml"), ("sweep", "--length", 5)):
        result = cli(*command, "-o", "a", "--log", where)
        assert result.exit_code == 2
        assert result.stderr.startswith(
            f"Error: --log: expected a file that can be written, got {Path(where)} ("
        )
        assert not Path("a").exists()


def test_a_file_in_the_archive_is_refused(cli: Cli) -> None:
    assert cli("run", "tiny.toml", "-o", "a", "-q", "--no-figures").exit_code == 0
    result = cli("run", "tiny.toml", "-o", "a", "--log", "a/run.log")
    assert result.exit_code == 2
    assert "--log: expected a file outside the archive a, got a/run.log" in result.stderr


def test_what_is_refused_leaves_archives_as_they_are(cli: Cli) -> None:
    cli("run", "tiny.toml", "-o", "a", "--workers", 1, "--no-figures")
    for name in ("a/run.log", "a/spec.toml", "a/data.zarr/run.log"):
        result = cli("run", "tiny.toml", "-o", "a", "--workers", 1, "--no-figures", "--log", name)
        assert result.exit_code == 2
        assert f"--log: expected a file outside the archive a, got {name}" in result.stderr
    assert cli("verify", "a").exit_code == 0
    Path("new").mkdir()
    assert cli("run", "tiny.toml", "-o", "new", "--workers", 1, "--log", "new/run.log").exit_code == 2
    assert list(Path("new").iterdir()) == []


def test_a_spec_is_no_log(cli: Cli) -> None:
    before = Path("tiny.toml").read_text()
    result = cli("run", "tiny.toml", "-o", "a", "--log", "tiny.toml")
    assert result.exit_code == 2
    assert "--log: expected a file for the log, got tiny.toml, which looks like a spec" in result.stderr
    assert Path("tiny.toml").read_text() == before


def test_mistakes_are_in_it(cli: Cli) -> None:
    result = cli("run", "tiny.toml", "-o", "a", "--set", "network.hiden=3", "--log", "run.log")
    assert result.exit_code == 2
    assert lines()[1:] == result.stderr.splitlines()
    assert lines()[1].startswith("Error: ")


def test_failed_cases_are_in_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, *rest: object, **more: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(Block, "measure", broken)
    result = cli("run", "tiny.toml", "-o", "a", "--workers", 1, "-q", "--no-figures", "--log", "run.log")
    assert result.exit_code == 1
    assert [line for line in lines() if "on purpose" in line or "failed. Why" in line] == [
        line.rstrip() for line in result.stderr.splitlines()
    ]


def test_an_error_of_the_program_is_in_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*rest: object, **more: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("gradlab.running.run_archive", broken)
    with pytest.raises(RuntimeError):
        cli("run", "tiny.toml", "-o", "a", "-q", "--log", "run.log")
    assert lines()[-1] == "Stopped by an error of the program: RuntimeError: on purpose"


def test_an_interruption_is_in_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*rest: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradlab.running.run_archive", stopped)
    assert cli("run", "tiny.toml", "-o", "a", "-q", "--log", "run.log").exit_code == 130
    assert lines()[-2].startswith("Interrupted.")
    assert lines()[-1] == "  gradlab run tiny.toml -o a -q --log run.log"


def test_a_training_tells_how_its_groups_fare(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 0.05)
    Path("train.toml").write_text(SPEC.replace("updates = 6", "updates = 600"))
    result = cli("run", "train.toml", "-o", "a", "--workers", 1, "-q", "--no-figures", "--log", "run.log")
    assert result.exit_code == 0
    found = "\n".join(lines())
    assert re.search(r"^0 of 8 cases, \S+ updates a second, .* left$", found, re.MULTILINE)
    assert re.search(r"^  elman, temporal_order of length 10, 8 cases: \d+ %, loss \S+", found, re.MULTILINE)
    assert re.search(r"^8 of 8 cases$", found, re.MULTILINE)


def test_progress_is_told_every_ten_seconds_or_hundredth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    log = Log(tmp_path / "run.log")
    told = []
    for seconds, done in [
        (0.5, 50),
        (1.5, 51),
        (2.0, 60),
        (3.0, 60),
        (11.4, 60),
        (11.6, 60),
        (12, 1000),
        (12, 1000),
    ]:
        now[0] = seconds
        before = (tmp_path / "run.log").read_text()
        log.progress(done, 1000, ["so far"])
        told.append((tmp_path / "run.log").read_text() != before)
    log.close()
    log.write("too late")
    assert "too late" not in (tmp_path / "run.log").read_text()
    assert told == [False, True, False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("rate", "told"), [(0.0152, "0.0152"), (17.34, "17.3"), (999.6, "1000"), (15230.4, "15230")]
)
def test_speeds_are_told_without_powers_of_ten(rate: float, told: str) -> None:
    assert speed(rate) == told


def test_a_disk_that_refuses_later_does_not_stop_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(Path("/dev/full"))
    log.write("one")
    log.write("two")
    assert not log.open
    assert capsys.readouterr().err.count("/dev/full: the log could not be written") == 1
    with pytest.raises(UserMistake, match="--log"):
        Log(tmp_path)
    Log(None).write("nothing")
