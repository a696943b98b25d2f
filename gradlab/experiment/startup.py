"""How a worker process starts; NumPy is not loaded yet when this module is."""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from gradlab.core import notices

#: Elsewhere there is no such thing, or the system's linear algebra does not survive it.
CAN_FORK = sys.platform == "linux"


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start(tell: Connection, all_started: Event, folder: str) -> None:
    """Prepare this process: interruptions left to the parent, one BLAS thread, all loaded that it needs.

    What the user is to be told goes to the parent by `tell`, and large results by files in `folder`. No
    process takes work before all have been started: a pool starts none while another is idle.
    """
    notices.listen(functools.partial(_tell, tell))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    load()
    from gradlab.experiment import worker

    worker.prepare(folder)
    all_started.wait()


def one_thread_from_the_start() -> None:
    """Have linear algebra that is not loaded yet start with one thread.

    A limit on threads that are there already leaves them spinning for a while, on the workers' cores.
    """
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def load() -> None:
    """Load all that a worker needs, linear algebra with one thread."""
    one_thread_from_the_start()
    from gradlab.experiment import worker

    importlib.import_module("gradlab.measure.probe")  # most blocks are of that kind
    worker.one_thread()


def _tell(parent: Connection, text: str) -> None:
    with contextlib.suppress(OSError):  # it does not listen any more
        parent.send(text)


def _end_with_parent(folder: str) -> None:
    """End this process when its parent has ended, in whatever way; by itself it would wait for ever.

    What a parent that was killed has not removed is removed here.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def started() -> list[dict[str, Any]]:
    """Return what a process that has been started measures with."""
    from gradlab.experiment import worker

    return worker.linear_algebra()


def prepare_fork() -> bool:
    """Start the process that workers are forked of; it loads what they need while this one goes on.

    Return whether there is one: it needs a socket among the temporary files, and the system may find its
    path too long. A program has but one such process, whoever uses it, and this one keeps linear algebra
    to one thread: it is for programs that are gradlab's own, not for a user's script.
    """
    if not CAN_FORK:
        return False
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["gradlab.experiment.loaded"])
    with quiet():
        try:
            forkserver.ensure_running()
        except ConnectionError:  # one that was killed a moment ago: the next try starts another
            raise
        except OSError:
            return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let workers start without the user's script, and without their tracebacks on Ctrl-C.

    Workers need gradlab only: a script that calls `run` at its top level must not be run again in
    each of them. And an interruption is for this process to answer: workers inherit it as blocked
    until they ignore it.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = getattr(main, "__spec__", None), None
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        resource_tracker.ensure_running()  # its own start would unblock the signal again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        main.__dict__.update(hidden)
        main.__spec__ = spec
