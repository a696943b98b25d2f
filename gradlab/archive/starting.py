"""Starting zarr, which works in a thread of its own."""

from __future__ import annotations

from functools import cache

from gradlab.experiment.interruption import held_back


@cache
def start_zarr() -> None:
    """Let zarr start its thread, which it does at its first use.

    A Ctrl-C while it does would leave a thread that is known but does not run, and a traceback at the
    end of the process.
    """
    with held_back():
        import zarr
        from zarr.storage import MemoryStore

        zarr.create_group(MemoryStore())
