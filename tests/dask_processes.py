"""A dask scheduler and workers as processes of their own, as dask itself starts them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = str(Path(__file__).parents[1])


class Dask:
    """A scheduler, and the workers it is given."""

    def __init__(self, folder: Path):
        self.file = folder / "scheduler.json"
        self.log = folder / "log"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--host", "127.0.0.1")
        try:
            self.address = self._told_address()
        except BaseException:
            self.end()
            raise

    def _told_address(self) -> str:
        """Wait for what the scheduler writes, which is there before it is whole."""
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                return json.loads(self.file.read_text())["address"]
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(self.file)]
        environment = {**os.environ, "PYTHONPATH": ROOT}
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [*command, "--no-dashboard", *arguments],
                stdout=log, stderr=log, cwd=self.file.parent, env=environment,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, threads: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker that nobody starts again."""
        return self._start("dask_worker", "--no-nanny", "--nthreads", str(threads), "--host", "127.0.0.1")

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@contextlib.contextmanager
def dask(folder: Path, *threads: int) -> Iterator[Dask]:
    """Run a scheduler with workers of so many threads; all end with the context."""
    cluster = Dask(folder)
    try:
        for count in threads:
            cluster.worker(count)
        yield cluster
    finally:
        cluster.end()
