"""Results on their way from a worker process arrive as they were, and leave no file behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from engine import assert_same_records
from runs import plan_of, run

from gradlab.experiment import handover
from gradlab.experiment.handover import LEAST_BYTES, Handover
from gradlab.experiment.workers import Workers

LARGE = LEAST_BYTES // 8


def results():
    values = np.random.default_rng(0).normal(size=(4, LARGE))
    values[0, :3] = np.nan, np.inf, -0.0
    return [
        (None, {"plain": values, "turned": values.T, "strided": values[:, ::3], "status": np.int8([1, 2])}),
        (3, "a traceback"),
        (4, {"empty": np.zeros((0, 3)), "whole": np.arange(5)}),
    ]


def assert_same(got, expected):
    assert [run for run, _ in got] == [run for run, _ in expected]
    for (_, one), (_, other) in zip(got, expected, strict=True):
        if isinstance(other, str):
            assert one == other
            continue
        assert list(one) == list(other)
        for name, values in other.items():
            assert one[name].dtype == values.dtype
            assert one[name].shape == values.shape
            assert one[name].tobytes() == values.tobytes()
            assert one[name].flags.writeable


def test_a_large_result_takes_a_file_that_is_gone_when_it_has_arrived(tmp_path):
    sent = pickle.dumps(Handover(results(), str(tmp_path)))
    assert len(sent) < LEAST_BYTES + results()[0][1]["strided"].nbytes  # what has gaps is sent as it is
    assert len(list(tmp_path.iterdir())) == 1
    assert_same(pickle.loads(sent), results())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("why", ["small", "no folder", "a folder that is gone", "no room"])
def test_what_can_have_no_file_or_needs_none_takes_the_pipe(tmp_path, why):
    parts = results()
    folder = {"no folder": "", "a folder that is gone": str(tmp_path / "gone")}.get(why, str(tmp_path))
    if why == "small":
        parts = [(None, {"a": np.ones(LARGE - 1)})]
    if why == "no room":
        resource = pytest.importorskip("resource", exc_type=ImportError)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST_BYTES // 2, limits[1]))
    try:
        sent = pickle.dumps(Handover(parts, folder))
    finally:
        if why == "no room":
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
    assert_same(pickle.loads(sent), parts)


def test_a_file_that_was_cut_is_no_result(tmp_path):
    sent = pickle.dumps(Handover(results(), str(tmp_path)))
    (file,) = tmp_path.iterdir()
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(EOFError, match="ends before"):
        pickle.loads(sent)


SPEC = {
    "replicates": 4,
    "network": {"hidden": 4},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 3000},
    "sweep": {"task.batch": [1, 2, 3, 4]},
}


def test_results_of_workers_take_files_and_none_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    read, kept = [], handover._read
    monkeypatch.setattr(handover, "_read", lambda path, *more: (read.append(path), kept(path, *more))[1])
    plan = plan_of(SPEC)
    sink, _ = run(plan, workers=Workers(2))
    assert_same_records(sink.arrays, run(plan)[0].arrays)
    assert len(read) >= 4
    assert {Path(path).parent.parent for path in read} == {tmp_path}
    assert not list(tmp_path.glob("gradlab-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_that_is_killed_leaves_no_file(tmp_path):
    """Workers that find their parent gone remove what it would have removed."""
    script = f"""
    import gradlab, os
    spec = {{**{SPEC!r}, "replicates": 400}}
    if __name__ == "__main__":
        gradlab.run(spec, out={str(tmp_path / "out")!r}, workers=2)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script), encoding="utf-8")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py")], env=environment)

    def wait_for(what):
        deadline = time.monotonic() + 60
        while not what():
            assert process.poll() is None or process.returncode == -signal.SIGKILL
            assert time.monotonic() < deadline
            time.sleep(0.01)

    wait_for(lambda: list(temporary.glob("gradlab-*/*")))
    process.kill()
    process.wait()
    wait_for(lambda: not list(temporary.glob("gradlab-*")))
