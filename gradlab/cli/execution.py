"""What ``gradlab run`` and ``gradlab sweep`` have in common: the plan, the run, the figures, the report."""

from __future__ import annotations

import functools
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gradlab.cli.group import CASES_FAILED, INTERRUPTED
from gradlab.cli.logbook import Log, logged
from gradlab.cli.progress import Progress
from gradlab.cli.report import (
    axes_line,
    closing,
    failure_lines,
    figure_lines,
    files_of,
    found_in,
    there_lines,
)
from gradlab.cli.terminal import cases, clean, duration, say, say_json, size, tell, write
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.notices import listening

if TYPE_CHECKING:
    from gradlab.experiment.cluster import Cluster
    from gradlab.experiment.partition import Partition
    from gradlab.experiment.plan import Plan, PlannedBlock
    from gradlab.experiment.spec import Spec

ROOM = 128 << 20  # bytes: with less for the buffers of a process, another process gains nothing


@dataclass(frozen=True)
class Wish:
    """How a spec is to be run.

    Parameters
    ----------
    out : Path
        The archive's directory.
    command : list of str
        The command line that continues this run.
    workers : int or None
        Processes; None: as many as are of use.
    scheduler : str or None
        A cluster instead of processes.
    memory : str or None
        Bound on memory; None: the spec's.
    figures, quiet, as_json : bool
        Draw figures; print nothing but problems; print the result as JSON.
    prune, accept_older_code : bool
        Drop the archive's cases that the spec has not; keep those of other code.
    partition : str or None
        Which part of how many to run alone, as in "3/16".
    """

    out: Path
    command: list[str]
    workers: int | None
    scheduler: str | None
    memory: str | None
    figures: bool
    quiet: bool
    as_json: bool
    prune: bool = False
    accept_older_code: bool = False
    partition: str | None = None


def run_spec(spec: Spec, text: str, wish: Wish, log: Log) -> None:
    """Run a spec into an archive, draw its figures, and print what was found.

    Parameters
    ----------
    spec : Spec
        What to run.
    text : str
        What the archive keeps as the spec given.
    wish : Wish
        How.
    log : Log
        Gets what is printed, and more of how far it is.

    Raises
    ------
    UserMistake
        If it cannot be done as asked.
    typer.Exit
        With code 1 if cases failed, 130 if it was interrupted.
    """
    try:
        result = _run(spec, text, wish, log)
    except KeyboardInterrupt:
        told = (
            f"Interrupted. What was finished is kept in {clean(wish.out)}. To continue:",
            f"  {shlex.join(wish.command)}",
        )
        for line in told:
            tell(line)
        log.write(*told)
        raise typer.Exit(INTERRUPTED) from None
    if wish.as_json:
        say_json(result)
    for show, wanted in ((log.show, log.open), (say, not wish.as_json and not wish.quiet)):
        if wanted:  # tables are laid out for who sees them
            show(*closing(result))
    failed = result["counts"]["failed"]
    if failed:
        for line in failure_lines(failed, result["counts"]["all"], wish.out):
            tell(line)
            log.write(line)
        raise typer.Exit(CASES_FAILED)


def sweep_flags(
    given: Mapping[str, Any],
    settings: Sequence[str],
    out: Path | None,
    command: list[str],
    log: Path | None = None,
) -> None:
    """Run the spec that the flags of ``gradlab sweep`` describe, or print it.

    Parameters
    ----------
    given : mapping
        Parameters of the command by name.
    settings : sequence of str
        ``KEY=VALUE`` each.
    out : Path or None
        The archive's directory; None: under ``results``, named by a digest of the spec.
    command : list of str
        The command line.
    log : Path, optional
        The log file.

    Raises
    ------
    UserMistake
        If the flags do not make a spec.
    typer.Exit
        As `run_spec` does.
    """
    with logged(None if given["print_spec"] else log, command) as book:
        _sweep(given, settings, out, command, book)


def _sweep(
    given: Mapping[str, Any],
    settings: Sequence[str],
    out: Path | None,
    command: list[str],
    log: Log,
) -> None:
    """Run the spec that flags describe, or print it; see `sweep_flags`."""
    from gradlab.cli.flags import spec_of
    from gradlab.core.streams import digest
    from gradlab.experiment.toml import to_toml

    spec, table = spec_of(given, settings)
    text = f"# {clean(shlex.join(command))}\n{to_toml(table)}"
    if given["print_spec"]:
        write(text)
        return
    if out is None:
        apart = ("title", "question", "memory")  # they change no number
        told = {key: value for key, value in spec.to_dict().items() if key not in apart}
        out = Path("results") / f"sweep-{digest(told)[:8]}"
    wish = Wish(
        out=out,
        command=command,
        workers=given["workers"],
        scheduler=given["scheduler"],
        memory=given["memory"],
        prune=given["prune"],
        accept_older_code=given["accept_older_code"],
        figures=not given["no_figures"],
        quiet=given["quiet"],
        as_json=given["as_json"],
    )
    run_spec(spec, text, wish, log)


