"""What a run found, for people and for scripts: the closing table, and the same as a plain table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.cli.terminal import cases, clean, safe

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

    from gradlab.archive.plain import PlainData
    from gradlab.core.errors import UserMistake
    from gradlab.experiment.grid import Grid

# What is said of one case, and of several.
_WORDS = {
    "vanishing": ("vanishes", "vanish"),
    "stable": ("is stable", "are stable"),
    "exploding": ("explodes", "explode"),
    "undetermined": ("has no rate", "have no rate"),
    "ok": ("ran", "ran"),
    "diverged": ("diverged", "diverged"),
}
SHOWN_VALUES = 6  # of an axis
MOST_ERRORS = 3  # different errors told; all of them are in the archive


def axes_line(grid: Grid) -> str:
    """Return the cases of a grid in a line: how many, and along what."""
    parts = [f"{clean(axis.name)} {len(axis)}" for axis in grid.axes]
    parts += [f"replicate {grid.replicates}"] if grid.replicates > 1 or not parts else []
    line = f"{cases(grid.n_cases)}: {' x '.join(parts)}"
    full = grid.replicates
    for axis in grid.axes:
        full *= len(axis)
    return line if full == grid.n_cases else f"{line}, filtered or united"


def label(value: object) -> str:
    """Return a coordinate's value as it is shown."""
    return f"{value:.6g}" if isinstance(value, float) else clean(value)


def short_list(values: Sequence[Any]) -> str:
    """Return the values of an axis in a line, those in the middle left out where they are many."""
    shown = [label(value) for value in values]
    if len(shown) > SHOWN_VALUES:
        shown = [*shown[: SHOWN_VALUES - 2], "...", shown[-1]]
    return ", ".join(shown)


def where_label(at: Mapping[str, Any]) -> str:
    """Return coordinates in words: ``activation tanh, length 50``."""
    return ", ".join(f"{clean(axis)} {label(value)}" for axis, value in at.items())


def counts_line(counts: Mapping[str, int]) -> str:
    """Return what became of the cases, in a line; what did not occur is left out."""
    parts = [f"{n} {_WORDS.get(k, (k, k))[n > 1]}" for k, n in counts.items() if k != "all" and n]
    return f"Of {cases(counts['all'])}: {', '.join(parts) or 'none has run'}."


def crossing_text(axis: str, crossings: Sequence[Mapping[str, Any]]) -> str:
    """Return where a curve changes sign, in words."""
    found = []
    for one in crossings:
        low, high = one["between"]
        place = f"between {low:.4g} and {high:.4g}" if one["at"] is None else f"{one['at']:.4g}"
        found.append(f"{place} ({'to exploding' if one['rising'] else 'to vanishing'})")
    return ", ".join(found)


def _never(rates: tuple[float, float]) -> str:
    low, high = rates
    if high < 0:
        return "nowhere: always vanishing"
    if low > 0:
        return "nowhere: always exploding"
    if low < 0:
        return "nowhere: never exploding"
    return "nowhere: never vanishing" if high > 0 else "nowhere: always zero"


def closing(found: Mapping[str, Any]) -> list[Any]:
    """Return what is printed at the end of a run, for `gradlab.cli.terminal.say`.

    Parameters
    ----------
    found : mapping
        From `gradlab.archive.summary.summary`.
    """
    lines: list[Any] = []
    if found["curves"]:
        lines.append(_curves(found))
    if found.get("groups"):
        lines += _groups(found["groups"])
    if found.get("descents"):
        lines.append(_descents(found["descents"]))
    if found["held"]:
        lines.append(f"Shown at {safe(where_label(found['held']))}; the archive has all.")
    return [*lines, safe(counts_line(found["counts"]))]


