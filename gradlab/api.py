"""What a script or a notebook calls: load a spec, run it, draw one of its cases, draw its figures."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from gradlab.experiment.estimate import Estimate
    from gradlab.experiment.grid import Grid
    from gradlab.experiment.plan import Plan
    from gradlab.experiment.runner import Outcome, Progress
    from gradlab.experiment.spec import Spec
    from gradlab.experiment.workers import Workers
    from gradlab.measure.case import Case


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
    from gradlab.experiment.spec import Spec

    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, Mapping):
        return Spec.from_dict(dict(spec))
    return load_spec(spec)


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    workers: int = 1,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Run a spec and return its data.

    Parameters
    ----------
    spec : Spec, mapping, or path
        What to run.
    out : path, optional
        Directory of the archive. Without it the data are held in memory; with it they are written
        block by block, an interrupted run is continued, and the dataset returned is lazy.
    workers : int
        Processes. The numbers do not depend on it.
    memory : int or str, optional
        Bound on the memory of all processes together, in bytes or as "1GiB"; default: the spec's.
    progress : callable, optional
        Called after every block with the cases it held, and how many of those failed.

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
    from gradlab.core.checks import integer
    from gradlab.experiment.spec import parse_memory

    resolved = as_spec(spec)
    workers = integer("workers", workers, at_least=1)
    bound = resolved.memory if memory is None else parse_memory(memory)
    if out is not None:
        text = Path(spec).read_text(encoding="utf-8") if isinstance(spec, str | Path) else None
        return run_archive(
            resolved, Path(out), spec_text=text, workers=workers, memory=bound, progress=progress
        )[0]
    plan = plan_of(resolved)
    with workers_for(plan, workers) as processes:
        from gradlab.experiment.runner import execute
        from gradlab.experiment.sink import MemorySink

        sink = MemorySink(plan)
        execute(plan, sink, workers=processes, memory=bound, progress=progress, meanwhile=_load_labels)
    if sink.failures:
        failed = sum(len(index) for index, _, _ in sink.failures)
        text = f"{failed} of {plan.grid.n_cases} cases failed; the first error was:\n{sink.failures[0][1]}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    from gradlab.archive.schema import to_dataset

    arrays = {**sink.arrays, "case_key": dense_keys(plan.grid)}
    grid = plan.grid
    return to_dataset(grid.axes, grid.replicates, plan.along, arrays, attributes(grid))


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


def workers_for(plan: Plan, most: int) -> Workers:
    """Start the processes that are to run a plan: `most`, or fewer if there are not so many blocks.

    This is done before anything else is loaded, so that they load what they need at the same time.
    """
    from gradlab.experiment.workers import Workers

    workers = Workers(1 if most == 1 else min(most, sum(1 for _ in plan.blocks())))
    workers.start()
    return workers


def _load_labels() -> None:
    """Load what labels the data at the end of a run; it takes as long as a small sweep."""
    importlib.import_module("xarray")


def estimate(plan: Plan, workers: int = 1, memory: int | None = None) -> Estimate:
    """Return what a plan will cost; see `gradlab.experiment.estimate`."""
    from gradlab.experiment.estimate import estimate as estimate_cost

    return estimate_cost(plan, workers, memory or plan.grid.spec.memory)


def attributes(grid: Grid) -> dict[str, Any]:
    """Return the attributes of a grid's dataset; nothing in them depends on a clock or a machine.

    Besides title, question, measure and seed: the names of cell, spectrum, activation and clip rule
    that all cases share, and that of the learner where it is not back-propagation through time.
    """
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
        "activation": {network.activation.name for network in grid.networks},
        "clip": {clip.name for clip in grid.clips},
    }
    if any(learner.name != "bptt" for learner in grid.learners):
        names["learner"] = {learner.name for learner in grid.learners}
    return table | {key: next(iter(found)) for key, found in names.items() if len(found) == 1}


def dense_keys(grid: Grid) -> NDArray[np.str_]:
    """Return the content keys in the dense shape of the grid; empty where no case is to be run."""
    import numpy as np

    keys = np.full(grid.shape, "", dtype="<U32")
    keys[tuple(grid.points.T)] = grid.case_keys()
    return keys


def run_archive(
    spec: Spec,
    out: Path,
    *,
    spec_text: str | None = None,
    workers: int = 1,
    memory: int | None = None,
    progress: Progress | None = None,
    started: Callable[[int, int], None] | None = None,
    command: Sequence[str] = (),
) -> tuple[xr.Dataset, Outcome]:
    """Run a spec into an archive, or go on with it.

    Parameters
    ----------
    spec : Spec
        What to run.
    out : Path
        The archive's directory.
    spec_text : str, optional
        The spec as the user wrote it; by default the table it was made from.
    workers, memory, progress
        As for `run`.
    started : callable, optional
        Called before the first block with the cases already there and the cases in all.
    command : sequence of str
        The command line, for the provenance.

    Returns
    -------
    xarray.Dataset, Outcome
        The data, lazy; and what this run did.
    """
    begun = time.perf_counter()
    plan = plan_of(spec)
    grid = plan.grid
    bound = memory or spec.memory
    with workers_for(plan, workers) as processes:
        if not out.exists():  # what cannot be run leaves nothing behind
            check_plan(plan, bound, workers)
        from gradlab.archive.provenance import collect, command_line, write_provenance
        from gradlab.archive.store import ArchiveSink
        from gradlab.experiment.runner import execute
        from gradlab.experiment.toml import to_toml

        keys = dense_keys(grid)
        sink = ArchiveSink.create_or_open(
            out,
            spec_text=spec_text if spec_text is not None else to_toml(spec.given),
            spec_resolved=to_toml(spec.to_dict()),
            axes=grid.axes,
            replicates=grid.replicates,
            along=plan.along,
            record=plan.record,
            tile=plan.tile,
            case_keys=keys,
            attrs=attributes(grid),
        )
        if started is not None:
            started(int((sink.finished() & (keys != "")).sum()), grid.n_cases)
        outcome = execute(
            plan, sink, workers=processes, memory=bound, progress=progress, meanwhile=_load_labels
        )
    collected = collect(list(command) or command_line(), spec.seed)
    write_provenance(out, collected, time.perf_counter() - begun, workers=workers, cases=outcome.done)
    return open_archive(out), outcome


def open_archive(path: str | Path) -> xr.Dataset:
    """Return the data of an archive, lazily.

    Raises
    ------
    UserMistake
        If there is no archive, or it is damaged or of a newer schema.
    """
    from gradlab.archive.store import open_archive as open_store

    return open_store(path)


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


_MOST_FAMILIES = 15
"""Of spectra in one figure: three rows of five."""


def recurrent_matrices(spec: Spec, most: int = 5) -> dict[str, NDArray[np.float64]]:
    """Draw the recurrent matrices of replicate 0 again, by label; `most` of them, evenly chosen.

    Where there are more families of spectra than that, it is the first of each family, up to
    `_MOST_FAMILIES`. A gated cell is shown by its first row block, which the label then names.
    """
    import numpy as np

    from gradlab.experiment.grid import expand
    from gradlab.experiment.plan import drawn_blocks

    grid = expand(spec)
    named = [
        (i, axis, name)
        for i, axis in enumerate(grid.axes)
        for key, name in zip(axis.keys, axis.coordinates, strict=True)
        if key in ("network", "network.hidden") or key.startswith(("network.spectrum", "network.cell"))
    ]
    chosen: dict[tuple[str, int], int] = {}
    for row, place in enumerate(grid.network_index):
        network = grid.networks[place]
        chosen.setdefault((str(network.spectra[0].identity()), network.hidden), row)
    rows = list(chosen.values())
    # An axis that is the same in all of them, as the gates' biases are, tells none apart.
    named = [(i, axis, name) for i, axis, name in named if len({grid.points[row][i] for row in rows}) > 1]
    families = {grid.networks[grid.network_index[row]].spectra[0].name: row for row in reversed(rows)}
    if len(families) > most:
        rows, most = sorted(families.values()), _MOST_FAMILIES
    matrices = {}
    for place in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)):
        row = rows[place]
        network, seed = grid.networks[grid.network_index[row]], grid.seeds[grid.seed_index[row]]
        cell, blocks = network.cell, drawn_blocks(network.cell)
        parts = [_named(name, axis.coordinates[name][grid.points[row][i]]) for i, axis, name in named]
        parts = parts or [network.spectra[0].name]
        parts += [blocks[0].replace("_", " ")] if len(blocks) > 1 else []
        mask = cell.mask(network.hidden)
        drawn = network.spectra[0].draw(network.hidden, seed, 0, part=blocks[0], mask=mask)
        matrices[", ".join(parts)] = cell.effective(drawn.matrix)
    return matrices


def _named(axis: str, value: Any) -> str:
    """Return a coordinate in words: a label says what it is, a number needs the axis's name."""
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, str) else f"{axis} {value:g}"


