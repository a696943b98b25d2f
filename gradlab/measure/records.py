"""What a probe records, by name, and the quantities derived from the profile of adjoint norms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Dims: TypeAlias = tuple[str, ...]

#: Everything that a record may run along besides the case itself, in the order in which it does.
DIMS: Dims = (
    "update",
    "layer",
    "direction",
    "gate",
    "path",
    "predictor",
    "loss_time",
    "lag",
    "time",
    "second",
    "first",
)
_PROFILE: Dims = ("layer", "direction", "lag")
_MATRIX: Dims = ("layer", "direction", "gate")

#: Every record with what it runs along besides the case itself.
RECORDS: dict[str, Dims] = {
    "log10_state_gradient_norm": _PROFILE,
    "log10_memory_gradient_norm": _PROFILE,
    "log10_preactivation_gradient_norm": _PROFILE,
    "log10_weight_gradient_norm": _PROFILE,
    "mean_log10_sample_gradient_norm": _PROFILE,
    "std_log10_sample_gradient_norm": _PROFILE,
    "saturation": _PROFILE,
    "log10_path_gradient_norm": ("layer", "direction", "path", "lag"),
    "log10_credit_norm": ("loss_time", "lag"),
    "log10_online_gradient_norm": ("time",),
    "log10_gradient_norm": (),
    "log10_clipped_gradient_norm": (),
    "clip_factor": (),
    "clip_angle": (),
    "cosine_to_bptt": (),
    "learner_bias": (),
    "learner_spread": (),
    "loss": (),
    "growth_rate": (),
    "growth_rate_standard_error": (),
    "regime": (),
    "radius_drawn": _MATRIX,
    "norm_drawn": _MATRIX,
    "henrici_departure": _MATRIX,
}

#: Records of something that most questions do not need, or that cost much: only where they are asked for.
ON_REQUEST = frozenset({"log10_path_gradient_norm", "log10_credit_norm", "log10_online_gradient_norm"})
#: What is recorded where nothing else is said.
ORDINARY = tuple(name for name in RECORDS if name not in ON_REQUEST)
#: Records that compare a learner with full back-propagation: of no use where that is the learner.
OF_LEARNER = frozenset({"cosine_to_bptt", "learner_bias", "learner_spread"})

#: Records that need the parameter gradient.
OF_GRADIENT = frozenset({"log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor", "clip_angle"})
#: Records that need the norm of every sample's adjoint.
OF_SAMPLES = frozenset(
    {
        "mean_log10_sample_gradient_norm",
        "std_log10_sample_gradient_norm",
        "growth_rate",
        "growth_rate_standard_error",
        "regime",
    }
)


def needs_gradients(wanted: Collection[str]) -> bool:
    """Whether any of the records needs the parameter gradient."""
    return bool((OF_GRADIENT | OF_LEARNER | {"log10_online_gradient_norm"}) & set(wanted))


NOT_RUN, OK, OVERFLOWED, UNDERFLOWED, FAILED, DIVERGED = range(6)
VANISHING, STABLE, EXPLODING, UNDETERMINED = -1, 0, 1, -128

#: A slope closer to zero than this many decades per time step is zero to rounding.
RATE_RESOLUTION = 1e-12


def earlier(one: Array, other: Array) -> Array:
    """Return the earlier of two time steps, -1 standing for never."""
    return np.where((one >= 0) & ((other < 0) | (one < other)), one, other)


def growth(profile: Array) -> tuple[Array, Array, Array]:
    """Fit a line to log10 norms against lag.

    Parameters
    ----------
    profile : array of shape (..., lag)
        Mean log10 norm of the samples' adjoints. Lags at which it is not finite (a zero gradient)
        are left out.

    Returns
    -------
    rate, standard_error : arrays of shape (...)
        Ordinary least-squares slope in decades per time step, and its standard error (infinite
        with fewer than three lags). Where fewer than two lags are finite the rate is -inf if a
        gradient was zero, else 0. Neighbouring lags are correlated, so the error is a lower bound.
    regime : int8 array of shape (...)
        -1 vanishing, 0 stable, 1 exploding: the sign of the rate where it exceeds both twice its
        standard error and `RATE_RESOLUTION`.
    """
    finite = np.isfinite(profile)
    lag = np.arange(profile.shape[-1], dtype=np.float64)
    count = finite.sum(axis=-1)
    n = np.maximum(count, 1)
    x = np.where(finite, lag - (np.where(finite, lag, 0.0).sum(axis=-1) / n)[..., None], 0.0)
    y = np.where(finite, profile, 0.0)
    y = np.where(finite, y - (y.sum(axis=-1) / n)[..., None], 0.0)
    sxx = (x * x).sum(axis=-1)
    fitted = count >= 2
    rate = np.where(fitted, (x * y).sum(axis=-1) / np.where(fitted, sxx, 1.0), 0.0)
    residual = y - rate[..., None] * x
    variance = (residual * residual).sum(axis=-1) / np.maximum(count - 2, 1)
    error = np.where(count >= 3, np.sqrt(variance / np.where(fitted, sxx, 1.0)), np.inf)
    rate = np.where(~fitted & ~finite.all(axis=-1), -np.inf, rate)
    clear = np.abs(rate) > np.maximum(2.0 * np.where(np.isinf(rate), 0.0, error), RATE_RESOLUTION)
    regime = np.where(clear, np.sign(rate), 0.0).astype(np.int8)
    return rate, error, regime
