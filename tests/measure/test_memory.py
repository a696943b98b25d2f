"""The memory bound is kept in reality: peak resident memory of a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

MIB = 1 << 20
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
SCRIPT = """
import json, re, sys
from pathlib import Path
import gradlab
table, options = json.loads(sys.argv[1])
ds = gradlab.run(table, **options)
# Not getrusage: its maximum is inherited from the process that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
print(json.dumps({
    "peak": peak,
    "status": sorted(set(ds.status.values.ravel().tolist())),
    "lags": int(ds.sizes["lag"]),
}))
"""


def measured(*tables, script=SCRIPT, **options):
    """Run a spec in a fresh process; return its peak resident bytes and what it found."""
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps([*tables, options] if script is SCRIPT else tables)],
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def long_case(length, **network):
    return {
        "network": {"hidden": 64, **network},
        "task": {"name": "noise", "features": 8, "batch": 1, "length": length},
    }


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_the_bound_is_kept_where_the_tape_alone_would_break_it(cell):
    """Batch 64 and 3000 steps: a whole tape of the Elman cell takes 200 MiB, of the LSTM 700 MiB."""
    table = {
        "network": {"hidden": 64, "cell": cell},
        "task": {"name": "noise", "features": 8, "batch": 64, "length": 3000},
    }
    got = measured(table, memory=300 * MIB)
    assert got["status"] == [1]
    assert got["peak"] < 300 * MIB, got["peak"] / MIB


def test_many_short_cases_stay_under_a_bound():
    table = {
        "replicates": 6,
        "network": {"hidden": 32},
        "task": {"name": "noise", "features": 8, "batch": 16, "length": 200, "at": "every"},
        "sweep": {
            "network.spectrum.radius": np.linspace(0.5, 1.5, 8).tolist(),
            "clip": [
                "off",
                {"name": "adjoint_norm", "threshold": 0.1},
                {"name": "adjoint_value", "threshold": 0.1},
            ],
        },
    }
    got = measured(table, memory=280 * MIB)
    assert got["status"] == [1]
    assert got["peak"] < 280 * MIB, got["peak"] / MIB


SAMPLES = """
import json, re, sys
from pathlib import Path
from gradlab.learning.clipping import registry as clips
from gradlab.measure.probe import Block, Run, View, buffer_bytes, probe
from gradlab.measure.records import ORDINARY
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import registry as tasks

def peak():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", text).group(1)) * 1024

network, task, rule = json.loads(sys.argv[1])
runs = tuple(Run(NetworkSettings.build(network), 0, replicate) for replicate in range(8))
block = Block(runs, (View(tasks.build(task), clips.build(rule)),))
memory, before = 900 << 20, peak()
probe(block, memory=memory)
print(json.dumps({"taken": peak() - before, "told": buffer_bytes(block, ORDINARY, memory)}))
"""


@pytest.mark.parametrize("embedding", [None, 32])
def test_gradients_of_single_samples_are_counted(embedding):
    """Eight cases of 34 MiB of them each, with a term and a copy, do not fit at once."""
    task = {"name": "noise", "features": 8} if embedding is None else {"name": "symbols", "features": 40}
    network = {"hidden": 256, **({} if embedding is None else {"embedding": embedding})}
    rule = {"name": "per_sample", "threshold": 0.1}
    got = measured(network, {**task, "batch": 64, "length": 40}, rule, script=SAMPLES)
    assert got["told"] <= 900 * MIB
    assert 300 * MIB < got["taken"] < 1.1 * got["told"], (got["taken"] / MIB, got["told"] / MIB)


def test_ten_thousands_of_steps_stay_under_the_bound():
    """A whole tape of them takes 210 MiB, beside some 150 that the program itself does."""
    table = long_case(50_000)
    table["task"]["batch"] = 4
    got = measured(table, memory=300 * MIB)
    assert (got["status"], got["lags"]) == ([1], 50_000)
    assert got["peak"] < 300 * MIB, got["peak"] / MIB


@pytest.mark.slow
@pytest.mark.long
def test_a_million_steps_stay_under_a_gibibyte():
    got = measured(long_case(1_000_000))
    assert (got["status"], got["lags"]) == ([1], 1_000_000)
    assert got["peak"] < 1024 * MIB, got["peak"] / MIB


@pytest.mark.slow
@pytest.mark.long
def test_thousands_of_cases_of_a_thousand_steps_stay_under_the_bound(tmp_path):
    table = {
        "replicates": 20,
        "network": {"hidden": 16},
        "task": {"name": "noise", "features": 4, "batch": 4, "length": 1000},
        "sweep": {"network.spectrum.radius": np.linspace(0.5, 1.5, 100).tolist()},
    }
    got = measured(table, out=str(tmp_path / "a"), memory=512 * MIB)
    assert got["status"] == [1]
    assert got["peak"] < 512 * MIB, got["peak"] / MIB


def family_of(pid: int) -> set[int]:
    """Return a process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end between two looks
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def peaks_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """Wait for a process; return the peak resident bytes of it and of all below it, by their ids."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in family_of(process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):  # not said of one that has ended
                peaks[pid] = int(found[1]) << 10
        time.sleep(0.02)
    return peaks


@pytest.mark.slow
def test_parent_and_workers_together_stay_under_the_bound():
    """Four cases of 5000 steps: the whole tape of one takes 560 MiB."""
    bound = 640 * MIB
    table = {
        "replicates": 2,
        "network": {"hidden": 64, "cell": "lstm"},
        "task": {"name": "noise", "features": 8, "batch": 32, "length": 5_000},
        "sweep": {"network.spectrum.radius": [0.9, 1.1]},
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps([table, {"workers": 2, "memory": bound}])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    peaks = peaks_of(process)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == [1]
    heavy = [peak for peak in peaks.values() if peak > 50 * MIB]
    assert len(heavy) == 3, peaks  # the parent and two workers; the tracker of resources is light
    assert sum(peaks.values()) < bound, [peak / MIB for peak in peaks.values()]
