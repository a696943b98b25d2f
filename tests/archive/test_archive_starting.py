"""zarr's own thread: what it would say that has been told already."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from gradlab.archive.starting import start_zarr


def refused(loop: asyncio.AbstractEventLoop, error: Exception, name: str) -> None:
    """Let a task of this name end with an error that nobody asks it for."""

    async def write() -> None:
        raise error

    async def others() -> None:
        loop.create_task(write(), name=name)  # forgotten on purpose
        await asyncio.sleep(0)

    loop.run_until_complete(others())
    gc.collect()


@pytest.mark.parametrize(
    ("error", "name", "said"),
    [
        (PermissionError(13, "Permission denied"), "zarr", False),
        (PermissionError(13, "Permission denied"), "another's", True),
        (ValueError("a bug"), "zarr", True),
    ],
)
def test_refusals_of_the_disk_are_told_once_and_all_else_is_said(
    error: Exception, name: str, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    start_zarr()
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        refused(loop, error, name)
        loop.close()
    assert ("never retrieved" in caplog.text) == said
