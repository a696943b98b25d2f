"""Why cases failed: ``failures.jsonl``, one JSON object a line.

A line has ``cases``, each with its ``settings_key`` and ``settings``, and ``error``, the traceback that all
of them raised; where an earlier line has the same, ``same`` gives the number of that line instead. The
last line of a case counts, and only while its status is failed. When a run begins and ends, what counts
no more is left out, and every traceback stands once.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.variables import STATUS

Told = dict[str, tuple[str, Any]]  # key of the settings -> error, settings


class FailureLog:
    """Appends to the file of an archive.

    Parameters
    ----------
    path : Path
        The archive's directory.
    """

    def __init__(self, path: Path):
        self.file = path / directory.FAILURES
        self._lines = 0
        self._known: dict[str, int] = {}

    def compact(self, settings_keys: NDArray[Any], status: NDArray[np.int8]) -> None:
        """Leave out what does not count any more; see `read` for the arguments."""
        text = _text(self.file)
        if text is None:
            return
        failed = set(settings_keys[status == STATUS["failed"]].tolist())
        told = _told(text)
        groups: dict[str, list[tuple[str, Any]]] = {}
        for key in sorted(failed & told.keys()):
            error, settings = told[key]
            groups.setdefault(error, []).append((key, settings))
        lines = [_line({"error": error}, cases) for error, cases in groups.items()]
        self._known = {error: number for number, error in enumerate(groups)}
        self._lines = len(lines)
        if lines:
            directory.replace_text(self.file, "\n".join(lines) + "\n")
        else:
            self.file.unlink()

    def append(self, error: str, keys: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> None:
        """Add the cases of these keys, which raised `error`."""
        first = self._known.get(error)
        reason = {"error": error} if first is None else {"same": first}
        line = _line(reason, list(zip(keys, settings, strict=True)))
        with self.file.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.write(line.encode() + b"\n")
            try:
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size)  # a line cut short would join the next one
                raise
        self._known.setdefault(error, self._lines)
        self._lines += 1


def read(text: str, settings_keys: NDArray[Any], status: NDArray[np.int8]) -> list[dict[str, Any]]:
    """Return, of each case that is failed now, what the text of the file says last of it.

    Parameters
    ----------
    text : str
    settings_keys : ndarray of str, shape (axes..., replicate)
    status : ndarray of int8, shape (axes..., replicate)

    Returns
    -------
    list of dict
        ``index`` (its place in the grid), ``settings_key``, ``error`` and ``settings``, by place.
    """
    told = _told(text)
    found = []
    for place in np.argwhere(status == STATUS["failed"]).tolist():
        key = str(settings_keys[tuple(place)])
        if key in told:
            error, settings = told[key]
            found.append({"index": place, "settings_key": key, "error": error, "settings": settings})
    return found


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _line(reason: Mapping[str, Any], cases: Sequence[tuple[str, Any]]) -> str:
    told = [{"settings_key": key, "settings": settings} for key, settings in cases]
    return json.dumps({**reason, "cases": told}, default=str)


def _told(text: str) -> Told:
    """Return what the lines say of each case; one that a killed run left unended says nothing."""
    told: Told = {}
    errors: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            error = errors[entry["same"]] if "same" in entry else str(entry["error"])
            # Before schema 2 every case had a line of its own, and its key was that of its settings.
            cases = entry["cases"] if "cases" in entry else [{**entry, "settings_key": entry["case_key"]}]
            told |= {str(case["settings_key"]): (error, case["settings"]) for case in cases}
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            error = ""
        errors.append(error)
    return told
