"""``--scheduler``: the same archive by a cluster, and what is said when there is none."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Cli

from gradlab.api import open_archive
from gradlab.experiment import connection

pytest.importorskip("distributed")
Program = Callable[..., subprocess.Popen[str]]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cluster_and_two_processes_write_the_same_bytes(cli: Cli) -> None:
    assert cli("run", "tiny.toml", "-o", "processes", "--workers", 2, "--no-figures").exit_code == 0
    result = cli("run", "tiny.toml", "-o", "cluster", "--scheduler", "local:2", "--no-figures", "--json")
    assert result.exit_code == 0
    assert "To cluster, with the cluster local:2 and at most 1.0 GiB." in result.stderr
    assert "8 of 8 cases" in result.stderr
    assert json.loads(result.stdout)["workers"] == 2
    one, other = (files_of(Path(name, "data.zarr")) for name in ("processes", "cluster"))
    assert one == other
    assert len(one) > 10
    runs = json.loads(Path("cluster/provenance.json").read_text())["runs"]
    assert runs[0]["workers"] == 2


@pytest.mark.parametrize("command", [("run", "tiny.toml"), ("sweep", "--hidden", "3")])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheduler", "local:0"), "expected tcp://HOST:PORT (a dask scheduler) or local:N"),
        (("--scheduler", "tcp:/x"), "got 'tcp:/x'"),
        (("--scheduler", "local:2", "--workers", 2), "expected either --workers or --scheduler, got both"),
        (("--scheduler", "tcp://127.0.0.1:9"), "expected a dask scheduler that answers at tcp://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    result = cli(*command, "--quiet", "--out", "there", *options)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: --scheduler: ")
    assert message in result.stderr
    assert not Path("there").exists()


def test_without_dask_the_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = cli("run", "tiny.toml", "--quiet", "--scheduler", "tcp://127.0.0.1:8786")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "pip install 'gradlab[cluster]'" in result.stderr


def test_as_a_program_nothing_but_the_message_is_printed(program: Program, tmp_path: Path) -> None:
    began = time.monotonic()
    process = program("sweep", "--hidden", 3, "--scheduler", "tcp://127.0.0.1:9", "--quiet", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("Error: --scheduler: expected a dask scheduler that answers")
    assert err.count("\n") == 1
    assert time.monotonic() - began < 30


def test_interrupted_it_ends_with_130_and_the_line_that_continues(program: Program, tmp_path: Path) -> None:
    flags = shlex.split("--hidden 4 --batch 2 --length 1500 --radius 0.5:1.5:30 --replicates 6")
    flags += ["--no-figures", "--out", "there"]
    process = program("sweep", *flags, "--scheduler", "local:2", cwd=tmp_path, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "a second" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    *progress, note, again = err.splitlines()
    assert all("of 180 cases" in line for line in progress), err
    assert note == "Interrupted. What was finished is kept in there. To continue:"
    assert shlex.split(again) == ["gradlab", "sweep", *flags, "--scheduler", "local:2"]
    status = open_archive(tmp_path / "there")["status"].values
    assert 0 < (status == 1).sum() < status.size
