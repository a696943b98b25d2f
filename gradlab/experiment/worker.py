"""What a worker process does: measure the blocks it is sent. It imports no more than that needs."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from gradlab.experiment.handover import Handover
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import AbstractBlock

if TYPE_CHECKING:
    from threadpoolctl import threadpool_limits

#: The records of a block, or the traceback of what it raised.
Result = dict[str, NDArray[Any]] | str
#: Results with the run they belong to; None stands for the whole block.
Parts = list[tuple[int | None, Result]]

_workspace: Workspace | None = None
_folder = ""  # for results on their way

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_ARRAY_BYTES = 32 << 20  # the largest piece that is kept; the library takes no more
KEPT_BYTES = 128 << 20


@dataclass(frozen=True)
class Order:
    """What is wanted of a block, and what it may take.

    Parameters
    ----------
    record : tuple of str
        What is recorded.
    share : int
        Bytes that the buffers may take.
    checkpoints : str, optional
        A folder for unfinished work, on a disk that all processes see.
    """

    record: tuple[str, ...]
    share: int
    checkpoints: str | None = None

    def checkpoint(self, block: AbstractBlock) -> Path | None:
        """Return the file for the unfinished work of a block, if it needs one."""
        name = None if self.checkpoints is None else block.checkpoint_name(self.record)
        return None if name is None else Path(str(self.checkpoints)) / name


def measured(block: AbstractBlock, order: Order, workspace: Workspace) -> Parts:
    """Measure a block; if it raises, run by run, so that only the runs at fault fail.

    Parameters
    ----------
    block : AbstractBlock
        What to measure.
    order : Order
        What of it, and how.
    workspace : Workspace
        The buffers.
    """
    result = _attempt(block, order, workspace)
    if not isinstance(result, str) or block.size == 1:
        return [(None, result)]
    return [(run, _attempt(block.part(run, run + 1), order, workspace)) for run in range(block.size)]


def _attempt(block: AbstractBlock, order: Order, workspace: Workspace) -> Result:
    try:
        return block.measure(order.record, order.share, workspace, order.checkpoint(block))
    except Exception:  # a case that raises is a result: it is kept with its error
        return traceback.format_exc()


def prepare(folder: str = "") -> None:
    """Prepare this process: one BLAS thread, buffers of its own, and a folder for results on their way."""
    global _workspace, _folder
    one_thread()
    keep_memory()
    _workspace, _folder = Workspace(), folder
    gc.freeze()  # what is loaded by now stays: no collection need look at it


def keep_memory() -> None:
    """Let the C library keep what one block gives back, for the next one: fresh pages have their price.

    Only the GNU library is known to be told so; elsewhere nothing changes.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        told = ctypes.CDLL(None).mallopt
        told(_M_MMAP_THRESHOLD, KEPT_ARRAY_BYTES)
        told(_M_TRIM_THRESHOLD, KEPT_BYTES)


def one_thread() -> threadpool_limits:
    """Limit linear algebra to one thread, for its last bits differ with their number.

    The limit is undone by leaving it as a context. It reaches only libraries that are loaded, so SciPy,
    which has its own BLAS and is otherwise loaded by the first matrix that is drawn, is loaded first.
    """
    import scipy.linalg  # noqa: F401  # for its BLAS to be there when the limit is set
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def linear_algebra() -> list[dict[str, Any]]:
    """Return what libraries of linear algebra a process measures with, and with how many threads each."""
    from threadpoolctl import threadpool_info

    told = ("internal_api", "version", "architecture", "num_threads")
    with one_thread():
        pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    return [{key: pool.get(key) for key in told} for pool in pools]


def work(block: AbstractBlock, order: Order) -> Parts:
    """Measure a block in a process that has been prepared, for another process."""
    assert _workspace is not None
    return cast("Parts", Handover(measured(block, order, _workspace), _folder))  # it arrives as that
