"""Running a spec into an archive: what stands between the plan, the processes and the disk."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import numpy as np
    from distributed import Client
    from numpy.typing import NDArray

    from gradlab.archive.extend import Meeting, Wanted
    from gradlab.archive.store import ArchiveSink
    from gradlab.experiment.grid import Grid
    from gradlab.experiment.partition import Partition
    from gradlab.experiment.plan import Plan
    from gradlab.experiment.runner import Outcome, Progress
    from gradlab.experiment.spec import Spec
    from gradlab.experiment.workers import Workers


def plan_of(spec: Spec) -> Plan:
    """Return the plan of a spec: its cases and the work they share."""
    from gradlab.experiment.grid import expand
    from gradlab.experiment.plan import make_plan

    return make_plan(expand(spec))


def check_plan(plan: Plan, memory: int, workers: int = 1) -> None:
    """Raise UserMistake if `memory` bytes in all do not suffice for one case at a time in every process."""
    from gradlab.experiment.runner import check_blocks

    blocks = list(plan.blocks())
    check_blocks(blocks, plan.record, memory, min(workers, max(1, len(blocks))))


def room_beside(plan: Plan, memory: int, workers: int = 1) -> int:
    """Return the bytes that are left of `memory` where the data of all cases are held in memory.

    Raises
    ------
    UserMistake
        If one case at a time does not fit, or does not beside the data.
    """
    import math

    check_plan(plan, memory, workers)
    numbers = sum(math.prod(plan.shape(name)) for name in plan.record)
    held = 8 * math.prod(plan.grid.shape) * (numbers + 6)
    try:
        check_plan(plan, memory - held, workers)
    except UserMistake:
        expected = f"room beside the data of {plan.grid.n_cases} cases, which take {held >> 20} MiB"
        hint = "Give out=, an archive that is written as it goes; or raise memory=, or narrow record=."
        raise UserMistake(Problem("memory", expected, f"{memory >> 20} MiB", hint)) from None
    return memory - held


def workers_for(plan: Plan, most: int | Workers, scheduler: str | Client | Workers | None = None) -> Workers:
    """Start the processes that are to run a plan: `most`, or fewer if there are not so many blocks.

    This is done before anything else is loaded, so that they load what they need at the same time.
    If there is a scheduler, its workers are to run it instead.
    """
    if scheduler is not None:
        from gradlab.experiment.cluster import workers_at

        return workers_at(scheduler)
    from gradlab.experiment.workers import Workers

    workers = Workers(most) if isinstance(most, int) else most
    if not workers.here:
        workers.reduce(sum(1 for _ in plan.blocks()))
    workers.start()
    return workers


def load_labels() -> None:
    """Load what labels the data at the end of a run; it takes longer than a block."""
    importlib.import_module("xarray")


def attributes(grid: Grid) -> dict[str, Any]:
    """Return the attributes of a grid's dataset; nothing in them depends on a clock or a machine.

    Besides title, question, measure and seed: the names of cell and spectrum, and the labels of activation
    and clip rule, that all cases share; and the learner where it is not back-propagation through time. Of
    activations, and of clip rules, that differ in their settings alone it is the name.
    """
    from gradlab.experiment.labels import shared_label
    from gradlab.experiment.measures import measure_of

    spec = grid.spec
    table: dict[str, Any] = {
        "title": spec.title,
        "question": spec.question,
        "measure": spec.measure,
        "seed": spec.seed,
    }
    names = {
        "cell": {network.cell.name for network in grid.networks},
        "spectrum": {family.name for network in grid.networks for family in network.spectra},
    }
    if any(learner.name != "bptt" for learner in grid.learners):
        names["learner"] = {learner.name for learner in grid.learners}
    shared = {key: next(iter(found)) for key, found in names.items() if len(found) == 1}
    labels = {
        "activation": shared_label("network.activation", [network.activation for network in grid.networks]),
        "clip": shared_label("clip", grid.clips),
    }
    shared |= {key: label for key, label in labels.items() if label is not None}
    return table | shared | measure_of(spec.measure).attributes(grid)


def dense_keys(grid: Grid) -> dict[str, NDArray[Any]]:
    """Return the keys of all cases by variable, in the dense shape of the grid; empty where there is none."""
    import numpy as np

    from gradlab.archive.extend import keys_of
    from gradlab.core.fingerprint import code_key

    keys = _settings_keys(grid)
    return keys_of(keys, np.where(keys != "", code_key(), ""))


def _settings_keys(grid: Grid) -> NDArray[np.str_]:
    import numpy as np

    keys = np.full(grid.shape, "", dtype="<U32")
    keys[tuple(grid.points.T)] = grid.settings_keys()
    return keys


@dataclass(frozen=True)
class Way:
    """How a spec is run into an archive.

    Parameters
    ----------
    workers : int or Workers
        Processes, or those that were started before.
    memory : int, optional
        Bytes that all processes together may take; by default the spec's.
    progress : callable, optional
        Called after every block with the cases it held, and how many of those failed.
    started : callable, optional
        Called before the first block with how many cases are which; see
        `gradlab.archive.extend.Meeting.counts`.
    command : sequence of str
        The command line, for the provenance and the lock.
    prune, accept_older_code : bool
        Drop the archive's cases that the spec has not; keep those of other code.
    partition : tuple of int, optional
        Which part of how many is run alone.
    scheduler : str, distributed.Client or Workers, optional
        Whose workers are to do the work instead of processes.
    labels : bool
        Whether the data will be labelled when the run has ended.
    """

    workers: int | Workers = 1
    memory: int | None = None
    progress: Progress | None = None
    started: Callable[[Mapping[str, int]], None] | None = None
    command: Sequence[str] = ()
    prune: bool = False
    accept_older_code: bool = False
    partition: Partition | None = None
    scheduler: str | Client | Workers | None = None
    labels: bool = True


def run_archive(plan: Plan, out: Path, *, spec_text: str | None = None, way: Way | None = None) -> Outcome:
    """Run a plan into an archive, or go on with it.

    Parameters
    ----------
    plan : Plan
        What to run.
    out : Path
        The archive's directory.
    spec_text : str, optional
        The spec as the user wrote it; by default the table it was made from.
    way : Way, optional
        How.

    Returns
    -------
    Outcome
        What this run did.

    Raises
    ------
    UserMistake
        For whatever cannot be done as asked.
    """
    way = way or Way()
    begun = time.perf_counter()
    with workers_for(plan, way.workers, way.scheduler) as processes:
        if not out.exists():  # what cannot be run leaves nothing behind
            check_plan(plan, way.memory or plan.grid.spec.memory, processes.sharers)
        from gradlab.archive import directory
        from gradlab.archive.lock import writing
        from gradlab.archive.provenance import collect, command_line, write_provenance
        from gradlab.archive.store import ArchiveSink, meet_to_write, sealed

        command = list(way.command) or command_line()
        with writing(out, command), sealed(out) as written:
            with directory.disk(out):
                directory.settle(out)
            plan = plan if way.prune else _beside(plan, out)
            meeting = meet_to_write(out, wanted_of(plan, spec_text), prune=way.prune)
            sink = ArchiveSink.open(meeting, written)
            made_by: dict[str, Any] = {}

            def meanwhile() -> None:
                sink.begin()
                made_by.update(collect(command, plan.grid.spec.seed, processes.linear_algebra()))
                write_provenance(out, made_by, None, workers=processes.count)
                if way.labels:
                    load_labels()

            before = int(sink.finished().sum())
            try:
                outcome = _execute(plan, meeting, sink, way, processes, meanwhile)
            finally:  # of a run that was interrupted it is told, too, what it came to
                if made_by:
                    took, done = time.perf_counter() - begun, int(sink.finished().sum()) - before
                    write_provenance(out, made_by, took, workers=processes.count, cases=done)
    return outcome


def _execute(
    plan: Plan,
    meeting: Meeting,
    sink: ArchiveSink,
    way: Way,
    processes: Workers,
    meanwhile: Callable[[], object],
) -> Outcome:
    """Run what the archive lacks of a plan, or of its part."""
    from dataclasses import replace

    from gradlab.archive.directory import CHECKPOINTS
    from gradlab.experiment.partition import cases_of
    from gradlab.experiment.runner import execute

    only = None if way.partition is None else cases_of(plan, way.partition)
    if not way.accept_older_code:
        meeting.check_code(only)
    if way.started is not None:
        way.started(meeting.counts(only))
    layout = meeting.target.layout
    wider = {
        dim: layout.coordinates[dim].values.tolist() for dim in layout.sizes if dim not in layout.case_dims
    }
    for dim in ("first", "second"):
        if dim in wider and list(plan.along.get(dim, wider[dim])) != wider[dim]:
            expected, got = "the same places in one archive", f"others than {meeting.path} has"
            raise UserMistake(Problem(dim, expected, got, "Use another --out."))
    record = tuple(name for name in plan.measure.records if name in layout.names)

    plan, checkpoints = replace(plan, wider=wider, record=record), meeting.path / CHECKPOINTS
    outcome = execute(
        plan,
        sink,
        workers=processes,
        memory=way.memory or plan.grid.spec.memory,
        progress=way.progress,
        meanwhile=meanwhile,
        only=only,
        checkpoints=checkpoints,
    )
    if checkpoints.is_dir():
        _tidy(checkpoints, plan, sink, ran=outcome.done + outcome.failed > 0)
    return outcome


def _beside(plan: Plan, out: Path) -> Plan:
    """Return the plan of the same cases on a grid that has the archive's axes, too, if others stay beside.

    What the spec has along such an axis is one value; where that cannot be told, the plan stays as it is,
    and cannot be run into the archive.
    """
    from gradlab.archive.terms import axes_beside
    from gradlab.experiment.widening import widened

    if axes := axes_beside(out, plan.grid):
        with contextlib.suppress(UserMistake):
            return plan_of(widened(plan.grid.spec, axes))
    return plan


def _tidy(checkpoints: Path, plan: Plan, sink: ArchiveSink, *, ran: bool) -> None:
    """Remove the states of trainings that are done; those that the archive still lacks go on from theirs."""
    from gradlab.measure.checkpoint import remove_done

    if ran and sink.complete():  # what is left was never asked for, or is of other code
        shutil.rmtree(checkpoints, ignore_errors=True)
        return
    finished = sink.finished()
    done: set[str] = set()
    for planned in plan.blocks():
        keys = planned.block.case_keys(plan.record)
        over = finished[tuple(planned.index[:, 0].T)].tolist()
        done |= {key for key, is_over in zip(keys, over, strict=True) if is_over}
    remove_done(checkpoints, done)


def wanted_of(plan: Plan, spec_text: str | None = None) -> Wanted:
    """Return what a plan asks an archive to hold."""
    from gradlab.archive.store import wanted
    from gradlab.experiment.toml import to_toml

    grid, spec = plan.grid, plan.grid.spec
    lone = {block for network in grid.networks for block in network.cell.drawn_blocks}
    return wanted(
        spec_text=spec_text if spec_text is not None else to_toml(spec.given),
        spec_resolved=to_toml(spec.to_dict()),
        axes=grid.axes,
        replicates=grid.replicates,
        along=plan.along,
        record=plan.record,
        tile=plan.tile,
        settings_keys=_settings_keys(grid),
        attrs=attributes(grid),
        by_default=spec.record is None,
        lone=lone.pop() if len(lone) == 1 else "",
    )


def met(plan: Plan, out: Path, *, prune: bool = False) -> Meeting:
    """Return how a plan and the archive at `out` meet: what is there, what is new. Nothing is written.

    Raises
    ------
    UserMistake
        If a run into it would be refused, as one into an archive that was altered.
    """
    from gradlab.archive import directory
    from gradlab.archive.extend import meet
    from gradlab.archive.manifest import check_unaltered

    if directory.state(out) is directory.State.ARCHIVE:
        check_unaltered(out)
    return meet(out, wanted_of(plan if prune else _beside(plan, out)), prune=prune)
