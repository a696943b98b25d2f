"""Mean-field slope of wide networks with independent normal recurrent weights.

Notation: W has iid entries N(0, gain^2 / n), Z is standard normal, q is the variance of a
pre-activation. In the limit of large n

    q    <- gain^2 E[phi(sqrt(q) Z)^2] + drive          (Poole et al. 2016, eq. 3)
    chi   = gain^2 E[phi'(sqrt(q) Z)^2] at the fixed point   (Schoenholz et al. 2017, eq. 5)

and the mean *squared* adjoint norm changes by chi a time step, the norm by sqrt(chi). For weights
shared over time, as here, this rests on the independence of forward and backward pass (Chen,
Pennington and Schoenholz 2018) and holds for lags well below n, once the state has forgotten its
start. For relu chi = gain^2 / 2, for the identity chi = gain^2.

Sources: Poole et al. 2016, "Exponential expressivity in deep neural networks through transient
chaos"; Schoenholz et al. 2017, "Deep information propagation"; Chen, Pennington and Schoenholz
2018, "Dynamical isometry and a mean field theory of RNNs".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from gradlab.core import checks
from gradlab.theory.slopes import log10_or_zero

Elementwise = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_SMALLEST, _LARGEST = 1e-14, 1e14
_POINTS = 1 << 14  # on either side of zero
_FAR = 12.0  # standard deviations, beyond which nothing is left


def gaussian_mean(function: Elementwise, variance: float) -> float:
    """Return ``E[function(sqrt(variance) Z)]`` by the midpoint rule.

    Its points lie as densely near zero as the function changes there, whatever the variance: Z is
    ``w sinh(u)`` at equal steps of u, with ``w = 1 / sqrt(variance)`` where that is below 1. Smooth
    functions are integrated to rounding. Of what a jump changes at most a thousandth is lost (4e-4 up to
    a variance of 1e4), of a kink the square of that. Zero itself is no point, so that a jump there
    (relu's derivative) costs nothing.

    Parameters
    ----------
    function : callable
        Elementwise function of an array of numbers.
    variance : float
        Variance of the argument, at least 0.
    """
    deviation = np.sqrt(variance)
    width = 1.0 / max(deviation, 1.0)
    u = (np.arange(_POINTS) + 0.5) * (np.arcsinh(_FAR / width) / _POINTS)
    z = width * np.sinh(u)
    weight = np.cosh(u) * np.exp(-0.5 * z * z)
    both = function(deviation * z) + function(-deviation * z)
    return float(np.dot(weight, both) / (2.0 * weight.sum()))


def stationary_variance(value: Elementwise, gain: float, drive: float = 0.0) -> float:
    """Return the variance of pre-activations that a wide network settles to.

    Parameters
    ----------
    value : callable
        The activation phi, elementwise.
    gain : float
        Entry standard deviation of the recurrent matrix times sqrt(n), at least 0.
    drive : float, optional
        Variance that inputs and biases add at every step, at least 0.

    Returns
    -------
    float
        The smallest stable fixed point of the variance, which is what a state starting at rest
        reaches; 0 where activity dies out, inf where it grows without bound.

    Raises
    ------
    UserMistake
        Where `gain` or `drive` is negative or not finite.
    """
    gain = checks.number("gain", gain, at_least=0.0)
    drive = checks.number("drive", drive, at_least=0.0)

    def excess(log_q: float) -> float:
        q = float(np.exp(log_q))
        return (gain**2 * gaussian_mean(lambda z: np.square(value(z)), q) + drive) / q - 1.0

    grid = np.linspace(np.log(_SMALLEST), np.log(_LARGEST), 257)
    # Rounding must not read a marginal map (slope exactly one) as growth.
    excesses = [excess(g) for g in grid]
    grows = np.array(excesses) > 1e-12
    if not grows[0]:
        return 0.0
    if grows.all():
        return float(np.inf)
    stop = int(np.argmin(grows))
    if excesses[stop] >= 0.0:
        return float(np.exp(grid[stop]))
    return float(np.exp(brentq(excess, grid[stop - 1], grid[stop], xtol=1e-13)))


def mean_field_slope(value: Elementwise, derivative: Elementwise, gain: float, drive: float = 0.0) -> float:
    """Return the slope ``log10(chi) / 2`` of the log10 adjoint norm against lag.

    Parameters
    ----------
    value, derivative : callable
        The activation phi and its derivative, elementwise.
    gain : float
        Entry standard deviation of the recurrent matrix times sqrt(n), at least 0. For large n it is
        also the spectral radius of such a matrix.
    drive : float, optional
        Variance that inputs and biases add to a pre-activation at every step, at least 0.

    Returns
    -------
    float
        Decades per time step; -inf where no gradient passes.

    Raises
    ------
    UserMistake
        Where `gain` or `drive` is negative or not finite.
    """
    # Where the variance grows without bound, the derivative is taken where it no longer changes.
    q = min(stationary_variance(value, gain, drive), _LARGEST)
    chi = gain**2 * gaussian_mean(lambda z: np.square(derivative(z)), q)
    return 0.5 * float(log10_or_zero("gain", chi))


def relu_slope(gain: float) -> float:
    """Return the mean-field slope of relu, ``log10(gain^2 / 2) / 2``.

    Parameters
    ----------
    gain : float
        Entry standard deviation of the recurrent matrix times sqrt(n), at least 0.

    Returns
    -------
    float
        Decades per time step; it does not depend on the drive as long as biases are zero.

    Raises
    ------
    UserMistake
        Where `gain` is negative or not finite.
    """
    return 0.5 * float(log10_or_zero("gain", checks.number("gain", gain, at_least=0.0) ** 2 / 2.0))
