"""What a training keeps on disk while it is under way, so that it can be stopped at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np

from gradlab.core.notices import notice
from gradlab.core.streams import digest
from gradlab.measure.block import TELLING
from gradlab.measure.history import State
from gradlab.measure.train import Progress

__all__ = ["Keeper", "file_name", "read_state", "remove_done", "write_state"]

SUFFIX = ".npz"
CASES = "case"  # the keys of the cases of a state, beside its own arrays
_MARK = hashlib.sha256().digest_size


def file_name(keys: Sequence[str]) -> str:
    """Return the name of the file for the state of cases with these keys."""
    return digest(list(keys)) + SUFFIX


class Keeper:
    """Keeps the state of a block's cases in a file, and goes on from whatever was kept of them.

    Cases are found again by their keys, in whatever file of the folder they are: another number of
    workers cuts the same cases into other blocks.

    Parameters
    ----------
    path : Path
        The block's own file.
    keys : sequence of str
        What names each case: equal keys have equal states.
    group : str
        What the cases are, in words.
    """

    def __init__(self, path: Path, keys: Sequence[str], group: str):
        self._path, self._keys, self._group = path, list(keys), group
        self._told = False

    def start(self, begin: Callable[[], State]) -> State | None:
        """Return the state to go on from: every case as far as any file has it; None if none has any.

        `begin` gives the state before the first update.
        """
        place = {key: i for i, key in enumerate(self._keys)}
        state: State | None = None
        for path in sorted(self._path.parent.glob(f"*{SUFFIX}")):
            kept = read_state(path) or {CASES: np.empty(0, dtype="U1")}
            for row, key in enumerate(kept[CASES].tolist()):
                if key in place:
                    state = begin() if state is None else state
                    if _progress(kept, row) > _progress(state, place[key]):
                        for name in state.keys() & kept.keys():
                            state[name][place[key]] = kept[name][row]
        return state

    def save(self, state: State) -> None:
        """Keep a state; where the disk refuses, say so once, and leave the last one whole.

        The training goes on: all it loses is that it would have to go on from an earlier state.
        """
        try:
            write_state(self._path, {**state, CASES: np.array(self._keys)})
        except OSError as error:
            if not self._told:
                why = error.strerror or type(error).__name__
                notice(
                    f"{self._path.parent}: the state of a training could not be kept ({why}). The training "
                    "goes on; if it is stopped, it will go on from the last state that was kept."
                )
            self._told = True
        else:
            self._told = False

    def tell(self, progress: Progress) -> None:
        """Write how far the training is beside its state; nobody waits for it, so trouble is no matter."""
        told = {
            "group": self._group,
            "done": progress.done,
            "total": progress.total,
            "loss": float(np.median(progress.loss)) if progress.loss.size else None,
            "solved": int(progress.solved.sum()),
            "diverged": int(progress.diverged.sum()),
        }
        with contextlib.suppress(OSError):
            self._path.with_name(self._path.name + TELLING).write_text(json.dumps(told), encoding="utf-8")


def remove_done(folder: Path, done: AbstractSet[str]) -> None:
    """Remove every file in which there are only cases with these keys, or no state that is whole."""
    kept = set()
    for path in folder.glob(f"*{SUFFIX}"):
        state = read_state(path)
        if state is not None and not done >= set(state[CASES].tolist()):
            kept |= {path.name, path.name + TELLING}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()
        if not kept:
            folder.rmdir()


def _progress(state: State, row: int) -> tuple[bool, int]:
    """Return how far a case is: one that has ended is furthest."""
    return not state["running"][row], int(state["done"][row])


def write_state(path: Path, state: State) -> None:
    """Keep a state in a file that is always whole: the last one stays until the new one is.

    A digest of the content stands at the end.

    Raises
    ------
    OSError
        If it cannot be written; the last state is still there.
    """
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **state)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.write(hashlib.sha256(content.getbuffer()).digest())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def read_state(path: Path) -> State | None:
    """Return the state that a file holds, or None where there is none that is whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[:-_MARK]).digest() != content[-_MARK:]:
        return None
    with np.load(io.BytesIO(content[:-_MARK]), allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
