"""Mutated specs: each must be refused with a clear message, or give cases that can be measured."""

from __future__ import annotations

import copy
import random
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gradlab
from gradlab.archive.united import FINISHED
from gradlab.cli.terminal import clean
from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.runner import execute
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.toml import to_toml

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MESSAGE = 4000
HOSTILE = (
    "\x1b]0;owned\x07",
    "[bold red]x[/]",
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "a\x00b",
    "\u202egnp.exe",
    "x" * 5000,
    "",
    "ünïcode",
    "\ud7ff\U0010ffff",
)
ODD: tuple[Any, ...] = (
    *HOSTILE,
    -1,
    0,
    1,
    2,
    3,
    7,
    1 << 40,
    1 << 63,
    -(1 << 70),
    10**400,
    0.0,
    -0.0,
    1e-320,
    1e308,
    -2.5,
    float("inf"),
    float("nan"),
    True,
    False,
    [],
    {},
    [[]],
    [1, "a"],
    {"name": "norm", "threshold": -1},
    {"start": 0, "stop": 1, "num": 1 << 40},
    {"start": 1, "stop": 0, "step": 1e-12},
    ["tanh", "tanh"],
)
TINY = """
title = "Tiny"
replicates = 2
[network]
hidden = 3
[task]
name = "noise"
features = 2
batch = 2
length = 4
[sweep]
"network.spectrum.radius" = [0.5, 3.0]
"network.activation" = ["tanh", "identity"]
"""
SMALL = {"hidden": 3, "length": 4, "batch": 2, "draws": 2}
MOST_CASES, MOST_WORK = 12, 20_000
MOST_SECONDS = 5.0  # as the plan sees them


class Fault(AssertionError):
    """What must not happen did."""


def seeds() -> list[str]:
    """Return the specs to start from."""
    return [TINY, *(file.read_text() for file in sorted((ROOT / "experiments").glob("*.toml")))]


def check_message(mistake: UserMistake) -> None:
    """Check that a mistake says something, in a line that a terminal shows as it is."""
    if not mistake.problems:
        raise Fault("a mistake without a problem")
    for problem in mistake.problems:
        text = clean(problem)
        if not problem.expected or not problem.got or not text.isprintable():
            raise Fault(f"an unclear message: {text!r}")
        if len(text) > LONGEST_MESSAGE + 2 * len(problem.where):
            raise Fault(f"a message of {len(text)} letters: {text[:200]!r}")


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few of them changed, left out, doubled or cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not out:
            return b"\x00"
        place = rng.randrange(len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place] = rng.randrange(256)
        elif kind == 2:
            del out[place : place + rng.choice((1, 4, 40))]
        elif kind == 3:
            out[place:place] = out[place : place + rng.choice((1, 4, 40))]
        else:
            del out[place:]
    return bytes(out)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutate_tree(tree: dict[str, Any], rng: random.Random) -> None:
    """Change one value of nested tables: another value, none, one of another place, or a new key."""
    every = list(places(tree))
    if not every:
        tree["x"] = copy.deepcopy(rng.choice(ODD))
        return
    path = rng.choice(every)
    parent: Any = tree
    for key in path[:-1]:
        parent = parent[key]
    last, kind = path[-1], rng.randrange(6)
    if kind <= 2:
        parent[last] = copy.deepcopy(rng.choice(ODD))
    elif kind == 3:
        del parent[last]
    elif kind == 4 and isinstance(parent, dict):
        word = "".join(rng.choices(string.ascii_lowercase, k=4))
        parent[rng.choice((f"{last}x", word, rng.choice(HOSTILE)))] = parent.pop(last)
    else:
        other: Any = tree
        for key in rng.choice(every):
            if isinstance(other, dict | list) and (
                key in other if isinstance(other, dict) else key < len(other)
            ):
                other = other[key]
        if other is not parent and other is not tree:
            parent[last] = copy.deepcopy(other)


def mutated_spec(rng: random.Random, known: list[str]) -> bytes:
    """Return the text of a mutated spec."""
    text = rng.choice(known)
    if rng.random() < 0.4:
        return mutated_bytes(text.encode(), rng)
    tree = tomllib.loads(text)
    if rng.random() < 0.7:
        tree["replicates"] = 1
        for section in tree.values():
            if isinstance(section, dict):
                section |= {key: value for key, value in SMALL.items() if key in section}
        sweep = tree.get("sweep")
        if isinstance(sweep, dict):
            tree["sweep"] = {k: v[:2] if isinstance(v, list) else v for k, v in list(sweep.items())[:2]}
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutate_tree(tree, rng)
    try:
        return to_toml(tree).encode("utf-8", "surrogatepass")
    except Exception:  # TOML cannot say it: not of interest
        return mutated_bytes(text.encode(), rng)


def try_spec(rng: random.Random, folder: Path, known: list[str]) -> str:
    """Load, plan and, if it is small, run one mutated spec; return what became of it."""
    file = folder / "spec.toml"
    file.write_bytes(mutated_spec(rng, known))
    try:
        spec = gradlab.load_spec(file)
        plan = make_plan(expand(spec))
    except UserMistake as mistake:
        check_message(mistake)
        return "refused"
    grid = plan.grid
    work = max(n.hidden * n.hidden * n.layers for n in grid.networks) * max(t.length for t in grid.tasks)
    seconds = sum(planned.block.size * planned.block.run_seconds for planned in plan.blocks())
    if grid.n_cases > MOST_CASES or work > MOST_WORK or seconds > MOST_SECONDS:
        return "planned"
    sink = MemorySink(plan)
    try:
        execute(plan, sink, workers=1, memory=1 << 30)
    except UserMistake as mistake:
        check_message(mistake)
        return "refused when run"
    if sink.failures:
        raise Fault(f"cases failed:\n{sink.failures[0][1]}")
    there = sink.arrays["status"][tuple(grid.points.T)]
    if not np.isin(there, FINISHED).all():
        raise Fault(f"cases without a result: {there}")
    return "measured"
