"""Figures of an archive, as the command line draws them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradlab.cli.complete import FORMATS
from gradlab.cli.report import figure_lines, files_of
from gradlab.cli.terminal import clean, say_json, tell, write
from gradlab.core.checks import one_of
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.drawing import draw_figures
from gradlab.experiment.overrides import pair
from gradlab.figures import registry


def draw(
    archive: Path,
    names: Sequence[str],
    formats: str,
    out: Path | None,
    as_json: bool,
    outside: Path | None = None,
    settings: Sequence[str] = (),
    where: str = "",
) -> None:
    """Draw figures and print the paths of their files.

    Parameters
    ----------
    archive : Path
        The archive's directory.
    names : sequence of str
        Figures; empty: all that the data allow.
    formats : str
        Endings of files, separated by commas.
    out : Path or None
        Folder; None: the archive's own.
    as_json : bool
        Print a JSON table of paths by figure instead.
    outside : Path, optional
        Folder with the files that the settings name.
    settings : sequence of str
        ``KEY=VALUE`` each, of the figures.
    where : str
        A filter over the axes.

    Raises
    ------
    UserMistake
        For unknown names and formats; and, once the others are drawn, for figures that were asked for
        by name and cannot be drawn, or if none can.
    """
    endings, table = _checked(names, formats, settings)
    chosen = list(dict.fromkeys(names)) or None
    drawn = draw_figures(archive, chosen, endings, out, settings=table, where=where, outside=outside)
    files = files_of(drawn)
    refused = [p for r in drawn.values() if isinstance(r, UserMistake) for p in r.problems]
    if as_json:
        say_json(files)
    else:
        write("".join(f"{clean(path)}\n" for paths in files.values() for path in paths))
    if refused and (names or not files):
        raise UserMistake(refused)
    for line in figure_lines(drawn)[1:] if refused else []:  # the first says what is drawn, as the paths do
        tell(line)


def _checked(
    names: Sequence[str], formats: str, settings: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the formats, and the settings as a table; everything unknown is reported."""
    problems: list[Problem] = []
    table = {}
    for text in settings:
        with gathering(problems):
            key, value = pair(text, "As in panel=length.")
            table[key] = value
    endings = [ending.strip() for ending in formats.split(",")]
    for place, name in enumerate(names, start=1):
        with gathering(problems):
            registry.get(name, f"figure {place}")
    for ending in endings:
        with gathering(problems):
            one_of("--format", ending, FORMATS, f"one of {', '.join(FORMATS)}")
    if problems:
        raise UserMistake(problems)
    return tuple(dict.fromkeys(endings)), table
