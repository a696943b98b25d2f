"""Reading named arrays from a user's file: .safetensors or .npz, never unpickled, never without bound."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.checks import shown, texts
from gradlab.core.errors import Problem, UserMistake
from gradlab.network import npy

Array = NDArray[Any]

ENDINGS = (".safetensors", ".npz")
LARGEST_BYTES = 2 << 30  # of a file, and of what all its arrays are unpacked to
HEADER_BYTES = 1 << 16  # of a .npy file, at most; NumPy itself refuses longer ones
EXPECTED = "a .safetensors or .npz file with the weights of a network"
_UNPICKLED = "It is never unpickled. In PyTorch: safetensors.torch.save_file(model.state_dict(), path)."

#: What the numbers of a .safetensors file may be, by its own names for them.
_SAFE = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """An array of a file, not read yet.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        As NumPy calls it, "bfloat16" besides, or the file's own word for anything else.
    read : callable
        Returns the numbers; bfloat16 as float32, which holds every one of them.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


def read_tensors(path: object, where: str = "weights") -> tuple[dict[str, Tensor], str]:
    """Return the arrays in a file by name, and the SHA-256 of its bytes.

    Raises
    ------
    UserMistake
        If there is no such file, it is of another kind, damaged, too large, or made of Python objects.
    """
    mistake = npy.refusal(where, EXPECTED)
    ending = PurePath(path).suffix.lower() if isinstance(path, str) else ""
    if isinstance(path, str) and path and ending not in ENDINGS:
        hint = _UNPICKLED if ending in (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle") else ""
        raise mistake(shown(path, npy.PATH_SHOWN), hint)
    content = npy.read_bytes(path, mistake, LARGEST_BYTES)
    read = _safetensors if ending == ".safetensors" else _npz
    return read(str(path), content, mistake), hashlib.sha256(content).hexdigest()


def given_tensors(arrays: Mapping[str, ArrayLike]) -> tuple[dict[str, Tensor], str]:
    """Return arrays held in memory as if they came from a file, and a SHA-256 of all of them.

    Raises
    ------
    UserMistake
        If something among them is no array.
    """
    tensors, digest = {}, hashlib.sha256()
    for name in sorted(texts("weights", arrays, "arrays by their names")):
        try:
            values = np.asarray(arrays[name])
        except (TypeError, ValueError, RuntimeError) as error:  # as of a tensor on a device, or of bfloat16
            raise UserMistake(Problem(name, "an array of numbers", shown(str(error)))) from None
        tensors[name] = Tensor(values.shape, values.dtype.name, partial(np.asarray, values))
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(values.tobytes())
    return tensors, digest.hexdigest()


def _safetensors(path: str, content: bytes, mistake: npy.Mistake) -> dict[str, Tensor]:
    from safetensors import SafetensorError, deserialize  # imported late: only such a file needs it

    try:
        # The library's own NumPy reader knows no bfloat16, in which many networks are kept.
        parts = deserialize(content)  # type: ignore[no-untyped-call]  # the library's stub has no types
    except SafetensorError as error:
        got = f"{shown(path, npy.PATH_SHOWN)}, which is damaged ({shown(str(error))})"
        raise mistake(got) from None
    return {name: _safetensor(part) for name, part in sorted(parts, key=lambda pair: str(pair[0]))}


def _safetensor(part: Mapping[str, Any]) -> Tensor:
    data, shape = part["data"], tuple(part["shape"])
    dtype = _SAFE.get(part["dtype"], part["dtype"])

    def read() -> Array:
        if dtype == "bfloat16":  # the upper half of a float32
            halves = np.frombuffer(data, dtype="<u2").astype(np.uint32)
            return (halves << 16).view(np.float32).reshape(shape)
        return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)

    return Tensor(shape, dtype, read)


def _npz(path: str, content: bytes, mistake: npy.Mistake) -> dict[str, Tensor]:
    named = shown(path, npy.PATH_SHOWN)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise mistake(f"{named}, which is damaged or no .npz file ({shown(str(error))})") from None
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    total = sum(info.file_size for info in members.values())
    if total > LARGEST_BYTES:
        raise mistake(f"{named}, which unpacks to {total} bytes; {LARGEST_BYTES} are the most")
    return {name: _member(path, name, archive, info) for name, info in members.items()}


def _member(path: str, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    """Return one array of an .npz file, of which only the header is read."""
    named, mistake = shown(path, npy.PATH_SHOWN), npy.refusal(name, "an array of numbers")

    def bytes_of(most: int | None = None) -> bytes:
        try:
            with archive.open(info) as member:
                return member.read() if most is None else member.read(most)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise mistake(f"{named}, which is damaged there ({shown(str(error))})") from None

    beginning = bytes_of(HEADER_BYTES)
    try:
        shape, dtype, _ = npy.header(beginning)
    except npy.UNREADABLE as error:
        raise mistake(f"what is no .npy array in {named} ({shown(str(error))})") from None
    if dtype.hasobject:
        got = f"an array of Python objects in {named}"
        raise mistake(got, "Objects are never unpickled; save numbers.")
    return Tensor(shape, dtype.name, lambda: npy.numbers(path, bytes_of(), mistake))
