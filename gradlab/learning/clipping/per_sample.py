"""Clip the gradient of every sample before the mean is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gradlab.core.checks import number
from gradlab.core.scaled import DEAD, ldexp
from gradlab.learning.clipping._base import NOTHING, AbstractClip, Array, Given, registry
from gradlab.learning.scaled_gradient import ScaledGradient


@registry.register
@dataclass(frozen=True)
class PerSample(AbstractClip):
    """``g = mean over samples of g_b min(1, c / |g_b|)``, with ``g_b`` the gradient of sample b's loss.

    One sample whose gradient explodes then moves the mean no further than any other. In a batch of one
    sample it is the rule ``norm``.

    Parameters
    ----------
    threshold : float
        Largest norm `c` of a sample's gradient (of that sample's own loss, without 1/batch), above 0.

    References
    ----------
    Abadi and others (2016), Deep learning with differential privacy, algorithm 1 without its noise.
    """

    name: ClassVar[str] = "per_sample"
    scope: ClassVar[Literal["parameters"]] = "parameters"
    bounds: ClassVar[str] = "gradient norm"
    keeps_direction: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("samples",)

    threshold: float

    def __post_init__(self) -> None:
        number("threshold", self.threshold, above=0, hint='To switch clipping off use name = "off".')

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the mean of the clipped gradients; cases with no sample clipped keep their bits."""
        assert given.samples is not None, "the rule needs the gradients of the samples"
        samples = given.samples()
        cases = len(gradient.mantissas[0])
        norms = samples.log2_norm().reshape(cases, -1)
        log2_factor = np.minimum(np.log2(self.threshold) - norms, 0.0)
        changed = log2_factor.any(axis=1)
        if not changed.any():
            return gradient
        mean = weighted_mean(samples, log2_factor)
        return ScaledGradient.of(
            (np.where(changed[:, None, None], own, raw), np.where(changed, power, exponent))
            for (raw, exponent), (own, power) in zip(gradient.blocks(), mean.blocks(), strict=True)
        )


def weighted_mean(samples: ScaledGradient, log2_factor: Array) -> ScaledGradient:
    """Return the mean over each case's samples of ``2 ** log2_factor`` times a sample's gradient.

    Parameters
    ----------
    samples : ScaledGradient
        Of as many cases as there are samples, those of the first case first.
    log2_factor : array of shape (case, batch)
    """
    cases, batch = log2_factor.shape
    whole = np.floor(log2_factor)
    fraction = np.exp2(log2_factor - whole) / batch

    def mean(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
        flat = mantissa.reshape(cases, batch, -1)
        power = exponent.reshape(cases, batch) + whole.astype(np.int64)
        peak = np.abs(flat).max(axis=2)
        own = np.where(peak > 0, power + np.frexp(peak)[1], DEAD)
        top = np.where((peak > 0).any(axis=1), own.max(axis=1), 0)
        with np.errstate(under="ignore"):
            scaled = ldexp(flat, np.where(peak > 0, power - top[:, None], 0)[..., None])
            total = np.matmul(fraction[:, None, :].astype(mantissa.dtype), scaled)
        return total.reshape(cases, *mantissa.shape[1:]), top

    return samples.map(mean)