def _run(spec: Spec, text: str, wish: Wish, log: Log) -> dict[str, Any]:
    """Return what was found and done, as a plain table."""
    from gradlab.archive.plain import data_of
    from gradlab.experiment.workers import Workers
    from gradlab.running import Way, check_plan, plan_of, run_archive

    memory, partition = _understood(spec, wish, log)
    plan = plan_of(spec)
    workers, cluster, crew = _workers(wish, plan, memory)
    if not wish.out.exists():
        check_plan(plan, memory, workers)
    note = _noting(wish, log)
    if spec.title:
        note(clean(spec.title))
    note(axes_line(plan.grid))
    note(f"To {clean(wish.out)}, with {crew} and at most {size(memory)}.")
    began = time.perf_counter()
    with Progress(wish.quiet, log) as progress, listening(functools.partial(_warn, log)):
        way = Way(
            workers=Workers(workers, forked=True),
            scheduler=cluster,
            memory=memory,
            progress=progress.advance,
            started=_beginning(plan, wish, progress, note),
            command=wish.command,
            prune=wish.prune,
            accept_older_code=wish.accept_older_code,
            partition=partition,
            labels=wish.figures,
        )
        outcome = run_archive(plan, wish.out, spec_text=text, way=way)
    seconds = time.perf_counter() - began
    note(f"{cases(outcome.done)} measured in {duration(seconds)}, archive in {clean(wish.out)}.")
    result = {"archive": str(wish.out), **found_in(data_of(wish.out))}
    result |= {"done": outcome.done, "kept": outcome.kept, "seconds": round(seconds, 3)}
    result["workers"] = cluster.count if cluster else workers
    result["figures"] = _figures(wish, note) if wish.figures else {}
    return result


def _understood(spec: Spec, wish: Wish, log: Log) -> tuple[int, Partition | None]:
    """Return the memory and the part that were wished for.

    Raises
    ------
    UserMistake
        With all that is wrong with how the spec is to be run.
    """
    from gradlab.core.checks import checked_path
    from gradlab.experiment.partition import parse_partition
    from gradlab.experiment.spec import parse_memory

    problems: list[Problem] = []
    memory, partition = spec.memory, None
    with gathering(problems):
        log.check_outside(checked_path("--out", wish.out))
    with gathering(problems):
        memory = spec.memory if wish.memory is None else parse_memory(wish.memory, "--memory")
    with gathering(problems):
        partition = None if wish.partition is None else parse_partition(wish.partition, "--partition")
    if wish.scheduler is not None and wish.workers is not None:
        problems.append(Problem("--scheduler", "either --workers or --scheduler", "both"))
    if problems:
        raise UserMistake(problems)
    return memory, partition


def _beginning(
    plan: Plan, wish: Wish, progress: Progress, note: Callable[[str], None]
) -> Callable[[Mapping[str, int]], None]:
    """Return what is done when it is known how many cases are there already."""
    from gradlab.archive.directory import CHECKPOINTS

    def begin(counts: Mapping[str, int]) -> None:
        for line in there_lines(counts):
            note(line)
        progress.start(counts["there"], counts["cases"])
        if plan.grid.spec.measure == "train":
            updates = max(how.training.updates for how in plan.grid.of("training"))
            progress.watch(wish.out / CHECKPOINTS, updates)

    return begin


def _warn(log: Log, text: str) -> None:
    """Tell of trouble that stops nothing, also who wants to hear of nothing else."""
    line = f"Warning: {clean(text)}"
    tell(line)
    log.write(line)


def _noting(wish: Wish, log: Log) -> Callable[[str], None]:
    """Return what tells a line to whom it is meant for."""

    def note(line: str) -> None:
        if not wish.quiet:
            tell(line)
        log.write(line)

    return note


def _workers(wish: Wish, plan: Plan, memory: int) -> tuple[int, Cluster | None, str]:
    """Return the number of processes, the cluster that works in their place, if any, and words for it."""
    if wish.scheduler is None:
        count = wish.workers or useful_workers(list(plan.blocks()), plan.record, memory)
        return count, None, f"{count} worker{'s' * (count > 1)}"
    from gradlab.experiment.cluster import Cluster

    return 1, Cluster(wish.scheduler, "--scheduler"), f"the cluster {clean(wish.scheduler)}"


def _figures(wish: Wish, note: Any) -> dict[str, list[str]]:
    """Draw what the data allow; return the files by figure."""
    from gradlab.drawing import draw_figures

    drawn = draw_figures(wish.out, own=True)
    for line in figure_lines(drawn):
        note(line)
    return files_of(drawn)


def useful_workers(blocks: Sequence[PlannedBlock], record: Collection[str], memory: int) -> int:
    """Return how many processes to use: one a core, if there are blocks and memory for so many."""
    from gradlab.experiment.runner import memory_share
    from gradlab.experiment.startup import cores

    shapes = {b.block.kind: b.block for b in blocks}.values()
    for workers in range(min(cores(), len(blocks)), 1, -1):
        share = memory_share(memory, workers)
        try:
            for block in shapes:
                block.check_memory(record, share)
        except UserMistake:
            continue
        if share >= ROOM:
            return workers
    return 1
