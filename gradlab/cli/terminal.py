"""What the commands print: results on standard output, all else on standard error."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from gradlab.core.errors import Problem, UserMistake

NARROWEST = 100  # columns of a table that goes to a file or a pipe, which have no width of their own


def clean(value: object) -> str:
    """Return a text on one line without control characters: names in archives may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def safe(value: object) -> str:
    """Return a text to be put into rich markup: clean, and never read as markup itself."""
    from rich.markup import escape

    return escape(clean(value))


def tell(line: str = "") -> None:
    """Write one line to standard error; if nobody listens, that is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # this is the one place that prints


def plain(*renderables: Any) -> str:
    """Return texts with markup, tables and the like as plain text."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=NARROWEST, highlight=False, no_color=True, force_terminal=False)
    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, str))
    return text.getvalue()


def say(*renderables: Any) -> None:
    """Write texts with markup, tables and the like to standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = NARROWEST
    console.file = text = io.StringIO()  # colours and width are those of the terminal; `write` is ours
    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, str))
    write(text.getvalue())


def say_json(table: Mapping[str, Any]) -> None:
    """Write a plain table to standard output as JSON; infinities become texts, NaN becomes null."""
    write(json.dumps(_json(table), indent=2, allow_nan=False) + "\n")


def write(text: str) -> None:
    """Write to standard output; a reader that has gone away is no error.

    Raises
    ------
    UserMistake
        If what stands behind standard output refuses.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        got = error.strerror or str(error)
        raise UserMistake(Problem("standard output", "a place that can be written", got)) from None


def _discard_output() -> None:
    """Point standard output nowhere, so that the interpreter's last flush finds no fault either."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def duration(seconds: float) -> str:
    """Return a span of time as a person says it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"


def speed(rate: float) -> str:
    """Return a number of things a second as a person says it, without powers of ten: 17.3, 15230."""
    return f"{rate:.3g}" if rate < 999.5 else f"{rate:.0f}"


def size(count: int) -> str:
    """Return a number of bytes as a person says it: 512 B, 1.5 MiB."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def cases(count: int) -> str:
    """Return a number of cases in words."""
    return "1 case" if count == 1 else f"{count} cases"
