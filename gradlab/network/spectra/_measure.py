"""Radius, norm and departure from normality of a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Properties:
    """Largest absolute eigenvalue, largest singular value, Henrici departure."""

    radius: float
    norm: float
    henrici_departure: float


def properties(matrix: NDArray[np.float64]) -> Properties:
    """Return radius, norm and Henrici departure of a real square matrix.

    All three come without overflow or cancellation. Eigenvalues are taken after balancing, which
    matters where entries differ by orders of magnitude (heavy tails). The departure
    ``sqrt(||W||_F^2 - sum |eigenvalue|^2)`` is the Frobenius norm of what stands above the
    eigenvalues in a Schur form: taken from there it is right to rounding, where the difference of
    squares is noise of 1e-8. In a real Schur form ``[[a, b], [c, a]]`` with bc < 0 holds the pair
    ``a +- i sqrt(-bc)`` and adds ``(b + c)^2`` to the square of the departure.

    References
    ----------
    Henrici (1962), Bounds for iterates, inverses, spectral variation and fields of values of
    non-normal matrices. Golub and Van Loan (2013), Matrix computations, section 7.1.
    """
    from scipy.linalg import schur  # imported late: only drawing needs SciPy

    largest = float(np.abs(matrix).max())
    if largest == 0.0:
        return Properties(0.0, 0.0, 0.0)
    exponent = int(np.frexp(largest)[1])
    unit = np.ldexp(matrix, -exponent)
    form, _ = schur(unit, output="real")
    below = np.diagonal(form, -1)
    pairs = np.flatnonzero(below)
    above = np.triu(form, 1)
    above[pairs, pairs + 1] += below[pairs]
    radius = np.ldexp(np.abs(np.linalg.eigvals(unit)).max(), exponent)
    norm = np.ldexp(np.linalg.norm(unit, 2), exponent)
    departure = np.linalg.norm(above) / np.linalg.norm(unit)
    return Properties(float(radius), float(norm), float(departure))
