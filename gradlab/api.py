"""What a script or a notebook calls: load a spec, run it, draw one of its cases, open an archive."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from distributed import Client
    from numpy.typing import NDArray

    from gradlab.experiment.estimate import Estimate
    from gradlab.experiment.plan import Plan
    from gradlab.experiment.runner import Progress
    from gradlab.experiment.spec import Spec
    from gradlab.measure.case import Case
    from gradlab.running import Way


def load_spec(path: str | Path) -> Spec:
    """Return the spec in a TOML file.

    Raises
    ------
    UserMistake
        With every problem of the file: the key, what was expected, what came, the nearest known name.
    """
    from gradlab.experiment.spec import load_spec as load

    return load(path)


def as_spec(spec: Spec | Mapping[str, Any] | str | Path) -> Spec:
    """Return a spec given as such, as a table, or as the path of a file."""
    from gradlab.core.checks import checked_path
    from gradlab.experiment.spec import Spec

    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, Mapping):
        return Spec.from_dict(dict(spec))
    return load_spec(checked_path("the spec", spec, "a Spec, a table or the path of a TOML file"))


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    workers: int = 1,
    scheduler: str | Client | None = None,
    memory: int | str | None = None,
    progress: Progress | None = None,
    prune: bool = False,
    accept_older_code: bool = False,
    partition: str | None = None,
) -> xr.Dataset:
    """Run a spec and return its data.

    Parameters
    ----------
    spec : Spec, mapping, or path
        What to run.
    out : path, optional
        Directory of the archive. Without it the data are held in memory; with it they are written
        block by block, an interrupted run is continued, and the dataset returned is lazy. Cases that
        are there already are kept, those of other specs with the same axes too.
    workers : int
        Processes. The numbers do not depend on it.
    scheduler : str or distributed.Client, optional
        A dask cluster instead: its address as ``tcp://HOST:PORT``, ``local:N`` for a new one of N
        processes on this machine, or a client of it. Needs the extra ``cluster``.
    memory : int or str, optional
        Bound on the memory of all processes together, in bytes or as "1GiB"; default: the spec's. On a
        cluster of other machines it is the bound of each of its workers.
    progress : callable, optional
        Called after every block with the cases it held, and how many of those failed.
    prune : bool
        Drop the cases of the archive that the spec has not.
    accept_older_code : bool
        Keep the archive's cases though they were measured by other numerical code.
    partition : str, optional
        Run one part of several alone, as in "3/16"; `merge` puts their archives together.

    Returns
    -------
    xarray.Dataset
        Dims are the axes of the sweep, ``replicate``, and what a record runs along, as ``lag``; see
        `gradlab.archive.schema`.

    Raises
    ------
    UserMistake
        For whatever cannot be done as asked; nothing has run then.
    """
    from gradlab.core.checks import checked_path, integer, truth
    from gradlab.core.gaps import together
    from gradlab.experiment.partition import parse_partition
    from gradlab.experiment.spec import parse_memory
    from gradlab.running import Way, plan_of, run_archive

    resolved, folder, *asked = together(
        lambda: as_spec(spec),
        lambda: None if out is None else checked_path("out", out),
        lambda: integer("workers", workers, at_least=1),
        lambda: None if memory is None else parse_memory(memory),
        lambda: _callback(progress),
        lambda: truth("prune", prune),
        lambda: truth("accept_older_code", accept_older_code),
        lambda: None if partition is None else parse_partition(partition),
    )
    names = ("workers", "memory", "progress", "prune", "accept_older_code", "partition")
    way = Way(**dict(zip(names, asked, strict=True)), scheduler=scheduler)
    if scheduler is not None and way.workers != 1:
        raise UserMistake(Problem("scheduler", "either workers or a scheduler", "both"))
    if folder is not None:
        text = Path(spec).read_text(encoding="utf-8") if isinstance(spec, str | Path) else None
        run_archive(plan_of(resolved), folder, spec_text=text, way=way)
        return open_archive(folder)
    if way.partition is not None or way.prune:
        given = "partition" if way.partition is not None else "prune"
        raise UserMistake(Problem("out", f"the directory of an archive, for {given} was given", "nothing"))
    return _in_memory(plan_of(resolved), way)


def _callback(progress: Progress | None) -> Progress | None:
    from gradlab.core.checks import shown

    if progress is None or callable(progress):
        return progress
    raise UserMistake(Problem("progress", "a function of two counts, of cases and failures", shown(progress)))


def _in_memory(plan: Plan, way: Way) -> xr.Dataset:
    """Run a plan and return its data, held in memory; see `run`."""
    from gradlab.running import attributes, dense_keys, load_labels, room_beside, workers_for

    with workers_for(plan, way.workers, way.scheduler) as processes:
        from gradlab.experiment.runner import execute
        from gradlab.experiment.sink import MemorySink

        room = room_beside(plan, way.memory or plan.grid.spec.memory, processes.sharers)
        sink = MemorySink(plan)
        execute(plan, sink, workers=processes, memory=room, progress=way.progress, meanwhile=load_labels)
    if sink.failures:
        failed = sum(len(index) for index, _, _ in sink.failures)
        text = f"{failed} of {plan.grid.n_cases} cases failed; the first error was:\n{sink.failures[0][1]}"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    from gradlab.archive.schema import to_dataset

    grid = plan.grid
    arrays = {**sink.arrays, **dense_keys(grid)}
    return to_dataset(grid.axes, grid.replicates, plan.along, arrays, attributes(grid))


def estimate(
    plan: Plan, workers: int = 1, memory: int | None = None, finished: NDArray[np.bool_] | None = None
) -> Estimate:
    """Return what a plan costs, but for its `finished` cases; see `gradlab.experiment.estimate`."""
    from gradlab.experiment.estimate import estimate as estimate_cost

    return estimate_cost(plan, workers, memory or plan.grid.spec.memory, finished)


def merge(paths: Sequence[str | Path], out: str | Path, *, accept_older_code: bool = False) -> xr.Dataset:
    """Unite archives of the same measure and records in a new one, and return its data.

    Parameters
    ----------
    paths : sequence of path
        The archives, directories or packed files; of what stands in several, the first counts.
    out : path
        A directory that does not exist or is empty.
    accept_older_code : bool
        Unite them though not all were measured by the same numerical code.

    Raises
    ------
    UserMistake
        If they cannot be united; nothing is left in `out` then.
    """
    from gradlab.archive.merge import merge as merge_archives
    from gradlab.core.checks import checked_path, shown

    several: Any = [paths] if isinstance(paths, str | Path) else paths
    try:
        named = [checked_path("paths", path) for path in several]
    except TypeError:
        raise UserMistake(Problem("paths", "paths of archives", shown(paths))) from None
    merge_archives(named, checked_path("out", out), accept_older_code=accept_older_code)
    return open_archive(out)


def specs_of(path: str | Path) -> list[Spec]:
    """Return the specs whose cases an archive holds, the last that was run first.

    Together their grids have every case of it; one is known by its ``settings_key``.
    """
    from gradlab.archive.specs import resolved_specs
    from gradlab.experiment.spec import Spec

    return [Spec.from_dict(table) for table in resolved_specs(Path(path))]


def open_archive(path: str | Path) -> xr.Dataset:
    """Return the data of an archive, lazily.

    Parameters
    ----------
    path : path
        Its directory, or a file of ``gradlab pack``.

    Raises
    ------
    UserMistake
        If there is no archive, or it is damaged or of a newer schema.
    """
    from gradlab.archive.reading import open_archive as open_files

    return open_files(path)


def draw(spec: Spec | Mapping[str, Any] | str | Path, **labels: Any) -> Case:
    """Return one case of a spec as plain arrays in PyTorch's names and layout.

    Parameters
    ----------
    spec : Spec, mapping, or path
        Where the case is one of.
    **labels
        Which: a value for every axis with more than one, and ``replicate``.

    Raises
    ------
    UserMistake
        If the labels do not name exactly one case.
    """
    from gradlab.experiment.grid import expand
    from gradlab.measure.case import draw_case

    grid = expand(as_spec(spec))
    row, replicate = grid.find(**labels)
    return draw_case(
        grid.networks[grid.network_index[row]],
        grid.tasks[grid.task_index[row]],
        grid.clips[grid.clip_index[row]],
        grid.seeds[grid.seed_index[row]],
        replicate,
    )
