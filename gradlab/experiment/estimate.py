"""What a plan will cost: time from a short calibration, memory and disk from its shapes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradlab.experiment.plan import Plan, PlannedBlock
from gradlab.experiment.runner import PARENT_BYTES, WORKER_BYTES, memory_share
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import AbstractBlock

Rates = NDArray[np.float64]  # seconds for a unit of each sort of work
MOST_CALIBRATIONS = 6
START_SECONDS = 1.2  # until worker processes have started, on a machine of today


@dataclass(frozen=True)
class Estimate:
    """What a plan will cost.

    Attributes
    ----------
    seconds, calibration_seconds : float
        Wall time that the run is expected to take, and that the calibration took.
    memory_bytes, disk_bytes : int
        Peak memory of all processes; size of the data before compression.
    forward_passes, forward_passes_unshared : int
        Forward passes that will run, and that would run if every case had its own.
    lanes, lanes_unshared : int
        Backward passes that will run, and that would run.
    blocks : int
        Pieces of work.
    """

    seconds: float
    calibration_seconds: float
    memory_bytes: int
    disk_bytes: int
    forward_passes: int
    forward_passes_unshared: int
    lanes: int
    lanes_unshared: int
    blocks: int


def estimate(
    plan: Plan, workers: int = 1, memory: int = 1 << 30, finished: np.ndarray | None = None
) -> Estimate:
    """Estimate the cost of a plan; nothing of it is run.

    Parameters
    ----------
    plan : Plan
        The plan.
    workers : int
        Processes.
    memory : int
        The bound on their memory, in bytes.
    finished : boolean array, optional
        Cases that are there already.
    """
    begun = time.perf_counter()
    blocks = list(plan.blocks(finished))
    samples, share, workspace = _samples(blocks), memory_share(memory, workers), Workspace()
    rates: dict[object, Rates] = {}
    for kind, block in samples.items():
        rates[kind] = _seconds_per_unit(block, plan.record, share, workspace, warm=bool(rates))
    typical = np.median(list(rates.values()), axis=0) if rates else np.zeros(1)
    work = sum(float(np.dot(b.block.units(plan.record), rates.get(b.block.kind, typical))) for b in blocks)
    calibration = time.perf_counter() - begun
    buffers = max((b.block.buffer_bytes(plan.record, share) for b in blocks), default=0)
    shared, unshared = (
        np.sum([b.block.passes(plan.record, shared=way) for b in blocks] or [(0, 0)], axis=0).tolist()
        for way in (True, False)
    )
    numbers = sum(math.prod(plan.shape(name)) for name in plan.record)
    return Estimate(
        seconds=work / workers + (START_SECONDS if workers > 1 and blocks else 0.0),
        calibration_seconds=calibration,
        memory_bytes=PARENT_BYTES + workers * buffers + (WORKER_BYTES * workers if workers > 1 else 0),
        disk_bytes=plan.grid.n_cases * 8 * (numbers + 6),
        forward_passes=shared[0],
        forward_passes_unshared=unshared[0],
        lanes=shared[1],
        lanes_unshared=unshared[1],
        blocks=len(blocks),
    )


def _samples(blocks: list[PlannedBlock]) -> dict[object, AbstractBlock]:
    first: dict[object, AbstractBlock] = {}
    for planned in blocks:
        if len(first) >= MOST_CALIBRATIONS:
            break
        first.setdefault(planned.block.kind, planned.block)
    return first


def _seconds_per_unit(
    block: AbstractBlock, record: tuple[str, ...], memory: int, workspace: Workspace, warm: bool
) -> Rates:
    """Time small copies of a block, twice unless the buffers are warm: fresh memory has its price."""
    trials, seconds = block.trials(), 0.0
    taken = []
    for trial in trials:
        for _ in range(1 if warm else 2):
            begun = time.perf_counter()
            trial.measure(record, memory, workspace)
            seconds = time.perf_counter() - begun
        taken.append(seconds)
    units = np.array([trial.units(record) for trial in trials])
    done = units.any(axis=0)  # what a sort of work takes of which there is none is not known, nor needed
    rates = np.zeros(len(trials))
    rates[done] = np.linalg.lstsq(units[:, done], np.array(taken))[0]
    # Where noise makes one of them negative, all the time is put down to the first sort.
    return rates if (rates >= 0).all() else np.where(np.arange(len(rates)) == 0, taken[0] / units[0, 0], 0.0)