def _matrices_of(settings: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the recurrent matrices of an archive, by its resolved spec."""
    from gradlab.experiment.spec import Spec
    from gradlab.trained import is_of_file, matrices_in

    return matrices_in(settings) if is_of_file(settings) else recurrent_matrices(Spec.from_dict(settings))


def draw_figures(
    path: str | Path,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "pdf"),
    out: Path | None = None,
) -> dict[str, list[Path] | UserMistake]:
    """Draw figures of an archive into files.

    Parameters
    ----------
    path : path
        The archive.
    names : sequence of str, optional
        Which figures; by default all that the data allow.
    formats : sequence of str
        File formats.
    out : Path, optional
        Folder; by default the archive's ``figures``.

    Returns
    -------
    dict
        By figure the files written, or the mistake that says why it cannot be drawn.
    """
    from gradlab.experiment.toml import read_toml
    from gradlab.figures import registry
    from gradlab.figures.style import save

    ds = open_archive(path)
    folder = out or Path(path) / "figures"
    for i, name in enumerate(names or ()):
        registry.get(name, f"figure {i + 1}")
    settings = read_toml(Path(path) / "spec.resolved.toml")
    done: dict[str, list[Path] | UserMistake] = {}
    for name in names or registry.names():
        entry = registry.build(name)
        try:
            matrices = _matrices_of(settings) if entry.needs_matrices else None
            figure = entry.plot(ds, matrices)
            folder.mkdir(parents=True, exist_ok=True)
            done[name] = list(save(figure, folder / name, tuple(formats)))
        except UserMistake as mistake:
            done[name] = mistake
        except OSError as error:
            problem = Problem(str(folder), "a folder that can be written", error.strerror or str(error))
            done[name] = UserMistake(problem)
    return done
