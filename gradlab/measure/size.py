"""How much memory a probe takes, and how it stays within a bound.

Both numbers chosen here move work about and change no result: how many forward passes are held at
once, and how many time steps of the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

CACHE = 1600 << 10  # bytes of adjoints touched at every time step: larger tiles spread the cost of calls
TAPE = 128 << 20  # bytes of tape beyond which larger tiles gain nothing
_MOST_RUNS = 64


def tile_and_segment(
    network: NetworkSettings,
    tasks: Sequence[AbstractTask],
    views: int,
    gradients: bool,
    taps: Collection[str],
    memory: int,
    total: Callable[[int], int] = int,
) -> tuple[int, int]:
    """Return how many forward passes to hold at once, and the time steps of a stretch of tape.

    Parameters
    ----------
    network : NetworkSettings
        The shape of every network of the block.
    tasks : sequence of AbstractTask
        One for each lane, longest first.
    views : int
        Number of views of all lanes.
    gradients : bool
        Whether parameter gradients are formed.
    taps : collection of str
        The open taps.
    memory : int
        Bytes for all buffers.
    total : callable
        Turns bytes for buffers into the bytes that a message speaks of.

    Raises
    ------
    UserMistake
        If not even one forward pass fits.
    """
    size = np.dtype(network.dtype).itemsize
    n, task = network.hidden, tasks[0]
    blocks = len(network.cell.row_blocks)
    width, batch, length = n + task.features + 1, task.batch, task.lags
    adjoint = len(tasks) * batch * size * n * (len(network.cell.state_parts) + 2 * blocks)
    sums = blocks * n * width * size * ((views + 1) if gradients else 0)
    gathered = (1 + len({"memory", "preactivation"} & set(taps))) * 16 + 16 * (views > len(tasks))
    step = batch * (size * (network.cell.local_parts * n + width + task.features) + len(tasks) * gathered)
    stored = batch * size * n * len(network.cell.state_parts)
    records = 8 * (views * (2 + len(taps)) + 1)
    fixed = adjoint + sums + 2 * batch * size * width * 4 + length * records

    tile = int(max(1, min(_MOST_RUNS, CACHE // max(adjoint, 1), TAPE // (step * length))))
    while True:
        free = memory - tile * fixed
        segment = _segment(free, tile, step, stored, length)
        if segment >= min(length, 16) or tile == 1:
            break
        tile //= 2
    if segment < 1:
        needed = total(int(1.05 * (fixed + 2 * np.sqrt(length * step * stored) + step + stored)))
        got = f"{max(total(memory), 0) >> 20} MiB"
        hint = "Raise it with memory = or --memory, or shrink batch, hidden or length."
        raise UserMistake(Problem("memory", f"at least {(needed >> 20) + 1} MiB for cases of this size", got, hint))
    return tile, segment


def _segment(free: int, tile: int, step: int, stored: int, length: int) -> int:
    """Return the longest stretch whose tape and stored states fit into `free` bytes; 0 if none does."""
    if tile * (step * length + stored) <= free:
        return length
    best = free / (2 * tile * step)
    for segment in (int(best * 1.6), int(best)):
        if segment >= 1 and tile * (segment * step + -(-length // segment) * stored) <= free:
            return min(segment, length)
    middle = int(np.sqrt(length * stored / step)) + 1
    fits = tile * (middle * step + -(-length // middle) * stored) <= free
    return middle if fits else 0
