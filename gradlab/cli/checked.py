"""What was verified or compared: as a plain table, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from gradlab.cli.report import where_label
from gradlab.cli.terminal import cases, clean, safe, size
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    from gradlab.checking import Difference, Verification
    from gradlab.checking.distance import Compared
    from gradlab.checking.replay import Replay

MOST_PROBLEMS = 30  # told in words; --json has all
MOST_CASES = 5  # of those in one archive alone
MOST_LETTERS = 60  # of a setting


def sample_of(text: str) -> int | None:
    """Return how many cases are to be measured again; None: all."""
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UserMistake(Problem("--replay", "a number of cases, or all", shown(text)))
    return int(text)


def verification_table(found: Verification) -> dict[str, Any]:
    """Return what was verified, for a script."""
    replay = None
    if found.replay is not None:
        replay = asdict(found.replay)
    return {
        "verified": found.verified,
        "problems": [asdict(problem) for problem in found.problems],
        "notes": list(found.notes),
        "sealed": found.sealed,
        "content_digest": found.content_digest,
        "files": found.files,
        "bytes": found.bytes,
        "cases": found.cases,
        "keys": found.keys,
        "replay": replay,
    }


def verification_lines(found: Verification, archive: Path, quiet: bool) -> list[Any]:
    """Return what is printed of a verification, for `gradlab.cli.terminal.say`."""
    lines: list[Any] = [safe(problem) for problem in found.problems[:MOST_PROBLEMS]]
    more = len(found.problems) - MOST_PROBLEMS
    lines += [f"and {more} other problem{'s' * (more > 1)}; --json has all."] if more > 0 else []
    if quiet:
        return lines
    lines += [safe(note) for note in found.notes]
    lines += _replay_lines(found.replay) if found.replay is not None else []
    looked = f"{found.files} files, {size(found.bytes)}, compared with the manifest" if found.sealed else ""
    keys = f"keys of {cases(found.keys)} computed again" if found.keys else ""
    parts = ", ".join(part for part in (looked, keys) if part)
    verdict = "verified" if found.verified else "NOT verified"
    lines.append(safe(f"{archive}: {verdict}{f' ({parts})' if parts else ''}."))
    if found.content_digest:
        lines.append(f"Digest of data and settings: {safe(found.content_digest)}.")
    return lines


def _replay_lines(replay: Replay) -> list[Any]:
    table = _variables(replay.variables, replay.tolerance)
    strata = f"{replay.strata} kind{'s' * (replay.strata != 1)}"
    lines: list[Any] = [
        f"Measured again: {replay.cases} of {cases(replay.of)}, of {strata} "
        "(cell, activation, clip rule, learner, status)."
    ]
    if replay.older:
        lines.append(f"{cases(replay.older)} of them measured by other code than today's.")
    lines.append(table)
    exact = all(one.identical == replay.cases for one in replay.variables)
    if exact and replay.cases:
        lines.append("Every number has the same bits.")
    apart = {name for name in {*replay.then, *replay.now} if replay.then.get(name) != replay.now.get(name)}
    if not exact or apart:
        from gradlab.checking.replay import kernels

        lines.append(_environments(replay))
        then, now = kernels(replay.then), kernels(replay.now)
        if not exact and len(then) == 1 and then != now:
            lines.append(
                f"For matrix products as they were then, if this processor has the instructions: "
                f"OPENBLAS_CORETYPE={min(then)} gradlab verify ..."
            )
    else:
        lines.append("The environment is the same as then.")
    return lines


def _environments(replay: Replay) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="Environment", title_justify="left")
    for heading in ("", "then", "now"):
        table.add_column(heading, overflow="fold")
    for name, now in replay.now.items():
        then = replay.then.get(name, "")
        table.add_row(safe(name), safe(then), safe(now), style="" if then == now else "bold")
    return table


def _variables(variables: Sequence[Compared], tolerance: float) -> Table:
    """Return how far variables are apart; those whose bits are the same in all cases share a row."""
    table = Table(box=box.SIMPLE_HEAD)
    headings = ("variable", "same bits", f"within {tolerance:g}", "different", "worst", "at")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "variable")
    same = [one for one in variables if not one.within and not one.different]
    for one in variables:
        if one not in same:
            counts = map(str, (one.identical, one.within, one.different))
            table.add_row(safe(one.name), *counts, f"{one.worst:.3g}", safe(where_label(one.at)))
    if same:
        others = "all" if len(same) == len(variables) else "others"
        table.add_row(f"{others} ({len(same)})", str(same[0].identical), "0", "0", "0", "")
    return table


def difference_table(found: Difference) -> dict[str, Any]:
    """Return what differs, for a script."""
    return {
        "equal": found.equal,
        "tolerance": found.tolerance,
        "measures": list(found.measures),
        "settings": {key: list(values) for key, values in found.settings.items()},
        "common": found.common,
        "only": [list(one) for one in found.only],
        "records_only": [list(names) for names in found.records],
        "other_code": found.code,
        "variables": [asdict(one) for one in found.variables],
    }


def difference_lines(found: Difference, one: Path, other: Path) -> list[Any]:
    """Return what is printed of a comparison, for `gradlab.cli.terminal.say`."""
    lines: list[Any] = []
    if found.measures[0] != found.measures[1]:
        each = (
            f"{path} measures {shown(name)}" for path, name in zip((one, other), found.measures, strict=True)
        )
        lines.append(safe(f"Archives of different measures have no case in common: {', '.join(each)}."))
    if found.settings:
        table = Table(box=box.SIMPLE_HEAD, title="Settings of the last runs", title_justify="left")
        for heading in ("setting", str(one), str(other)):
            table.add_column(safe(heading), overflow="fold")
        for key, values in found.settings.items():
            table.add_row(safe(key), *(safe(_short(value)) for value in values))
        lines.append(table)
    for path, cases_there, names in zip((one, other), found.only, found.records, strict=True):
        lines += _only_lines(path, cases_there)
        if names:
            lines.append(safe(f"Only {path} has {', '.join(names)}."))
    lines.append(f"{cases(found.common)} in both.")
    if found.code:
        lines.append(f"{cases(found.code)} of them measured by different code.")
    if found.common:
        lines.append(_variables(found.variables, found.tolerance))
    return [*lines, "Equal." if found.equal else "Different."]


def _only_lines(path: Path, there: Sequence[Mapping[str, Any]]) -> list[str]:
    if not there:
        return []
    lines = [safe(f"{cases(len(there))} only in {path}:")]
    lines += [safe(f"  {where_label(at)}") for at in there[:MOST_CASES]]
    more = len(there) - MOST_CASES
    return [*lines, f"  and {more} more; --json has all."] if more > 0 else lines


def _short(value: object) -> str:
    text = clean(value if isinstance(value, str) else shown(value, MOST_LETTERS))
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
