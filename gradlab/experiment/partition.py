"""A part of a sweep, for one of several machines: disjoint from the others, and about as much work."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.plan import Plan

Partition = tuple[int, int]  # which of how many, from 1
MOST = 100_000


def parse_partition(text: object, where: str = "partition") -> Partition:
    """Return which part of how many a text such as ``"3/16"`` means.

    Raises
    ------
    UserMistake
        If it means none.
    """
    expected = "which part of how many, as in 3/16: from 1/16 to 16/16"
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text) if isinstance(text, str) else None
    part, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= count <= MOST:
        raise UserMistake(Problem(where, expected, shown(text)))
    return part, count


def cases_of(plan: Plan, partition: Partition) -> NDArray[np.bool_]:
    """Return which cases are of one part, in the grid's dense shape.

    It follows from the spec alone. A part has whole runs of neighbouring blocks, so that what cases share
    is mostly shared within it; parts differ by about one run's work.
    """
    part, count = partition
    found = np.zeros(plan.grid.shape, dtype=bool)
    blocks = list(plan.blocks())
    works = [planned.block.run_seconds for planned in blocks]
    total = sum(work * b.block.size for work, b in zip(works, blocks, strict=True))
    done = 0.0
    for work, planned in zip(works, blocks, strict=True):
        runs = planned.block.size
        middle = (done + work * (np.arange(runs) + 0.5)) / total
        mine = np.minimum((middle * count).astype(np.int64), count - 1) == part - 1
        found[tuple(planned.index[mine].reshape(-1, found.ndim).T)] = True
        done += work * runs
    return found
