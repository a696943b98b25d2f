"""Slopes of log10 adjoint norms against lag, in decades per time step, where they are known exactly.

Notation: W recurrent matrix, phi activation, dh the adjoint of the state, s the logistic function.
One step back in time is ``dh' = W^T (phi'(z) * dh)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core.errors import Problem, UserMistake

EXACT_SPECTRA = frozenset({"orthogonal", "identity"})
"""Spectrum families that are a scale times an orthogonal matrix, whatever their settings."""

EXACT_ACTIVATIONS = frozenset({"identity"})
"""Activations whose derivative is one everywhere."""


def is_exact(cell: str, spectrum: str, activation: str) -> bool:
    """Say whether `orthogonal_slope` holds to rounding for networks with these entries.

    Parameters
    ----------
    cell, spectrum, activation : str
        Names of catalogue entries.

    Returns
    -------
    bool
        True for linear Elman networks whose recurrent matrix is a scaled orthogonal one.
    """
    return cell == "elman" and spectrum in EXACT_SPECTRA and activation in EXACT_ACTIVATIONS


def orthogonal_slope(radius: ArrayLike) -> NDArray[np.float64]:
    """Return the slope of a linear network with a scaled orthogonal recurrent matrix.

    ``W = radius * Q`` with orthogonal Q gives ``|dh'| = radius |dh|`` for every adjoint, so the
    slope is ``log10(radius)`` at every lag and for every size.

    Parameters
    ----------
    radius : array_like
        Spectral radius (dimensionless, at least 0), of any shape.

    Returns
    -------
    ndarray
        Decades per time step, of the shape of `radius`; -inf at radius 0.

    Raises
    ------
    UserMistake
        Where a radius is negative or NaN.
    """
    return log10_or_zero("radius", radius)


def lstm_memory_slope(forget_bias: ArrayLike) -> NDArray[np.float64]:
    """Return the slope of the memory adjoint in an LSTM whose weights are negligible.

    With ``c = s(f) * c' + s(i) * phi(g)`` and no weights, f is the forget bias at every step, and
    each step back multiplies the adjoint of c by ``s(forget_bias)``.

    Parameters
    ----------
    forget_bias : array_like
        Bias of the forget gate (dimensionless), of any shape.

    Returns
    -------
    ndarray
        ``log10 s(forget_bias)``, decades per time step; to full relative precision at both ends.
    """
    bias = np.asarray(forget_bias, dtype=np.float64)
    # log(1 + exp(-b)) without forming the logistic, which rounds to one above b = 37.
    return np.asarray(-np.logaddexp(0.0, -bias) / np.log(10.0))


def log10_or_zero(where: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return log10 of numbers that are at least 0, with -inf for 0 and no warning.

    Parameters
    ----------
    where : str
        Name of the argument, for the message.
    value : array_like
        Numbers of any shape.

    Raises
    ------
    UserMistake
        Where a number is negative or NaN.
    """
    x: NDArray[Any] = np.asarray(value, dtype=np.float64)
    if not (x >= 0.0).all():
        raise UserMistake(Problem(where, "numbers of at least 0", "a negative number or NaN among them"))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(x))