def _curves(found: Mapping[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    axis = clean(found["axis"])
    table = Table(box=box.SIMPLE_HEAD, title="Where the mean slope changes sign", title_justify="left")
    names = list(found["curves"][0]["at"])
    for name in names:
        table.add_column(safe(name), overflow="fold")
    table.add_column(safe(f"along {axis}"), overflow="fold")
    table.add_column("slope, decades per time step", overflow="fold")
    for curve in found["curves"]:
        place = crossing_text(axis, curve["crossings"]) or _never(curve["growth_rates"])
        low, high = curve["growth_rates"]
        labels = [safe(label(curve["at"][name])) for name in names]
        table.add_row(*labels, safe(place), f"{low:.4g} to {high:.4g}")
    return table


def _groups(groups: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the table of a training, and what simple predictors reach: a line if it is the same for all."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title="What became of the replicates", title_justify="left")
    for name in groups[0]["at"]:
        table.add_column(safe(clean(name)), overflow="fold")
    predictors = list(dict.fromkeys(name for group in groups for name in group["baselines"]))
    alike = all(group["baselines"] == groups[0]["baselines"] for group in groups)
    columns = [] if alike else predictors
    words = [clean(name).replace("_", " ") for name in predictors]
    counted = [name for name in ("cases", "solved", "diverged") if groups[0][name] is not None]
    for name in (*counted, "metric at the end (median)", *(words if columns else ())):
        table.add_column(safe(name), justify="right")
    for group in groups:
        labels = [safe(label(value)) for value in group["at"].values()]
        metric = "" if group["metric"] is None else f"{group['metric']:.4g}"
        reached = [f"{group['baselines'][n]:.4g}" if n in group["baselines"] else "" for n in columns]
        counts = (str(group[name]) for name in counted)
        table.add_row(*labels, *counts, metric, *reached)
    if columns or not predictors:
        return [table]
    each = [f"{word} {groups[0]['baselines'][n]:.4g}" for word, n in zip(words, predictors, strict=True)]
    return [table, safe(f"What simple predictors reach in the same metric: {', '.join(each)}.")]


def _descents(descents: Sequence[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title="Descents", title_justify="left")
    for name in descents[0]["at"]:
        table.add_column(safe(clean(name)), overflow="fold")
    for name in ("updates", "first loss", "lowest", "last"):
        table.add_column(name, justify="right")
    for one in descents:
        labels = [safe(label(value)) for value in one["at"].values()]
        table.add_row(*labels, str(one["updates"]), *(f"{loss:.4g}" for loss in one["loss"]))
    return table


def files_of(drawn: Mapping[str, list[Path] | UserMistake]) -> dict[str, list[str]]:
    """Return the files of the figures that were drawn."""
    return {name: list(map(str, paths)) for name, paths in drawn.items() if isinstance(paths, list)}


def figure_lines(drawn: Mapping[str, list[Path] | UserMistake]) -> list[str]:
    """Return which figures were drawn, which need other data, and what went wrong with others."""
    done = files_of(drawn)
    lines = [f"Figures: {', '.join(done)}."] if done else []
    refused = {name: result.problems for name, result in drawn.items() if not isinstance(result, list)}
    unfit = [n for n, problems in refused.items() if all(p.where.startswith("figure ") for p in problems)]
    if unfit:
        named = f"`gradlab plot ARCHIVE {unfit[0]}` says what it needs"
        lines.append(f"Of other data: {', '.join(map(clean, unfit))} ({named}).")
    for name in (name for name in refused if name not in unfit):
        lines += [f"No {clean(name)}: {clean(problem)}" for problem in refused[name]]
    return lines


def there_lines(counts: Mapping[str, int]) -> list[str]:
    """Return what an archive has of a spec's cases, and what becomes of the others that it has.

    Parameters
    ----------
    counts : mapping
        From `gradlab.archive.extend.Meeting.counts`.
    """
    there, total = counts["there"], counts["cases"]
    lines = []
    if there or counts["failed"] or counts["beside"] or counts["dropped"]:
        parts = [f"{counts['new']} new"] if counts["new"] else []
        parts += [f"{counts['failed']} that failed are tried again"] if counts["failed"] else []
        lines.append(f"{', '.join([f'{cases(there)} of {total} there already', *parts])}.")
    if counts["beside"]:
        lines.append(f"{cases(counts['beside'])} of other specs kept beside.")
    if counts["dropped"]:
        lines.append(f"{cases(counts['dropped'])} dropped that are not in the spec.")
    if counts["older"]:
        lines.append(f"{cases(counts['older'])} measured by other code than today's.")
    return lines


def failure_lines(failed: int, total: int, archive: Path) -> list[str]:
    """Return how many cases failed, and why, as far as a few lines can say it."""
    from gradlab.archive.directory import FAILURES
    from gradlab.archive.reading import read_failures

    reasons: dict[str, int] = {}
    for entry in read_failures(archive):
        last = str(entry.get("error", "")).strip().rpartition("\n")[2]
        reasons[clean(last)] = reasons.get(clean(last), 0) + 1
    lines = [f"{failed} of {cases(total)} failed. Why, with the settings of each: {archive / FAILURES}"]
    lines += [f"  {count} x {reason}" for reason, count in list(reasons.items())[:MOST_ERRORS]]
    more = len(reasons) - MOST_ERRORS
    return [*lines, f"  and {more} other reason{'s' * (more > 1)}"] if more > 0 else lines


def found_in(ds: xr.Dataset | PlainData) -> dict[str, Any]:
    """Return the summary of a dataset; see `gradlab.archive.summary.summary`."""
    from gradlab.archive.summary import summary

    return summary(ds)
