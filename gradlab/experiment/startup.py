"""How a worker process starts; NumPy is not loaded yet when this module is."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading


def start() -> None:
    """Prepare this process: interruptions left to the parent, one BLAS thread, all loaded that it needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A limit on threads that are there already leaves them spinning for a while, on the other workers' cores.
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    from gradlab.experiment import worker

    importlib.import_module("gradlab.measure.probe")  # most blocks are of that kind
    worker.prepare()


def _end_with_parent() -> None:
    """End this process when its parent has ended, in whatever way; by itself it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def started() -> None:
    """Do nothing, in a process that has been started."""
