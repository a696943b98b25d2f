"""Ctrl-C while workers work: it is answered where the runner waits, so that no lock stays held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import Future
from pathlib import Path

import pytest
from runs import plan_of, run
from test_runner_workers import MANY

from gradlab.experiment.interruption import Arrivals, held_back


@pytest.fixture(scope="module")
def plan():
    return plan_of(MANY)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_run_by_workers_is_interrupted_where_it_waits(plan):
    told = []

    def progress(done, failed):
        told.append(done)
        if len(told) == 2:
            press()

    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan, workers=2, progress=progress)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "next"
    assert len(told) >= 2
    assert sum(told) < plan.grid.n_cases
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_comes_after_the_last_block_is_not_lost(plan):
    told = []

    def progress(done, failed):
        told.append(done)
        if sum(told) == plan.grid.n_cases:
            press()

    with pytest.raises(KeyboardInterrupt):
        run(plan, workers=2, progress=progress)
    assert sum(told) == plan.grid.n_cases


def test_the_second_one_comes_at_once():
    arrivals = Arrivals()
    with pytest.raises(KeyboardInterrupt), arrivals.interruptible():
        press(), press(), pytest.fail("not reached")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_answers_it_already_goes_on_to_do_so():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        with Arrivals().interruptible():
            press()
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [1]


def test_other_threads_may_wait_too():
    arrivals, found, future = Arrivals(), [], Future()

    def wait():
        with arrivals.interruptible():
            found.append(arrivals.next())

    thread = threading.Thread(target=wait)
    thread.start()
    arrivals.expect(future)
    future.set_result(1)
    thread.join()
    assert found == [future]


ENDLESS = """
import os, sys, time
from gradlab.experiment import startup
from gradlab.experiment.workers import Workers
forked = sys.argv[2] == "forked"
if forked:
    startup.prepare_fork()
workers = Workers(2, forked=forked)
workers.start()
time.sleep(float(sys.argv[1]))
print(*(process.pid for process in workers._processes), flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["spawned", "forked"])
@pytest.mark.parametrize("seconds", [0, 3])
def test_workers_end_when_their_parent_was_killed(seconds, how):
    """Also such as are just starting."""
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(seconds), how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(runs(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid):
    try:
        return "multiprocessing" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_one_that_is_held_back_comes_when_the_body_has_ended():
    ended = []

    def body():
        with held_back():
            press()
            time.sleep(0.01)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert ended
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with held_back():
        pass


def test_what_is_held_back_does_not_hide_an_error():
    def body():
        with held_back():
            press()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        body()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
