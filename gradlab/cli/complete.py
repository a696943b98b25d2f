"""Shell completion: names of experiments, archives and catalogue entries, without loading any of them.

A catalogue is read as text, for importing it would take longer than a person waits for a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_NAME = re.compile(r"""^    name: ClassVar\[str\] = "([^"]+)"$""", re.MULTILINE)

#: Folder of every catalogue, by the name that ``gradlab list`` knows it by.
CATALOGUES = {
    "cells": "network/cells",
    "activations": "network/activations",
    "spectra": "network/spectra",
    "initialisers": "network/initialisers",
    "tasks": "tasks",
    "losses": "tasks/losses",
    "clips": "learning/clipping",
    "learners": "learning/learners",
    "optimisers": "learning/optimisers",
    "schedules": "learning/schedules",
    "figures": "figures",
}
LISTS = (*CATALOGUES, "records")
FORMATS = ("png", "pdf", "svg")


def entry_names(catalogue: str) -> list[str]:
    """Return the names of a catalogue's entries, sorted."""
    files = sorted((_PACKAGE / CATALOGUES[catalogue]).glob("[!_]*.py"))
    return sorted(name for file in files for name in _NAME.findall(file.read_text(encoding="utf-8")))


def entries(catalogue: str) -> Callable[[str], list[str]]:
    """Return the completion of a comma-separated list of a catalogue's names."""
    return lambda incomplete: _in_list(entry_names(catalogue), incomplete)


def _in_list(names: list[str], incomplete: str) -> list[str]:
    done, comma, word = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in names if name.startswith(word)]


def figures(incomplete: str) -> list[str]:
    """Return the figures that begin so."""
    return [name for name in entry_names("figures") if name.startswith(incomplete)]


def lists(incomplete: str) -> list[str]:
    """Return what can be listed."""
    return [name for name in LISTS if name.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Return the file formats of figures, in a comma-separated list."""
    return _in_list(list(FORMATS), incomplete)


def specs(incomplete: str) -> list[str]:
    """Return the spec files here and among the shipped experiments."""
    found = [*Path().glob("*.toml"), *Path("experiments").glob("**/*.toml")]
    return sorted(str(path) for path in found if path.name != "pyproject.toml" and _begins(path, incomplete))


def archives(incomplete: str) -> list[str]:
    """Return the archives here and under ``results``, and what may be packed ones."""
    found = [path.parent for folder in (Path(), Path("results")) for path in folder.glob("*/archive.json")]
    found += [path for folder in (Path(), Path("results")) for path in folder.glob("*.zip")]
    return sorted({str(path) for path in found if _begins(path, incomplete)})


def _begins(path: Path, incomplete: str) -> bool:
    return str(path).startswith(incomplete)
