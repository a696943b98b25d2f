"""How a worker process starts; NumPy is not loaded yet when this module is."""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

from gradlab.core import notices


def start(tell: Connection) -> None:
    """Prepare this process: interruptions left to the parent, one BLAS thread, all loaded that it needs.

    What the user is to be told goes to the parent by `tell`.
    """
    notices.listen(functools.partial(_tell, tell))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A limit on threads that are there already leaves them spinning for a while, on the other workers' cores.
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    from gradlab.experiment import worker

    importlib.import_module("gradlab.measure.probe")  # most blocks are of that kind
    worker.prepare()


def _tell(parent: Connection, text: str) -> None:
    with contextlib.suppress(OSError):  # it does not listen any more
        parent.send(text)


def _end_with_parent() -> None:
    """End this process when its parent has ended, in whatever way; by itself it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def started() -> None:
    """Do nothing, in a process that has been started."""
