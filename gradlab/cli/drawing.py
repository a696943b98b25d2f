"""Figures of an archive, as the command line draws them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradlab.api import draw_figures
from gradlab.cli.complete import FORMATS
from gradlab.cli.report import files_of
from gradlab.cli.terminal import clean, say_json, tell, write
from gradlab.core.checks import one_of
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.figures import registry


def draw(
    archive: Path,
    names: Sequence[str],
    formats: str,
    out: Path | None,
    as_json: bool,
    outside: Path | None = None,
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

    Raises
    ------
    UserMistake
        For unknown names and formats; and, once the others are drawn, for figures that were asked for
        by name and cannot be drawn, or if none can.
    """
    endings = _checked(names, formats)
    drawn = draw_figures(archive, list(dict.fromkeys(names)) or None, endings, out, outside=outside)
    files = files_of(drawn)
    refused = [p for r in drawn.values() if isinstance(r, UserMistake) for p in r.problems]
    if as_json:
        say_json(files)
    else:
        write("".join(f"{clean(path)}\n" for paths in files.values() for path in paths))
    if refused and (names or not files):
        raise UserMistake(refused)
    for problem in refused:
        tell(f"Not drawn: {clean(problem)}")


def _checked(names: Sequence[str], formats: str) -> tuple[str, ...]:
    """Return the formats; every unknown name or format is reported."""
    problems: list[Problem] = []
    endings = [ending.strip() for ending in formats.split(",")]
    for place, name in enumerate(names, start=1):
        with gathering(problems):
            registry.get(name, f"figure {place}")
    for ending in endings:
        with gathering(problems):
            one_of("--format", ending, FORMATS, f"one of {', '.join(FORMATS)}")
    if problems:
        raise UserMistake(problems)
    return tuple(dict.fromkeys(endings))
