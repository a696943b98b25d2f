"""Starting zarr, which works in a thread of its own."""

from __future__ import annotations

import logging
from functools import cache

from gradlab.experiment.interruption import held_back


def not_told(record: logging.LogRecord) -> bool:
    """Return whether what asyncio wants to say has not been told by the error that a run ended with.

    zarr writes several files at once. Where the disk refuses them all, the first refusal is raised, and
    asyncio would print the tracebacks of the others behind the user's message.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and "zarr" in record.getMessage())


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
