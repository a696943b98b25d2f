"""The specs that an archive keeps: that of its last run, and those that its other cases came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gradlab.archive import directory
from gradlab.core.errors import UserMistake
from gradlab.core.streams import digest
from gradlab.experiment.toml import read_toml

_ASIDE = ("title", "question", "memory")  # of a spec: they change no number


def former_specs(path: Path, resolved: str) -> dict[str, str]:
    """Return the resolved specs that an archive has, by name; not the one that is the last from now on.

    Raises
    ------
    UserMistake
        If one is damaged.
    """
    last, *former = _files(path)
    for file in (*former, last):
        read_toml(file)
    found = named(file.read_text(encoding="utf-8") for file in (*former, last))
    if resolved:
        found.pop(_spec_name(resolved), None)
    return found


def resolved_specs(path: Path) -> list[dict[str, Any]]:
    """Return the tables of an archive's specs, resolved, the last that was run first.

    Raises
    ------
    UserMistake
        If one is damaged.
    """
    return [read_toml(file) for file in _files(path)]


def _files(path: Path) -> list[Path]:
    return [path / directory.RESOLVED, *sorted((path / directory.FORMER).glob("*.toml"))]


def recorded_by_default(path: Path) -> bool:
    """Return whether no spec of an archive says what is to be recorded."""
    try:
        return not any("record" in table for table in resolved_specs(path))
    except UserMistake:
        return False


def named(texts: Iterable[str]) -> dict[str, str]:
    """Return resolved specs by the name of their files."""
    return {_spec_name(text): text for text in texts}


def _spec_name(text: str) -> str:
    table = {key: value for key, value in tomllib.loads(text).items() if key not in _ASIDE}
    try:
        return f"{digest(table)[:16]}.toml"
    except (TypeError, ValueError):  # a date, or NaN: it is nobody's spec, and keeps its text
        return f"{digest(text)[:16]}.toml"


def write_former(path: Path, texts: Mapping[str, str]) -> None:
    """Let the folder of former specs hold these."""
    folder = path / directory.FORMER
    for file in folder.glob("*"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        folder.mkdir(exist_ok=True)
        directory.replace_text(folder / name, text)
    if folder.is_dir() and not texts and path.name != directory.NEXT + directory.PARTIAL:
        folder.rmdir()
