"""One writer at a time, and readers at any time."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_archive_extend import BASE, axes

import gradlab
from gradlab.archive import lock
from gradlab.archive.lock import holder, writing
from gradlab.core.errors import UserMistake
from gradlab.drawing import draw_figures

ROOT = str(Path(__file__).parents[2])
HOLD = """
import sys, time
from gradlab.archive.lock import writing
with writing(sys.argv[1], ["gradlab", "run", "theirs.toml"]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def another(path):
    """Another process that writes into an archive."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def theirs(tmp_path):
    with another(tmp_path / "a") as process:
        yield process


def test_a_second_writer_is_told_who_holds_it(tmp_path, theirs):
    with pytest.raises(UserMistake) as caught, writing(tmp_path / "a"):
        pass
    text = str(caught.value)
    assert f"process {theirs.pid} on {socket.gethostname()!r}, since '" in text
    assert ": gradlab run theirs.toml)" in text
    assert "Wait for it or end it, or give another --out." in text


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_holds_nothing(tmp_path, theirs, how):
    theirs.send_signal(how)
    theirs.wait()
    assert holder(tmp_path / "a")["pid"] == theirs.pid  # still written there
    with writing(tmp_path / "a"):
        assert holder(tmp_path / "a")["pid"] == os.getpid()
    assert holder(tmp_path / "a") == {}


def test_every_way_to_write_takes_it(tmp_path, theirs):
    for work in (
        lambda: gradlab.run(BASE, tmp_path / "a"),
        lambda: gradlab.api.merge([tmp_path / "b", tmp_path / "c"], tmp_path / "a"),
    ):
        if not (tmp_path / "b").exists():
            gradlab.run(axes(radius=[0.5]), tmp_path / "b")
            gradlab.run(axes(radius=[1.5]), tmp_path / "c")
        with pytest.raises(UserMistake, match="one into which another run writes"):
            work()


def test_readers_read_while_a_run_writes(tmp_path):
    seen = []

    def progress(cases, failed):
        ds = gradlab.open_archive(tmp_path / "a")
        seen.append(int((ds["status"] == 1).sum()))
        with pytest.raises(UserMistake, match="another run writes"):
            gradlab.run(BASE, tmp_path / "a")

    whole = gradlab.run(BASE, tmp_path / "a", progress=progress)
    assert seen == sorted(seen)
    assert seen[-1] == whole["status"].size > 1


def test_it_is_let_go_of_after_an_error_too(tmp_path):
    with pytest.raises(RuntimeError), writing(tmp_path / "a"):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    with writing(tmp_path / "a"):
        (tmp_path / "a" / "something").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["something"]


def test_a_directory_of_something_else_gets_no_lock(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserMistake, match="holds something else"), writing(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def count(path, place, turns):
    """Add to a number in a file, which only those who hold the lock may."""
    for _ in range(turns):
        while True:
            try:
                with writing(path):
                    number = int(place.read_text())
                    place.write_text(str(number + 1))
                break
            except UserMistake:
                continue


def test_many_writers_never_hold_it_together(tmp_path):
    place = tmp_path / "number"
    place.write_text("0")
    (tmp_path / "a").mkdir()
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    processes = [context.Process(target=count, args=(tmp_path / "a", place, 60)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert place.read_text() == "240"


# --- where files cannot be locked ------------------------------------------------------------------------


@pytest.fixture
def without_locks(monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_file_is_the_lock(tmp_path, theirs):
    with pytest.raises(UserMistake, match="another run writes"), writing(tmp_path / "a"):
        pass
    theirs.kill()
    theirs.wait()
    with writing(tmp_path / "a"):
        assert holder(tmp_path / "a")["pid"] == os.getpid()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize(
    ("change", "free"),
    [
        ({}, False),
        ({"host": "elsewhere"}, False),
        ({"begun": 5}, True),  # its number was given to another process
        ({"pid": 2**22 + 1}, True),
        ({"pid": "x"}, True),
    ],
)
def test_who_is_dead(tmp_path, theirs, change, free):
    file = tmp_path / "a" / "lock.json"
    file.write_text(json.dumps(holder(tmp_path / "a") | change))
    if free:
        with writing(tmp_path / "a"):
            pass
        return
    with pytest.raises(UserMistake, match="another run writes") as caught, writing(tmp_path / "a"):
        pass
    assert (f"remove {file}" in str(caught.value)) == ("host" in change)


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_damaged_lock_is_nobodys(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "lock.json").write_text(text)
    with writing(tmp_path / "a"):
        assert holder(tmp_path / "a")["pid"] == os.getpid()


def test_threads_of_one_process_are_two_writers(tmp_path):
    errors = []

    def other():
        try:
            with writing(tmp_path / "a"):
                pass
        except UserMistake as mistake:
            errors.append(mistake)

    with writing(tmp_path / "a"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_what_others_are_told_is_no_secret_and_no_novel(tmp_path):
    with writing(tmp_path / "a", ["gradlab"] + ["x" * 50] * 50):
        text = str(lock._held(tmp_path / "a"))
    assert len(text) < 600


def test_who_draws_while_another_writes_leaves_the_seal_alone(tmp_path):
    gradlab.run(BASE, tmp_path / "a")
    manifest = (tmp_path / "a/manifest.json").read_bytes()
    with another(tmp_path / "a"):
        draw_figures(tmp_path / "a", names=["profile"], formats=("png",))
        assert (tmp_path / "a/figures/profile.png").exists()
        assert (tmp_path / "a/manifest.json").read_bytes() == manifest
    draw_figures(tmp_path / "a", names=["profile"], formats=("png",))
    assert "figures/profile.png" in json.loads((tmp_path / "a/manifest.json").read_text())["files"]
