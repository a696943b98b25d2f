"""Starting zarr, which works in a thread of its own."""

from __future__ import annotations

import logging
import traceback
from functools import cache
from pathlib import Path

from gradlab.experiment.interruption import held_back


def not_told(record: logging.LogRecord) -> bool:
    """Return whether what asyncio wants to say has not been told by the message that a run ended with.

    zarr does several things at once. Where the disk refuses them all, the first refusal is raised, and
    asyncio would print the tracebacks of the others behind it; after a Ctrl-C those of what was under way.
    """
    error, text = record.exc_info[1] if record.exc_info else None, record.getMessage()
    told = isinstance(error, OSError) or text.startswith("Task was destroyed")
    return not (told and ("zarr" in text or _through_zarr(error)))


def _through_zarr(error: BaseException | None) -> bool:
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)
    return any("zarr" in Path(frame.filename).parts for frame in frames)


@cache
def start_zarr() -> None:
    """Let zarr start its thread, which it does at its first use.

    A Ctrl-C while it does would leave a thread that is known but does not run, and a traceback at the
    end of the process.
    """
    logging.getLogger("asyncio").addFilter(not_told)
    with held_back():
        import zarr
        from zarr.storage import MemoryStore

        zarr.create_group(MemoryStore())
