"""What a worker of a cluster does: say what code it runs, and measure the blocks it is sent.

It imports no more than that needs: nothing of how blocks come about, and dask, which runs it, only to
pass on what a user is to be told.
"""

from __future__ import annotations

import pickle
import threading
from functools import cache
from importlib import metadata

from gradlab.core import notices
from gradlab.experiment import worker
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import AbstractBlock

TOPIC = "what users of gradlab are to be told"
_own = threading.local()  # a worker may have several threads, and each needs buffers of its own
_lock = threading.Lock()


def facts() -> dict[str, str]:
    """Return what must be the same in every process that measures for one archive."""
    import numpy as np
    import scipy

    from gradlab.core.fingerprint import code_key

    try:
        version = metadata.version("gradlab")
    except metadata.PackageNotFoundError:  # a copy that was not installed
        version = "unknown"
    return {"gradlab": version, "code": code_key(), "numpy": np.__version__, "scipy": scipy.__version__}


def packed(block: AbstractBlock, order: worker.Order) -> bytes:
    """Return what a worker is sent; dask then has nothing to look through."""
    return pickle.dumps((block, order), pickle.HIGHEST_PROTOCOL)


def work(task: bytes) -> worker.Parts:
    """Measure a block, in any thread of any process."""
    with _lock:
        _one_thread()
        _listen()
    if not hasattr(_own, "workspace"):
        _own.workspace = Workspace()
    block, order = pickle.loads(task)
    return worker.measured(block, order, _own.workspace)


@cache
def _listen() -> None:
    """Pass on what a user is to be told, each text once, to whom listens to the topic."""
    notices.listen(_tell)


def _tell(text: str) -> None:
    from distributed import get_worker

    get_worker().log_event(TOPIC, text)


@cache
def _one_thread() -> object:
    """Limit linear algebra to one thread, once and for good; what undoes the limit is kept."""
    return worker.one_thread()
