"""The contract of a block: cases of equal shape, measured together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from gradlab.learning.workspace import Workspace

Array = NDArray[Any]
TELLING = ".json"  # the end of the name of the file, beside a checkpoint, that tells how far it is


class AbstractBlock(ABC):
    """Cases of equal shape.

    A block is sent to a process as it is, and what comes back is the records of its cases. It has
    *runs*, each of them measured through the same views: every (run, view) is one case. A block with
    some of the runs alone gives the same bits for their cases.
    """

    runs: tuple[Any, ...]

    @property
    def size(self) -> int:
        """Number of runs."""
        return len(self.runs)

    def part(self, start: int, stop: int) -> Self:
        """Return the block with these runs alone."""
        return replace(self, runs=self.runs[start:stop])  # type: ignore[type-var]  # every block is a dataclass

    @abstractmethod
    def measure(
        self, record: Collection[str], memory: int, workspace: Workspace, checkpoint: Path | None = None
    ) -> dict[str, Array]:
        """Return the records of all cases, shape (run, view) followed by the record's own dimensions.

        Parameters
        ----------
        record : collection of str
            What is recorded.
        memory : int
            Bytes that the buffers may take; it changes no bit of any result.
        workspace : Workspace
            The buffers.
        checkpoint : path, optional
            A file to keep unfinished work in and to go on from; blocks of seconds need none.
        """

    def checkpoint_name(self, record: Collection[str]) -> str | None:
        """Return a file name for unfinished work, that of no other cases or code; None: it needs none."""
        return None

    def case_keys(self, record: Collection[str]) -> list[str]:
        """Return what names each run in a file for unfinished work; none where it needs none."""
        return []

    @abstractmethod
    def check_memory(self, record: Collection[str], memory: int, total: Callable[[int], int] = int) -> None:
        """Raise UserMistake if not even one run fits into `memory` bytes.

        `total` turns the bytes that would suffice for the buffers into what the message asks for.
        """

    @abstractmethod
    def buffer_bytes(self, record: Collection[str], memory: int) -> int:
        """Return the bytes that `measure` will take under a bound."""

    @property
    def labels(self) -> dict[str, Sequence[Any]]:
        """What the block's records have along dimensions whose labels are not the same in every block."""
        return {}

    @property
    @abstractmethod
    def kind(self) -> object:
        """What is equal for blocks that take about equally long for a unit of work, and as much memory."""

    @property
    @abstractmethod
    def run_seconds(self) -> float:
        """About how long one run takes; a yardstick to share work out, the same on every machine."""

    @abstractmethod
    def passes(self, record: Collection[str], *, shared: bool = True) -> tuple[int, int]:
        """Return the forward and the backward passes that it takes, or would if cases shared nothing."""

    @abstractmethod
    def units(self, record: Collection[str]) -> tuple[float, ...]:
        """Return how much work of each sort it is, in units that take as long in every block of a `kind`."""

    @abstractmethod
    def trials(self) -> tuple[Self, ...]:
        """Return small blocks of the same kind, to be timed: as many as there are sorts of work."""
