"""How much memory a probe takes, and how it stays within a bound.

Both numbers chosen here move work about and change no result: how many forward passes are held at
once, and how many time steps of the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.sources import TOGETHER
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

# Larger tiles spread the cost of calls, until what every time step touches has left the cache.
CACHE = 5500 << 10  # bytes of adjoints and weights
TAPE = 576 << 20  # bytes of one layer's tape beyond which larger tiles gain nothing
STEP_OBJECTS = 1000  # bytes of the Python objects that a time step of tape has, whatever its size
CREDIT_BYTES = 1600 << 10  # of adjoints that go back together for the credit of many loss times
_MOST_RUNS = 64


@dataclass(frozen=True)
class Sizes:
    """Bytes that a probe takes.

    Parameters
    ----------
    adjoint : int
        Touched at every time step of the way back, for each forward pass.
    weights : int
        Matrices that every time step multiplies with, of each forward pass.
    fixed : int
        Adjoints, sums and records of one forward pass.
    step : int
        One time step of tape, and of what the taps gather, of one forward pass.
    stored : int
        The states where one stretch begins, of one forward pass.
    shared : int
        Whatever the number of forward passes held at once.
    length : int
        Time steps.
    copies : int
        Layers times directions, which go one after the other and share `step`.
    """

    adjoint: int
    weights: int
    fixed: int
    step: int
    stored: int
    shared: int
    length: int
    copies: int

    def total(self, tile: int, segment: int) -> int:
        """Return the bytes with `tile` forward passes and stretches of `segment` time steps."""
        stretches = -(-self.length // segment)
        return (
            self.shared
            + segment * STEP_OBJECTS
            + tile * (self.fixed + segment * self.step + stretches * self.stored)
        )


def sizes_of(
    network: NetworkSettings,
    tasks: Sequence[AbstractTask],
    views: int,
    gradients: bool,
    taps: Collection[str],
    results: int,
) -> Sizes:
    """Return the bytes a probe takes.

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
    results : int
        Numbers that the whole block returns.
    """
    size = np.dtype(network.dtype).itemsize
    n, task, lanes = network.hidden, tasks[0], len(tasks)
    blocks, parts = len(network.cell.row_blocks), len(network.cell.state_parts)
    length = task.steps if network.bidirectional else task.lags
    width, batch = n + max(task.features, n * network.directions if network.layers > 1 else 0) + 1, task.batch
    state = batch * size * n
    adjoint = lanes * state * (parts + 1 + blocks * (2 if blocks > 1 else 1))
    weights = blocks * n * width * size
    sums = weights * ((views + 3) if gradients else 1)
    gathered = 16 * (1 + len({"memory", "preactivation"} & set(taps))) * lanes + 16 * views + 48
    step = state * network.cell.local_parts + batch * (size * (width + task.features) + gathered)
    records = 8 * length * (views * (len(taps) + 2) + 4)
    # Losses of neighbouring time steps: targets, what the readout gives, slopes and what they are made of.
    slope = lanes * batch * size * (task.n_outputs if task.loss_entry.uses_readout else n)
    looked = 8 * min(TOGETHER, len(task.looks())) * slope
    if network.bidirectional:  # those of all time steps stay until the other direction comes by
        looked += 2 * len(task.looks()) * slope + 2 * TOGETHER * state
    fixed = adjoint + sums + records + looked + 12 * state + 6 * batch * size * width
    if "path" in taps:
        fixed += 8 * lanes * state
    if network.layers > 1:  # what one hands down to the next, and the joined states of two directions
        step += lanes * network.directions * (state + 8 * batch) + network.directions * state
    copies = network.layers * network.directions
    # A bidirectional network is held whole: a stretch of its tape counts as part of what never shrinks.
    if network.bidirectional:
        fixed, step = fixed + step * length, 0
    stored = parts * state
    return Sizes(
        adjoint, weights, copies * fixed, copies * step, copies * stored, 16 * results, length, copies
    )


def evenly(count: int, tile: int) -> int:
    """Return how many of `count` to hold at once, at most `tile`, so that tiles are of nearly equal size.

    A small last one costs as many calls as a full one.
    """
    return -(-count // -(-count // tile))


def credit_bytes(network: NetworkSettings, task: AbstractTask) -> int:
    """Return the bytes that the credit of many loss times takes besides, for one forward pass."""
    size = np.dtype(network.dtype).itemsize
    state = task.batch * size * network.hidden
    blocks, parts = len(network.cell.row_blocks), len(network.cell.state_parts)
    lanes = min(task.steps, max(1, CREDIT_BYTES // state))
    return lanes * (state * (parts + 1 + 2 * blocks) + 16 * task.batch * task.steps)


def sample_bytes(network: NetworkSettings, task: AbstractTask) -> int:
    """Return the bytes that the gradients of single samples take besides, for one lane of a forward pass.

    They are gathered by a pass of their own; while they are summed there are a term and a copy of each.
    """
    size, n, blocks = np.dtype(network.dtype).itemsize, network.hidden, len(network.cell.row_blocks)
    table = (network.embedding or 0) * (2 * task.features + network.directions * blocks * n)
    adjoints = n * (len(network.cell.state_parts) + 1 + 2 * blocks) * network.layers * network.directions
    copies = 3 if network.embedding is None else 4  # the last where gradients by U E become those by U
    return task.batch * size * (copies * (entries(network, task, task.features) + table) + adjoints)


def entries(network: NetworkSettings, task: AbstractTask, features: int) -> int:
    """Return how many numbers the blocks of a gradient have, the table of an embedding apart.

    `features` is the width of what the lowest layer reads.
    """
    cell, n, states = network.cell, network.hidden, network.hidden * network.directions
    inputs = [features] + [states] * (network.layers - 1)
    rows = len(cell.row_blocks) * n
    each = sum(rows * (n + width + 1) + len(cell.diagonals) * n for width in inputs)
    return each * network.directions + task.n_outputs * (states + 1)


def learner_hint(
    learner: AbstractLearner,
    network: NetworkSettings,
    task: AbstractTask,
    fits: Callable[[NetworkSettings], bool],
) -> str:
    """Return what a learner takes for one case, and the largest network that would fit in words.

    `fits` says whether the memory suffices for a network; larger ones never take less.
    """
    low, high = 0, network.hidden
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(replace(network, hidden=middle)) else (low, middle)
    while low and not _is_size(network, low):
        low -= 1
    own = learner.bytes_needed(network, task) >> 20
    largest = f"the largest size that fits is {low}." if low else "no size fits."
    return (
        f"The learner {learner.name!r} alone takes {own} MiB a case for {network.hidden} hidden units; "
        f"{largest}"
    )


def _is_size(network: NetworkSettings, hidden: int) -> bool:
    try:
        network.cell.check_size(hidden)
    except UserMistake:
        return False
    return True


def tile_and_segment(sizes: Sizes, memory: int, total: Callable[[int], int] = int) -> tuple[int, int]:
    """Return how many forward passes to hold at once, and the time steps of a stretch of tape.

    Parameters
    ----------
    sizes : Sizes
        What they take.
    memory : int
        Bytes for all buffers.
    total : callable
        Turns bytes for buffers into the bytes that a message speaks of.

    Raises
    ------
    UserMistake
        If not even one forward pass fits.
    """
    tape = sizes.step * sizes.length // sizes.copies
    tile = max(1, min(_MOST_RUNS, CACHE // max(sizes.adjoint + sizes.weights, 1), TAPE // max(tape, 1)))
    while tile > 1 and sizes.total(tile, sizes.length) > memory:
        tile -= 1
    if sizes.total(tile, sizes.length) <= memory:
        return tile, sizes.length
    least = max(1, int(np.sqrt(sizes.length * sizes.stored / max(sizes.step, 1))))
    if sizes.total(1, least) > memory:
        needed = total(sizes.total(1, least)) + (1 << 20)
        held = max(total(memory), 0)
        got = f"{held >> 20} MiB" if held >= 1 << 20 else f"{held} byte{'s' * (held != 1)}"
        hint = "Raise it with memory = or --memory, or shrink batch, hidden or length."
        raise UserMistake(Problem("memory", f"at least {needed >> 20} MiB for cases of this size", got, hint))
    # The longest stretch that fits, by bisection: total() grows beyond `least`.
    low, high = least, sizes.length
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sizes.total(1, middle) <= memory else (low, middle)
    return 1, low
