"""Random ingredients that several families share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import nearest, number, shown
from gradlab.core.errors import Problem, UserMistake

Matrix = NDArray[np.float64]
LAWS = ("disc", "ring")


def haar(size: int, stream: np.random.RandomState) -> Matrix:
    """Return a (size, size) orthogonal matrix, uniform over the orthogonal group.

    The QR factors of a Gaussian matrix, with the signs of R's diagonal moved into Q: without that
    the distribution is not uniform (Mezzadri 2007, How to generate random matrices from the
    classical compact groups).
    """
    q, r = np.linalg.qr(stream.standard_normal((size, size)))
    return np.asarray(q * np.where(np.diagonal(r) < 0, -1.0, 1.0))


def eigenvalue_setting(where: str, value: Any) -> str | tuple[Any, ...]:
    """Return a checked setting of eigenvalues: "ring", "disc", or numbers and [re, im] pairs."""
    expected = "'ring', 'disc', or a list of numbers and [re, im] pairs"
    if isinstance(value, str):
        if value in LAWS:
            return value
        raise UserMistake(Problem(where, expected, shown(value), nearest(value, LAWS)))
    if not isinstance(value, list | tuple) or not value:
        raise UserMistake(Problem(where, expected, shown(value)))
    checked: list[Any] = []
    for place, item in enumerate(value):
        key = f"{where}[{place}]"
        if isinstance(item, list | tuple):
            if len(item) != 2:
                raise UserMistake(Problem(key, "a number or a pair [re, im]", shown(item)))
            checked.append((number(key, item[0]), number(key, item[1])))
        else:
            checked.append(number(key, item))
    return tuple(checked)


def check_count(eigenvalues: str | tuple[Any, ...], size: int) -> None:
    """Raise UserMistake unless listed eigenvalues, with their conjugates, are `size` many."""
    if isinstance(eigenvalues, str):
        return
    count = sum(2 if isinstance(item, tuple) and item[1] != 0.0 else 1 for item in eigenvalues)
    if count != size:
        hint = "A pair [re, im] stands for itself and its conjugate: two eigenvalues."
        raise UserMistake(
            Problem("eigenvalues", f"as many as there are hidden units ({size})", str(count), hint)
        )


def all_zero(eigenvalues: str | tuple[Any, ...]) -> bool:
    """Return whether eigenvalues are listed and every one of them is zero."""
    return not isinstance(eigenvalues, str) and not np.any(np.hstack(eigenvalues))


def block_diagonal(eigenvalues: str | tuple[Any, ...], size: int, stream: np.random.RandomState) -> Matrix:
    """Return the real normal matrix with the eigenvalues on its diagonal, pairs as 2 x 2 blocks.

    "ring" draws angles uniform on the unit circle, "disc" points uniform in the unit disc; where the
    size is odd one eigenvalue is real.
    """
    pairs: list[tuple[float, float]] = []
    reals: list[float] = []
    if isinstance(eigenvalues, str):
        angles = stream.uniform(0.0, math.pi, size // 2)
        moduli = np.sqrt(stream.uniform(size=size // 2)) if eigenvalues == "disc" else np.ones(size // 2)
        pairs = list(zip(moduli * np.cos(angles), moduli * np.sin(angles), strict=True))
        if size % 2:
            sign = 1.0 if stream.uniform() < 0.5 else -1.0
            reals = [sign * (math.sqrt(stream.uniform()) if eigenvalues == "disc" else 1.0)]
    else:
        for item in eigenvalues:
            re, im = item if isinstance(item, tuple) else (item, 0.0)
            if im != 0.0:
                pairs.append((re, im))
            else:
                reals.append(re)
    result = np.zeros((size, size))
    for k, (re, im) in enumerate(pairs):
        result[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[re, -im], [im, re]]
    rest = np.arange(2 * len(pairs), size)
    result[rest, rest] = reals
    return result
