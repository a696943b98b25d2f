"""A command line run in this process in a folder of its own, and a tiny archive made once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trainings
from command import DATA, PROGRAM, TINY, Cli, known
from typer.testing import CliRunner, Result

from gradlab.api import run
from gradlab.cli.main import app


def call(*arguments: object, **options: Any) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="gradlab", **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is a bug
    return result


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return call


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    spec = folder / "tiny.toml"
    spec.write_text(TINY)
    result = call("run", spec, "--out", folder / "tiny", "--workers", 1, "--no-figures", "--quiet")
    assert result.exit_code == 0, result.stderr
    return folder / "tiny"


@pytest.fixture
def program() -> Callable[..., subprocess.Popen[str]]:
    """Start the program in a process of its own, as a shell does."""
    root = str(Path(__file__).resolve().parents[2])

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": root,
            "OPENBLAS_NUM_THREADS": "1",
            **options.pop("env", {}),
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*PROGRAM, *map(str, arguments)], text=True, env=environment, **pipes)

    return start


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no terminal's width decide what is printed: pytest sets one in the processes it starts."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def files(cli: Cli) -> Cli:
    """The files of the one-layer LSTM, in the folder where the commands run."""
    shutil.copy(DATA / "lstm.safetensors", "trained.safetensors")
    arrays = known("lstm")
    np.save("x.npy", arrays["inputs"])
    np.save("y.npy", arrays["targets"])
    np.savetxt("x.csv", arrays["inputs"][:, 0], delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    return cli


@pytest.fixture
def spec(cli: Cli) -> Path:
    """The spec of a tiny training."""
    path = Path("train.toml")
    path.write_text(trainings.SPEC)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("training") / "whole"
    run(trainings.table(), out)
    return out
