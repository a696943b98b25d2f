"""The group of all commands: what becomes of a mistake or an interruption, whichever command it hits."""

from __future__ import annotations

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from gradlab.cli.terminal import clean, tell
from gradlab.core.errors import UserMistake, lines_of

CASES_FAILED, DIFFERENT, MISTAKE, INTERRUPTED = 1, 1, 2, 130  # exit codes

_ARGUMENTS = "gradlab.arguments"


class Commands(TyperGroup):
    """Runs a command; a user's mistake is told in one line a problem, without a traceback."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context of a call, which keeps the arguments as they were given."""
        given = list(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ARGUMENTS] = given
        return context

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except UserMistake as mistake:
            for line in lines_of(mistake):
                tell(f"Error: {clean(line)}")
            raise typer.Exit(MISTAKE) from None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            from gradlab.core.checks import too_long  # late: it loads NumPy

            tell(f"Error: {clean(too_long('a path', error.filename))}")
            raise typer.Exit(MISTAKE) from None
        except MemoryError as error:
            tell(f"Error: memory: expected room for all that is asked for, got none ({clean(error)}).")
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt:
            tell("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None


def command_line(ctx: typer.Context) -> list[str]:
    """Return the command line of this call, program included."""
    return ["gradlab", *ctx.meta.get(_ARGUMENTS, [])]
