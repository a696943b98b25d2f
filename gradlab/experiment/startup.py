"""How a worker process starts; NumPy is not loaded yet when this module is."""

from __future__ import annotations

import os
import signal


def start() -> None:
    """Prepare this process: interruptions left to the parent, one BLAS thread, all loaded that it needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A limit on threads that are there already leaves them spinning for a while, on the other workers' cores.
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    from gradlab.experiment import worker

    worker.prepare()


def started() -> None:
    """Do nothing, in a process that has been started."""
