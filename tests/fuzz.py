"""Mutated specs and archives, many of them: `python -m tests.fuzz --specs 10000 --archives 2000`.

Every one must be refused with a clear message or give a correct result: no traceback, no hang, nothing
written outside the output folder, and no altered archive called verified. What breaks this is printed
with its number; `--first NUMBER --specs 1` tries that one alone.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz_archives import benches, try_archive
from fuzz_specs import Fault, seeds, try_spec

SECONDS = 60.0  # of processor time; longer is a hang
WAITING = 10.0  # times as long on the clock, for other work that the machine may have
BYTES = 12 << 30  # of address space


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise if the body takes longer."""

    def stop(*_: Any) -> None:
        raise Fault(f"a hang: more than {seconds:g} s")

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, seconds * WAITING),
    )
    former = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, most in timers:
        signal.setitimer(timer, most)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, former, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def campaign(
    what: str, attempt: Callable[[random.Random], str], numbers: range, seed: int, progress: bool = False
) -> tuple[collections.Counter[str], list[str]]:
    """Try a mutation for every number; return how many ended how, and what went wrong."""
    ends: collections.Counter[str] = collections.Counter()
    faults = []
    for number in numbers:
        try:
            with at_most(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ends[attempt(random.Random(f"{what} {seed} {number}"))] += 1
        except Exception as error:
            ends["FAULT"] += 1
            told = str(error) if isinstance(error, Fault) else traceback.format_exc()
            faults.append(f"{what} {number}: {told}")
            if progress:
                print(faults[-1], flush=True)  # noqa: T201
        if progress and (number + 1) % 500 == 0:
            print(f"{what}: {number + 1}", file=sys.stderr, flush=True)  # noqa: T201
    return ends, faults


def specs(count: int, seed: int = 0, first: int = 0, progress: bool = False) -> Any:
    """Try mutated specs."""
    known = seeds()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return campaign(
            "spec", lambda rng: try_spec(rng, place, known), range(first, first + count), seed, progress
        )


def archives(count: int, seed: int = 0, first: int = 0, progress: bool = False) -> Any:
    """Try mutated archives."""
    with tempfile.TemporaryDirectory() as folder:
        known = benches(Path(folder))
        return campaign(
            "archive",
            lambda rng: try_archive(rng, rng.choice(known)),
            range(first, first + count),
            seed,
            progress,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specs", type=int, default=0)
    parser.add_argument("--archives", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    bad = 0
    for what, run in (("specs", specs), ("archives", archives)):
        count = getattr(asked, what)
        if not count:
            continue
        begun = time.perf_counter()
        ends, faults = run(count, asked.seed, asked.first, True)
        bad += len(faults)
        told = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
        print(f"{count} {what}: {told}. {time.perf_counter() - begun:.0f} s.", flush=True)  # noqa: T201
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
