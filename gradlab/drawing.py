"""Figures of an archive into files: which, of what part of its data, and with which settings."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from gradlab.experiment.spec import Spec

_MOST_FAMILIES = 15
"""Of spectra in one figure: three rows of five."""


def recurrent_matrices(spec: Spec, most: int = 5) -> dict[str, NDArray[np.float64]]:
    """Draw the recurrent matrices of replicate 0 again, by label; `most` of them, evenly chosen.

    Where there are more families of spectra than that, it is the first of each family, up to
    `_MOST_FAMILIES`. A gated cell is shown by its first row block, which the label then names.
    """
    from gradlab.core.places import evenly
    from gradlab.experiment.grid import expand

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
    for place in evenly(len(rows), most):
        row = rows[place]
        network, seed = grid.networks[grid.network_index[row]], grid.seeds[grid.seed_index[row]]
        cell, blocks = network.cell, network.cell.drawn_blocks
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


def _readable(settings: dict[str, Any], outside: Path | None, own: bool) -> dict[str, Any] | list[str]:
    """Return settings whose files may be read; or the files that they name, where none may be."""
    from gradlab.checking.settings import located
    from gradlab.checking.settings import outside as named_in
    from gradlab.experiment.tables import file_name

    named = sorted({file_name(name) for name in named_in(settings)})
    if own or not named:
        return settings
    return named if outside is None else dict(located(settings, outside))


def _matrices_of(
    settings: dict[str, Any] | list[str], figure: str, where: str
) -> dict[str, NDArray[np.float64]]:
    """Return the recurrent matrices of an archive, by its resolved spec."""
    from gradlab.archive.of_file import is_of_file
    from gradlab.experiment.spec import Spec
    from gradlab.trained import matrices_in

    if where:
        got, hint = shown(where), "It shows matrices of all settings, which are drawn again from the spec."
        raise UserMistake(Problem(f"figure {figure!r}", "no filter", got, hint))
    if isinstance(settings, list):
        expected = f"{', '.join(settings)}, which the settings name"
        hint = "Say in which folder that is: --outside FOLDER."
        raise UserMistake(Problem(f"figure {figure!r}", expected, "nothing that may be read", hint))
    if not is_of_file(settings):
        return recurrent_matrices(Spec.from_dict(settings))
    if found := matrices_in(settings):
        return found
    got = "a cell without them, or whose output is fed back"
    raise UserMistake(Problem(f"figure {figure!r}", "square recurrent weights", got))


def figures_folder(archive: Path) -> Path:
    """Return where figures of an archive go unless told otherwise."""
    return archive.with_name(f"{archive.stem}-figures") if archive.is_file() else archive / "figures"


def draw_figures(
    path: str | Path,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "pdf"),
    out: Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    where: str = "",
    outside: Path | None = None,
    own: bool = False,
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
        Folder; by default the archive's ``figures``, or ``NAME-figures`` beside the packed NAME.zip.
    settings : mapping, optional
        Settings of the figures, such as ``{"panel": "length"}``; each takes those that it has.
    where : str
        Which cases are shown; see `narrowed`. By default all.
    outside : Path, optional
        Folder with the files outside the archive that its settings name, as weights or matrices.
    own : bool
        Read those files from where the settings say: for an archive that was just written here.

    Returns
    -------
    dict
        By figure the files written, or the mistake that says why it cannot be drawn.

    Raises
    ------
    UserMistake
        For names, settings and filters that there are not.
    """
    from gradlab.archive.lock import writing
    from gradlab.archive.manifest import list_figures
    from gradlab.archive.reading import open_archive, read_settings
    from gradlab.core.checks import checked_path, texts
    from gradlab.figures import registry
    from gradlab.figures.style import save

    ds = narrowed(open_archive(path), where)
    folder = figures_folder(Path(path)) if out is None else checked_path("out", out)
    names = None if names is None else texts("names", names, "names of figures")
    formats = texts("formats", formats, "file formats")
    entries = _entries(names, settings or {})
    if folder.exists() and not folder.is_dir():
        raise UserMistake(Problem(str(folder), "a folder that can be written", "a file"))
    origin = _readable(read_settings(path), outside, own)
    done: dict[str, list[Path] | UserMistake] = {}
    bugs: list[Exception] = []
    for name, table in entries.items():
        try:
            entry = registry.build(table, name)
            matrices = _matrices_of(origin, name, where) if entry.needs_matrices else None
            figure = entry.plot(ds, matrices)
            folder.mkdir(parents=True, exist_ok=True)
            done[name] = list(save(figure, folder / name, formats))
        except UserMistake as mistake:
            done[name] = mistake
        except OSError as error:
            problem = Problem(str(folder), "a folder that can be written", error.strerror or str(error))
            done[name] = UserMistake(problem)
        except Exception as bug:  # one figure's is no reason to be without the others
            bug.add_note(f"It came up in the figure {name!r} of {path}.")
            bugs.append(bug)
    if Path(path).is_dir() and folder.resolve() == (Path(path) / "figures").resolve():
        # A run that writes into the archive meanwhile will seal it with these figures.
        with contextlib.suppress(UserMistake), writing(path):
            list_figures(path)
    if bugs:
        raise bugs[0]
    return done


