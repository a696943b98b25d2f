"""A head start: what a command will want, guessed from its words before they are understood."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_MEASURING = ("run", "sweep")
_NO_PROCESSES = {"--help", "-h", "--print-spec", "--dry-run", "--scheduler"}


def start_early(arguments: Sequence[str]) -> None:
    """Start the process that workers are forked of, if the words look as if there will be some.

    It has loaded what they need when this process has read its spec, on a core that is idle until then.
    Nothing depends on the guess: workers that find no such process start it.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program.
    """
    if wants_workers(arguments):
        from gradlab.experiment import startup

        if startup.cores() > 1:
            startup.one_thread_from_the_start()
            startup.prepare_fork()


def wants_workers(arguments: Sequence[str]) -> bool:
    """Return whether a command line looks as if processes beside this one will measure."""
    words = [part for word in arguments for part in word.split("=", 1)]
    measures = bool(words) and words[0] in _MEASURING and _NO_PROCESSES.isdisjoint(words)
    return measures and ("--workers", "1") not in itertools.pairwise(words)
