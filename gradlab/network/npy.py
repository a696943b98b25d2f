"""Reading a user's .npy file: never unpickled, and every mistake is one clear message."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

MAGIC = b"\x93NUMPY"
EXPECTED = "a .npy file with a matrix of finite real numbers"
UNREADABLE = (ValueError, TypeError, KeyError, EOFError, MemoryError, OverflowError, SyntaxError)
PATH_SHOWN = 300  # characters


def read_matrix(where: str, path: object) -> tuple[NDArray[np.float64], str]:
    """Return the matrix in a .npy file, as float64, and the SHA-256 of the file's bytes.

    Parameters
    ----------
    where : str
        The key under which the path was given, for messages.
    path : str
        The file.

    Raises
    ------
    UserMistake
        If there is no such file, or what it holds is no .npy, is made of Python objects (they are
        never unpickled), is not two-dimensional, not real, empty, or not finite.
    """

    def mistake(got: str, hint: str = "") -> UserMistake:
        return UserMistake(Problem(where, EXPECTED, got, hint))

    if not isinstance(path, str) or not path or "\0" in path:
        raise mistake(shown(path), "Give the path of the file as a text.")
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise mistake(
            f"no file at {shown(path, PATH_SHOWN)}",
            f"Looked in {shown(str(Path(path).absolute().parent), PATH_SHOWN)}.",
        ) from None
    except OSError as error:
        raise mistake(f"{shown(path, PATH_SHOWN)}, which cannot be read ({error.strerror})") from None
    if not content.startswith(MAGIC):
        raise mistake(f"{shown(path, PATH_SHOWN)}, which is not a .npy file", "Write it with numpy.save.")
    try:
        held: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise mistake(
                "an array of Python objects", "Objects are never unpickled; save numbers."
            ) from None
        raise mistake(f"{shown(path, PATH_SHOWN)}, which is damaged ({shown(str(error))})") from None
    if held.dtype.kind not in "iuf":
        raise mistake(f"an array of dtype {held.dtype}")
    if held.ndim != 2 or held.size == 0:
        raise mistake(f"an array of shape {held.shape}")
    with np.errstate(over="ignore"):  # an extended-precision number may overflow: refused below
        matrix = np.ascontiguousarray(held, dtype=np.float64)
    if not np.isfinite(matrix).all():
        raise mistake("NaN or infinity among them")
    return matrix, hashlib.sha256(content).hexdigest()
