"""The way to a cluster: what a user may name, how it is reached or started, whether its workers fit."""

from __future__ import annotations

import contextlib
import importlib.machinery
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment import remote, startup

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS = 5.0  # for the scheduler to answer
WORKER_SECONDS = 30.0  # for the first worker, which a cluster that grows with its work has to start
CLOSE_SECONDS = 2.0
FORMS = "tcp://HOST:PORT (a dask scheduler) or local:N (N processes on this machine)"

_ADDRESS = re.compile(r"(?:tcp|tls|ws|wss|ucx)://(?:[\w.-]+|\[[0-9a-fA-F:.%]+\]):(\d{1,5})", re.ASCII)
_LOCAL = re.compile(r"local:([1-9]\d{0,3})", re.ASCII)


def checked(scheduler: object, where: str) -> str:
    """Return the name of a scheduler: an address, or ``local:N``.

    Raises
    ------
    UserMistake
        If it is neither.
    """
    if isinstance(scheduler, str):
        address = _ADDRESS.fullmatch(scheduler)
        if _LOCAL.fullmatch(scheduler) or (address and 0 < int(address[1]) < 65536):
            return scheduler
    raise UserMistake(Problem(where, FORMS, shown(scheduler)))


def local_count(name: str) -> int:
    """Return how many processes ``local:N`` asks for; 0 for an address."""
    found = _LOCAL.fullmatch(name)
    return int(found[1]) if found else 0


def require(where: str) -> Any:
    """Return the module `distributed`.

    Raises
    ------
    UserMistake
        If it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        hint = "Install it: pip install 'gradlab[cluster]'"
        raise UserMistake(Problem(where, "dask.distributed to be installed", str(error), hint)) from None
    return distributed


def as_client(given: object, where: str) -> Client:
    """Return a client that the user made.

    Raises
    ------
    UserMistake
        If it is something else, or of no use.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None or not isinstance(given, distributed.Client):
        raise UserMistake(Problem(where, f"{FORMS}, or a distributed.Client", shown(given)))
    if given.asynchronous or given.status != "running":
        got = "an asynchronous one" if given.asynchronous else f"one that is {given.status}"
        raise UserMistake(Problem(where, "a client that is connected and not asynchronous", got))
    return given


def connect(address: str, where: str) -> Client:
    """Return a client of the scheduler at an address.

    Raises
    ------
    UserMistake
        If none answers there.
    """
    distributed = require(where)
    try:
        with _no_warnings():
            return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # what it raises for what is no scheduler
        got = f"none within {CONNECT_SECONDS:g} s ({_first_line(error)})"
        raise UserMistake(Problem(where, f"a dask scheduler that answers at {address}", got)) from None


def start_local(count: int, where: str) -> tuple[Client, LocalCluster]:
    """Return a cluster of this many processes on this machine, of one thread each, and its client."""
    distributed = require(where)
    with _no_warnings(), startup.quiet():  # its threads inherit that interruptions are not theirs
        cluster = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit=0,  # the run keeps to its own
            silence_logs=logging.CRITICAL,
        )
        return distributed.Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False), cluster


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Keep dask's messages off the terminal, and the user's script out of processes it starts anew.

    A process is told by `__main__` what to load first; for the time being that is a module that does nothing.
    """
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio", "bokeh")]
    levels = [logger.level for logger in loggers]
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    main.__spec__ = importlib.machinery.ModuleSpec(startup.__name__, None)
    try:
        yield
    finally:
        main.__spec__ = spec
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Leave out dask's own words on versions: what matters here is compared by `unfit`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def await_worker(client: Client, where: str) -> None:
    """Wait until a worker is there; a cluster that grows with its work is thereby asked for one.

    Raises
    ------
    UserMistake
        If there is none in time.
    """
    if client.nthreads():
        return
    asked = client.submit(int, pure=False)
    try:
        asked.result(timeout=WORKER_SECONDS)
    except TimeoutError:
        got = f"none within {WORKER_SECONDS:g} s"
        hint = "Start some: dask worker ADDRESS --nthreads 1"
        raise UserMistake(Problem(where, "a scheduler with at least one worker", got, hint)) from None
    finally:
        asked.release()


def unfit(client: Client, addresses: Sequence[str]) -> dict[str, str]:
    """Return those of the workers that would give other numbers than this process, and why.

    Workers that are gone before they answer are among them.
    """
    mine = remote.facts()
    answers = client.run(remote.facts, workers=list(addresses), on_error="return")
    found = {address: _difference(mine, answers.get(address)) for address in addresses}
    return {address: why for address, why in found.items() if why}


def refusal(where: str, unfit: Mapping[str, str]) -> UserMistake:
    """Return the mistake of a cluster with workers that do not fit."""
    expected = "workers with the same gradlab, NumPy and SciPy as this process"
    hint = "Install the same versions there: the numbers would not be the same"
    return UserMistake(
        Problem(where, expected, f"{why} at {address}", hint) for address, why in unfit.items()
    )


def _difference(mine: Mapping[str, str], theirs: object) -> str:
    if isinstance(theirs, ImportError):
        return f"no such gradlab ({_first_line(theirs)})"
    if not isinstance(theirs, Mapping):
        return f"no answer ({_first_line(theirs)})"
    parts = [
        f"{'code of gradlab' if key == 'code' else key} {theirs.get(key)} in place of {value}"
        for key, value in mine.items()
        if theirs.get(key) != value
    ]
    return ", ".join(parts)


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