def _entries(names: Sequence[str] | None, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each figure as a table with those of the settings that it has.

    Raises
    ------
    UserMistake
        For unknown names, and for settings that none of the figures has.
    """
    from gradlab.core.checks import with_known
    from gradlab.core.registry import settings_of
    from gradlab.figures import registry

    for i, name in enumerate(names or ()):
        registry.get(name, f"figure {i + 1}")
    entries = {name: settings_of(registry.build(name)) for name in names or registry.names()}
    every = sorted({key for own in entries.values() for key in own} - {"name"})
    _, problems = with_known("settings", settings, every, f"a setting of {', '.join(names or ['a figure'])}")
    if problems:
        raise UserMistake(problems)
    return {name: {key: settings.get(key, own[key]) for key in own} for name, own in entries.items()}


def narrowed(ds: xr.Dataset, where: str) -> xr.Dataset:
    """Return the cases of a dataset for which a filter holds.

    Parameters
    ----------
    ds : xarray.Dataset
        The data of an archive.
    where : str
        In the grammar of `gradlab.experiment.where`, over the coordinates of the axes and `replicate`; empty
        for all. An axis of which one label is left is one no more. Cases of a grid that is left for which the
        filter does not hold are as if they had not been run.

    Raises
    ------
    UserMistake
        For a filter that cannot be followed, or holds for no case.
    """
    from gradlab.experiment.where import Column, Kind, evaluate

    if not where:
        return ds
    dims, columns = ds["status"].dims, {}
    for name, coordinate in ds.coords.items():
        if len(coordinate.dims) == 1 and coordinate.dims[0] in dims:
            values, kind = coordinate.values, "text"
            if values.dtype.kind in "if":
                kind = "number"
            elif set(values) <= {"true", "false"}:
                values, kind = values == "true", "truth"
            shape = [-1 if dim == coordinate.dims[0] else 1 for dim in dims]
            columns[str(name)] = Column(values.reshape(shape), cast("Kind", kind))
    mask = np.broadcast_to(evaluate(where, columns, "where"), ds["status"].shape)
    if not mask.any():
        raise UserMistake(Problem("where", "a filter that holds for some case", "one that holds for none"))
    left = {
        dim: np.flatnonzero(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        for axis, dim in enumerate(dims)
    }
    ds, mask = ds.isel(left), mask[np.ix_(*left.values())]
    if not mask.all():
        ds = ds.assign(status=ds["status"].where(mask, ds["status"].dtype.type(0)))
    return ds.isel({dim: 0 for dim, places in left.items() if len(places) == 1 and dim != "replicate"})
