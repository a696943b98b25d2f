"""Bounds of adjoint norms at a lag, and the norms of matrix powers they come from.

All are log10 of the factor by which an adjoint may grow from lag 0 to lag k, so that a bound is
right where the factor itself would be 0 or infinite in floating point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlab.core import checks
from gradlab.core.errors import Problem, UserMistake
from gradlab.theory.slopes import log10_or_zero


def norm_bound(norm: float, derivative_bound: float, lags: ArrayLike) -> NDArray[np.float64]:
    """Return the bound ``(norm(W) * gamma)^k`` for an activation with ``|phi'| <= gamma``.

    Every step back is ``W^T diag(phi'(z))``, of norm at most ``norm(W) * gamma`` (Pascanu, Mikolov
    and Bengio 2013, section 2.2). The same statement with the spectral *radius* is false.

    Parameters
    ----------
    norm : float
        Largest singular value of the recurrent matrix.
    derivative_bound : float
        gamma, supremum of the activation's absolute derivative.
    lags : array_like of int, shape (lag,)
        Time steps back from the loss, at least 0.

    Returns
    -------
    ndarray, shape (lag,)
        log10 of the largest possible ratio of adjoint norms at lag k and lag 0.

    Raises
    ------
    UserMistake
        Where `norm`, `derivative_bound` or a lag is negative or not finite.
    """
    factor = checks.number("norm", norm, at_least=0.0) * checks.number(
        "derivative_bound", derivative_bound, at_least=0.0
    )
    return _powers(float(log10_or_zero("norm", factor)), lags)


def symmetric_bound(radius: float, lags: ArrayLike) -> NDArray[np.float64]:
    """Return the bound ``radius^k`` of a linear network whose recurrent matrix is symmetric.

    For a normal matrix radius and norm are the same number, and ``|W^k| = radius^k``.

    Parameters
    ----------
    radius : float
        Largest absolute eigenvalue.
    lags : array_like of int, shape (lag,)
        Time steps back from the loss, at least 0.

    Returns
    -------
    ndarray, shape (lag,)
        log10 of the largest possible ratio of adjoint norms at lag k and lag 0.

    Raises
    ------
    UserMistake
        Where `radius` or a lag is negative or not finite.
    """
    return _powers(float(log10_or_zero("radius", checks.number("radius", radius, at_least=0.0))), lags)


def log10_power_norms(matrix: ArrayLike, max_lag: int) -> NDArray[np.float64]:
    """Return log10 of the spectral norm of ``W^k`` for k = 0 ... `max_lag`.

    For a nonnormal matrix nothing shorter predicts a linear network: neither radius nor norm does.
    The running product is rescaled by powers of two, which is exact, so no power over- or underflows.

    Parameters
    ----------
    matrix : array_like, shape (to, from)
        Square recurrent matrix.
    max_lag : int
        Largest power, at least 0.

    Returns
    -------
    ndarray, shape (max_lag + 1,)
        log10 norms (dimensionless); -inf from the power on at which a nilpotent matrix is zero.

    Raises
    ------
    UserMistake
        Where `matrix` is not square or not finite, or `max_lag` is negative.
    """
    w = checks.array("matrix", matrix, (None, None), "to, from")
    w = checks.array("matrix", w, (w.shape[0], w.shape[0]), "to, from")
    count = checks.integer("max_lag", max_lag, at_least=0) + 1
    w, shift = _rescaled(w)
    power, exponent = np.eye(w.shape[0]), 0
    logs = np.full(count, -np.inf)
    for k in range(count):
        norm = float(np.linalg.norm(power, ord=2))
        if norm == 0.0:
            break
        logs[k] = np.log10(norm) + exponent * np.log10(2.0)
        power, added = _rescaled(w @ power)
        exponent += shift + added
    return logs


def _rescaled(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the matrix divided by a power of two, largest entry in [0.5, 1), and the exponent."""
    exponent = int(np.frexp(np.abs(matrix).max(initial=0.0))[1])
    return np.ldexp(matrix, -exponent), exponent


def _powers(log10_factor: float, lags: ArrayLike) -> NDArray[np.float64]:
    k = checks.array("lags", lags, (None,), "lag")
    if (k < 0).any():
        raise UserMistake(Problem("lags", "numbers of at least 0", "a negative number among them"))
    # A factor of zero to the power 0 is one: lag 0 is the adjoint itself.
    result = np.zeros(k.shape)
    np.multiply(k, log10_factor, out=result, where=k > 0)
    return result
