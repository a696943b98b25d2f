"""zarr's own thread: what it would say that has been told already."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from gradlab.archive.starting import not_told, start_zarr


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


def test_what_a_ctrl_c_leaves_under_way_in_zarr_is_not_said(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    async def read() -> None:
        raise FileNotFoundError(await store.get("none", default_buffer_prototype()))

    def said(text: str, error: BaseException | None = None) -> bool:
        info = None if error is None else (type(error), error, error.__traceback__)
        return not_told(logging.LogRecord("asyncio", logging.ERROR, "", 0, text, (), info))

    pending = (
        "Task was destroyed but it is pending!\ntask: <Task pending coro=<_runner() done, defined at {}>"
    )
    assert not said(pending.format("/site-packages/zarr/core/sync.py:113"))
    assert said(pending.format("/site-packages/another/sync.py:113"))
    (tmp_path / "file").touch()
    value = default_buffer_prototype().buffer.from_bytes(b"1")
    with pytest.raises(OSError, match="file") as caught:
        asyncio.run(store.set("file/inside", value))
    never = "Future exception was never retrieved"
    assert not said(never, caught.value)
    with pytest.raises(FileNotFoundError) as own:
        asyncio.run(read())
    assert said(never, own.value)
    assert said(never)
