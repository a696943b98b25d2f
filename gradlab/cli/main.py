"""The program: its commands, and the entry point."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import Annotated

import typer

from gradlab.cli.diff import diff
from gradlab.cli.early import start_early
from gradlab.cli.export import export
from gradlab.cli.group import INTERRUPTED, Commands
from gradlab.cli.listing import list_
from gradlab.cli.merge import merge
from gradlab.cli.new import new
from gradlab.cli.pack import pack
from gradlab.cli.plan import plan
from gradlab.cli.plot import plot
from gradlab.cli.probe import probe
from gradlab.cli.run import run
from gradlab.cli.show import show
from gradlab.cli.sweep import sweep
from gradlab.cli.verify import verify

app = typer.Typer(
    name="gradlab",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug shows its own traceback
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: gradlab new mine, then gradlab run mine.toml. Exit codes: 0 done, 1 some cases "
    "failed, or not verified, or different, 2 a mistake in what was asked, 130 interrupted.",
)


def _version(asked: bool) -> None:
    if asked:
        from gradlab import __version__

        typer.echo(f"gradlab {__version__}")
        raise typer.Exit


@app.callback()
def gradlab(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Measure how gradients flow back through time in recurrent networks.

    When do they vanish or explode, and what does clipping change?
    """


app.command()(run)
app.command()(sweep)
app.command()(probe)
app.command()(plan)
app.command()(plot)
app.command()(show)
app.command()(merge)
app.command()(verify)
app.command()(diff)
app.command()(pack)
app.command()(export)
app.command("list")(list_)
app.command()(new)


def main() -> None:
    """Run the program and end the process with its exit code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for good
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a title must not break a narrow encoding
    if not os.environ.get("COLUMNS", "1").strip("0"):
        del os.environ["COLUMNS"]  # a width of 0 is none: nothing at all would be printed
    try:
        start_early(sys.argv[1:])
        app(prog_name="gradlab")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # Nothing is left to be kept: an interruption ends what is left without a word of Python's.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        gc.freeze()  # all goes with the process: to look for what could go alone takes a tenth of a second
