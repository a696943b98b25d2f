"""What a worker process does: measure the blocks it is sent. It imports no more than that needs."""

from __future__ import annotations

import signal
import traceback
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import Block, probe

#: The records of a block, or the traceback of what it raised.
Result = dict[str, NDArray[Any]] | str
#: Results with the run they belong to; None stands for the whole block.
Parts = list[tuple[int | None, Result]]

_workspace: Workspace | None = None


def measured(block: Block, record: tuple[str, ...], share: int, workspace: Workspace) -> Parts:
    """Measure a block; if it raises, run by run, so that only the runs at fault fail.

    Parameters
    ----------
    block : Block
        What to measure.
    record : tuple of str
        What is recorded.
    share : int
        Bytes that the buffers may take.
    workspace : Workspace
        The buffers.
    """
    result = _attempt(block, record, share, workspace)
    if not isinstance(result, str) or len(block.runs) == 1:
        return [(None, result)]
    return [
        (i, _attempt(replace(block, runs=(run,)), record, share, workspace))
        for i, run in enumerate(block.runs)
    ]


def _attempt(block: Block, record: tuple[str, ...], share: int, workspace: Workspace) -> Result:
    try:
        return probe(block, record, share, workspace)
    except Exception:  # a case that raises is a result: it is kept with its error
        return traceback.format_exc()


def start() -> None:
    """Prepare this process: one BLAS thread, buffers of its own, interruptions left to the parent."""
    from threadpoolctl import threadpool_limits

    global _workspace
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1, user_api="blas")
    _workspace = Workspace()


def work(block: Block, record: tuple[str, ...], share: int) -> Parts:
    """Measure a block in a process that has been started."""
    assert _workspace is not None
    return measured(block, record, share, _workspace)
