"""Reading a user's .npy file: never unpickled, and every mistake is one clear message."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

MAGIC = b"\x93NUMPY"
EXPECTED = "a .npy file with a matrix of finite real numbers"
UNREADABLE = (ValueError, TypeError, KeyError, EOFError, MemoryError, OverflowError, SyntaxError)
PATH_SHOWN = 300  # characters

Mistake = Callable[..., UserMistake]  #: from what came, and a hint, to the mistake


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
    mistake = refusal(where, EXPECTED)
    content = read_bytes(path, mistake)
    held = numbers(path, content, mistake)
    if held.ndim != 2 or held.size == 0:
        raise mistake(f"an array of shape {held.shape}")
    with np.errstate(over="ignore"):  # an extended-precision number may overflow: refused below
        matrix = np.ascontiguousarray(held, dtype=np.float64)
    if not np.isfinite(matrix).all():
        raise mistake("NaN or infinity among them")
    return matrix, hashlib.sha256(content).hexdigest()


def refusal(where: str, expected: str) -> Mistake:
    """Return what makes the mistake of a file that is not as expected."""

    def mistake(got: str, hint: str = "") -> UserMistake:
        return UserMistake(Problem(where, expected, got, hint))

    return mistake


def read_bytes(path: object, mistake: Mistake, most: int | None = None) -> bytes:
    """Return the bytes of a file, refused if there are more than `most`."""
    if not isinstance(path, str) or not path or "\0" in path:
        raise mistake(shown(path), "Give the path of the file as a text.")
    try:
        if most is not None and (size := Path(path).stat().st_size) > most:
            raise mistake(f"{shown(path, PATH_SHOWN)}, which has {size} bytes; {most} are the most")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise mistake(
            f"no file at {shown(path, PATH_SHOWN)}",
            f"Looked in {shown(str(Path(path).absolute().parent), PATH_SHOWN)}.",
        ) from None
    except OSError as error:
        raise mistake(f"{shown(path, PATH_SHOWN)}, which cannot be read ({error.strerror})") from None


def numbers(path: object, content: bytes, mistake: Mistake) -> NDArray[Any]:
    """Return the array of integers or floats that the bytes of a .npy file hold, as it is.

    Nothing is allocated before the header was found to declare as many bytes as there are.
    """
    if not content.startswith(MAGIC):
        raise mistake(f"{shown(path, PATH_SHOWN)}, which is not a .npy file", "Write it with numpy.save.")
    try:
        shape, dtype, start = header(content)
        needed = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and start + needed > len(content):
            raise ValueError(f"{needed} bytes declared, {len(content) - start} there")
        held: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise mistake(
                "an array of Python objects", "Objects are never unpickled; save numbers."
            ) from None
        raise mistake(f"{shown(path, PATH_SHOWN)}, which is damaged ({shown(str(error))})") from None
    if held.dtype.kind not in "iuf":
        raise mistake(f"an array of dtype {held.dtype}")
    return held


def header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return the shape and dtype that the first bytes of a .npy file declare, and where numbers begin.

    Raises
    ------
    ValueError and others of `UNREADABLE`
        If they are no such header.
    """
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} is for arrays with named fields")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(n < 0 for n in shape):
        raise ValueError(f"a shape {shape}")
    return shape, dtype, stream.tell()
