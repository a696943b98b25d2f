"""What trainings keep on disk: for whom it stays, when it goes, and what is said if the disk takes none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from command import Cli
from trainings import REST, SPEC, digest, killed, states_met

from gradlab.api import open_archive
from gradlab.measure.checkpoint import CASES, read_state, write_state

CLIPS = 'clip = ["off", { name = "norm", threshold = 0.5 }]'


def test_a_part_leaves_what_the_other_part_goes_on_from(
    cli: Cli, spec: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spec, "a", 3)
    (path,) = Path("a/checkpoints").glob("*.npz")
    first = cli("run", spec, "-o", "a", "--workers", 1, "--partition", "1/2", *REST)
    assert first.exit_code == 0, first.stderr
    assert path.exists()
    assert json_status(cli) == {"ok": 4, "not run": 4}
    assert cli("verify", "a").exit_code == 0, "an archive that lacks cases is sealed and sound"
    met = states_met(monkeypatch)
    assert cli("run", spec, "-o", "a", "--workers", 1, "--partition", "2/2", *REST).exit_code == 0
    assert met == [[3] * 4], "three updates of six were not made again"
    assert not Path("a/checkpoints").exists()
    assert digest("a") == digest(whole)
    xr.testing.assert_identical(open_archive("a").load(), open_archive(whole).load())


def json_status(cli: Cli) -> dict[str, int]:
    status, count = np.unique(open_archive("a")["status"].values, return_counts=True)
    names = {0: "not run", 1: "ok"}
    return {names[int(s)]: int(n) for s, n in zip(status, count, strict=True)}


@pytest.mark.parametrize("smaller", [CLIPS.replace('"off", ', ""), f'{CLIPS}\nwhere = "rate < 0.01"'])
def test_a_smaller_spec_leaves_what_the_whole_one_goes_on_from(
    smaller: str, cli: Cli, spec: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spec, "a", 4)
    Path("smaller.toml").write_text(SPEC.replace(CLIPS, smaller))
    for _ in range(2):
        assert cli("run", "smaller.toml", "-o", "a", "--workers", 1, *REST).exit_code == 0
        assert len(list(Path("a/checkpoints").glob("*.npz"))) == 1
        assert cli("verify", "a").exit_code == 0
    met = states_met(monkeypatch)
    assert cli("run", spec, "-o", "a", "--workers", 1, *REST).exit_code == 0
    assert met == [[4] * 4]
    assert not Path("a/checkpoints").exists()
    xr.testing.assert_equal(open_archive("a").load(), open_archive(whole).load())


def test_a_spec_that_drops_the_others_leaves_nothing_of_them(cli: Cli, spec: Path) -> None:
    killed(spec, "a", 2)
    Path("smaller.toml").write_text(SPEC.replace(CLIPS, 'clip = ["off"]'))
    assert cli("run", "smaller.toml", "-o", "a", "--prune", "--workers", 1, *REST).exit_code == 0
    assert not Path("a/checkpoints").exists()


def test_what_a_part_has_done_is_of_no_more_use_to_anybody(cli: Cli, spec: Path) -> None:
    """A state of cases that are all done goes, whoever wrote it; so does what is no state."""
    killed(spec, "a", 2)
    (path,) = Path("a/checkpoints").glob("*.npz")
    state = read_state(path)
    assert state is not None
    for name, rows in (("first", slice(0, 4)), ("second", slice(4, 8))):
        write_state(path.with_name(f"{name}.npz"), {key: value[rows] for key, value in state.items()})
    path.with_name("half.npz.partial").write_bytes(b"half")
    path.unlink()
    assert cli("run", spec, "-o", "a", "--workers", 1, "--partition", "1/2", *REST).exit_code == 0
    (left,) = Path("a/checkpoints").iterdir()
    kept = read_state(left)
    assert kept is not None
    assert len(kept[CASES]) == 4


REFUSED = """
import os
if os.environ.get("GRADLAB_TEST_DISK"):
    import errno, multiprocessing.spawn as spawn
    def refuse(path, state):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    kept = spawn.prepare
    def prepare(data):
        kept(data)
        from gradlab.measure import checkpoint
        checkpoint.write_state = refuse
    spawn.prepare = prepare
    def patched():
        from gradlab.measure import checkpoint
        checkpoint.write_state = refuse
"""
IN_THIS_PROCESS = "import sitecustomize; sitecustomize.patched(); from gradlab.cli.main import main; main()"
NOT_KEPT = (
    "Warning: a/checkpoints: the state of a training could not be kept (No space left on device). The "
    "training goes on; if it is stopped, it will go on from the last state that was kept.\n"
)


@pytest.mark.parametrize("workers", [("--workers", "1"), ("--workers", "2"), ("--scheduler", "local:2")])
def test_a_disk_that_takes_no_state_is_told_of_once_and_the_training_goes_on(
    workers: tuple[str, str], cli: Cli, spec: Path, whole: Path
) -> None:
    """Every block of every process is refused; there is room for the few results."""
    if "--scheduler" in workers:
        pytest.importorskip("distributed")
    Path("sitecustomize.py").write_text(REFUSED)
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([str(Path.cwd()), root])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "GRADLAB_TEST_DISK": "1"}
    asked = ["run", str(spec), "-o", "a", *workers, "--log", "log.txt", *REST]
    arguments = [sys.executable, "-c", IN_THIS_PROCESS, *asked]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == NOT_KEPT
    assert Path("log.txt").read_text().count(NOT_KEPT.removeprefix("Warning: ").rstrip()) == 1
    assert digest("a") == digest(whole)
