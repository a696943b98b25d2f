"""What a plan will cost: time from a short calibration, memory and disk from its shapes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from gradlab.experiment.plan import Plan, PlannedBlock, structure
from gradlab.experiment.runner import PARENT_BYTES, WORKER_BYTES, memory_share
from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import Block, backward_passes, buffer_bytes, probe

CALIBRATION_LENGTH = 48  # time steps of a calibration run
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
    samples = _samples(blocks)
    rates: dict[tuple[object, ...], float] = {}
    workspace = Workspace()
    for kind, block in samples.items():
        rates[kind] = _seconds_per_unit(block, plan.record, workspace, warm=bool(rates))
    typical = float(np.median(list(rates.values()))) if rates else 0.0
    work = sum(_units(b.block, plan.record) * rates.get(_kind(b), typical) for b in blocks)
    calibration = time.perf_counter() - begun
    share = memory_share(memory, workers)
    buffers = max((buffer_bytes(b.block, plan.record, share) for b in blocks), default=0)
    numbers = sum(math.prod(plan.shape(name)) for name in plan.record)
    return Estimate(
        seconds=work / workers + (START_SECONDS if workers > 1 else 0.0),
        calibration_seconds=calibration,
        memory_bytes=PARENT_BYTES + workers * buffers + (WORKER_BYTES * workers if workers > 1 else 0),
        disk_bytes=plan.grid.n_cases * 8 * (numbers + 6),
        forward_passes=sum(len(b.block.runs) for b in blocks),
        forward_passes_unshared=sum(b.cases for b in blocks),
        lanes=sum(len(b.block.runs) * backward_passes(b.block, plan.record) for b in blocks),
        lanes_unshared=sum(
            len(b.block.runs)
            * sum(backward_passes(replace(b.block, views=(view,)), plan.record) for view in b.block.views)
            for b in blocks
        ),
        blocks=len(blocks),
    )


def _kind(planned: PlannedBlock) -> tuple[object, ...]:
    network, task = planned.block.runs[0].network, planned.block.views[0].task
    return structure(network), task.batch


def _samples(blocks: list[PlannedBlock]) -> dict[tuple[object, ...], Block]:
    first: dict[tuple[object, ...], Block] = {}
    for planned in blocks:
        if len(first) >= MOST_CALIBRATIONS:
            break
        first.setdefault(_kind(planned), planned.block)
    return first


def _units(block: Block, record: tuple[str, ...]) -> float:
    """Return the time steps of all forward passes and of all distinct backward passes of a block."""
    lags = {view.task: view.task.lags for view in block.views}
    forward = max(lags.values())
    backward = sum(lags.values()) * backward_passes(block, record) / len(lags)
    return len(block.runs) * (forward + backward)


def _seconds_per_unit(block: Block, record: tuple[str, ...], workspace: Workspace, warm: bool) -> float:
    """Time a shortened copy of a block, twice unless the buffers are warm: fresh memory has its price."""
    short = {
        view.task: replace(view.task, length=min(view.task.length, CALIBRATION_LENGTH), at="final")
        for view in block.views
    }
    views = tuple(dict.fromkeys(replace(view, task=short[view.task]) for view in block.views))
    trial = Block(block.runs[: max(1, min(len(block.runs), 8))], views)
    seconds = 0.0
    for _ in range(1 if warm else 2):
        begun = time.perf_counter()
        probe(trial, record, workspace=workspace)
        seconds = time.perf_counter() - begun
    return seconds / _units(trial, record)
