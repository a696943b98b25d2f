"""The regulariser that preserves the norm of the adjoint on its way back (Pascanu and others 2013).

Notation
    ``x_k = W phi(x_{k-1}) + U u_k + b`` pre-activation, ``d_k = dE/dx_k`` its adjoint,
    ``D_k = diag phi'(x_k)``, so that ``dx_{k+1}/dx_k = W D_k``; ``v_k = D_k W^T d_{k+1}`` what of
    the adjoint ``d_{k+1}`` arrives one time step further back.

Equations
    ``r_k = |v_k|^2 / |d_{k+1}|^2``, ``Omega = sum_k mean over samples of (r_k - 1)^2``, and with ``D_k`` and
    ``d_{k+1}`` held fixed (the immediate derivative)

        ``dOmega/dW = sum_k mean over samples of 4 (r_k - 1) / |d_{k+1}|^2  d_{k+1} (D_k v_k)^T``

A sample whose adjoint is almost zero tells nothing about its way: it counts as ``r_k = 1``. The ratio has
no unit, so that adjoints may be given at any scale; only that threshold asks for their true size.

References
----------
Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, section 3.3,
equations 9 and 10.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.scaled import ldexp
from gradlab.network.settings import NetworkSettings

Array = NDArray[Any]

#: Squared norm of an adjoint below which its sample counts as preserved.
FLOOR = 1e-20


@dataclass(frozen=True, eq=False)
class Omega:
    """The regulariser of a stack of cases.

    Parameters
    ----------
    value : array of shape (case,)
        ``Omega``.
    gradient : array of shape (case, hidden, hidden)
        Its immediate derivative by ``W``, rows to, columns from.
    counted : array of shape (case,)
        The sum over time of the share of samples above the floor. The authors' program divides value
        and gradient by it; the equation does not.
    """

    value: Array
    gradient: Array
    counted: Array

    def plus(self, other: Omega) -> Omega:
        """Return the sum over the time steps of both."""
        return Omega(self.value + other.value, self.gradient + other.gradient, self.counted + other.counted)


def omega_at(
    derivative: Array, adjoint: Array, weights: Array, exponent: Array | None = None, floor: float = FLOOR
) -> Omega:
    """Return the share of one time step.

    Parameters
    ----------
    derivative : array of shape (case, hidden, batch)
        ``phi'(x_k)``.
    adjoint : array of shape (case, hidden, batch)
        ``d_{k+1}`` of every sample's own loss: mantissas where `exponent` is given.
    weights : array of shape (case, hidden, hidden)
        ``W``.
    exponent : integer array of shape (case, batch), optional
        Powers of two of the adjoints; default: zeros.
    floor : float
        Squared norm below which a sample's adjoint counts as preserved.
    """
    batch, dtype = adjoint.shape[-1], adjoint.dtype
    peak = np.abs(adjoint).max(axis=1)
    power = np.where(peak > 0, np.frexp(peak)[1], 0).astype(np.int64)
    unit = ldexp(adjoint, -power[:, None, :])  # largest entry in [1/2, 1), whatever the scale
    size = np.square(unit).sum(axis=1)
    true = power if exponent is None else power + exponent
    with np.errstate(divide="ignore"):
        seen = np.log2(size.astype(np.float64)) + 2.0 * true >= np.log2(floor)
    size = np.where(seen, size, dtype.type(1.0))
    arrived = np.matmul(weights.swapaxes(-1, -2), unit) * derivative
    off = np.where(seen, np.square(arrived).sum(axis=1) / size - dtype.type(1.0), dtype.type(0.0))
    left = unit * (off / size * dtype.type(4.0 / batch))[:, None, :]
    gradient = np.matmul(left, (arrived * derivative).swapaxes(-1, -2))
    return Omega(np.square(off).mean(axis=1, dtype=np.float64), gradient, seen.mean(axis=1, dtype=np.float64))


def omega(
    derivatives: Iterable[Array],
    adjoints: Iterable[Array],
    weights: Array,
    exponents: Iterable[Array] | None = None,
    floor: float = FLOOR,
) -> Omega:
    """Return the regulariser of a sequence.

    Parameters
    ----------
    derivatives, adjoints, exponents : iterables over k of what `omega_at` takes
        ``phi'(x_k)`` beside ``d_{k+1}``, for every k from the first time step to the last but one, in
        any order of time.
    weights, floor
        As for `omega_at`.
    """
    cases, hidden, _ = weights.shape
    total = Omega(np.zeros(cases), np.zeros((cases, hidden, hidden), weights.dtype), np.zeros(cases))
    pairs = list(zip(derivatives, adjoints, strict=True))
    powers = [None] * len(pairs) if exponents is None else exponents
    for (derivative, adjoint), exponent in zip(pairs, powers, strict=True):
        total = total.plus(omega_at(derivative, adjoint, weights, exponent, floor))
    return total


def check_omega(network: NetworkSettings, where: str = "omega") -> None:
    """Raise UserMistake unless the regulariser is defined for a network: one plain recurrence."""
    plain = network.cell.name == "elman" and network.layers == 1 and not network.bidirectional
    if not plain:
        got = f"the cell {network.cell.name!r}" + (
            f" in {network.layers} layers" if network.layers > 1 else ""
        )
        got += " in both directions of time" if network.bidirectional else ""
        hint = "It weighs W against the adjoint of one pre-activation a unit; leave omega at 0."
        raise UserMistake(Problem(where, "the cell 'elman' in one layer and one direction", got, hint))
